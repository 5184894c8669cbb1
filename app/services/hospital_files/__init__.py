"""For hospitals that work with Excel: the day's list to fill in, attendance and results as files."""

from app.services.hospital_files.attendance import day_list, take_attendance
from app.services.hospital_files.judging import Judgement, LineVerdict, annotated_copy, hospital_of
from app.services.hospital_files.results import result_template, take_results

__all__ = [
    "Judgement",
    "LineVerdict",
    "annotated_copy",
    "day_list",
    "hospital_of",
    "result_template",
    "take_attendance",
    "take_results",
]
