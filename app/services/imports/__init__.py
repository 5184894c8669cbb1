"""Lists of households and people from Excel: read, judged line by line, taken in, undone."""

from app.services.imports.batches import (
    JOB,
    ImportTooOld,
    commit,
    detail,
    discard,
    listing,
    purge,
    resume,
    rows,
    undo_all,
    upload,
    work,
)
from app.services.imports.command import bring_in
from app.services.imports.lines import FileRefused
from app.services.imports.reading import prepare
from app.services.imports.template import template
from app.services.imports.undo import ImportInUse
from app.services.imports.workbook import ListOfAnother, workbook

__all__ = [
    "JOB",
    "FileRefused",
    "ImportInUse",
    "ImportTooOld",
    "ListOfAnother",
    "bring_in",
    "commit",
    "detail",
    "discard",
    "listing",
    "prepare",
    "purge",
    "resume",
    "rows",
    "template",
    "undo_all",
    "upload",
    "work",
    "workbook",
]
