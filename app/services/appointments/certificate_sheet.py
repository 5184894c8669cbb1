"""A certificate of attendance, drawn."""

from dataclasses import dataclass
from datetime import date

from app.services import papers


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    training: str
    training_en: str
    place: str
    attended_on: date
    number: str
    issuer: str


def draw(sheet: Sheet) -> bytes:
    """One page, A4 lying."""
    page = papers.lying()
    on = sheet.attended_on
    for top, size, line in (
        (34, 36, "培训证明"),
        (52, 14, "Certificate of Attendance"),
        (80, 22, sheet.name),
        (98, 16, f"于 {on.year} 年 {on.month} 月 {on.day} 日参加"),
        (112, 18, f"“{sheet.training}”"),
        (124, 12, f'attended "{sheet.training_en}" on {on.isoformat()}'),
        (138, 12, sheet.place),
        (168, 14, sheet.issuer),
        (180, 11, f"证书编号 No. {sheet.number}"),
    ):
        papers.line(page, top, size, line)
    page.image(papers.square(sheet.number), x=240, y=150, w=36)
    return bytes(page.output())
