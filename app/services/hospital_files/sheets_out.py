"""Sheets to fill in, with drop-downs."""

import io
from collections.abc import Mapping, Sequence

import xlsxwriter

from app.services.hospital_files.judging import Column
from app.services.imports.xlsx import OPTIONS
from app.services.sheets import on_paper


def written(
    title: str, columns: Sequence[Column], lines: Sequence[Mapping[str, str]], *, room: int = 0,
    options: Mapping[str, Sequence[str]] | None = None, mark: str = "",
) -> bytes:  # fmt: skip
    """An xlsx of these lines, with room for more. `options`: choices too many to stand in the rule itself. `mark`: who
    took it, at the foot of what is printed."""
    out = io.BytesIO()
    settings = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    last = 1 + len(lines) + room
    with xlsxwriter.Workbook(out, settings) as book:
        page = book.add_worksheet("名单")
        text, bold = book.add_format({"num_format": "@"}), book.add_format({"bold": True})
        page.write_string(0, 0, title)
        page.set_footer(on_paper(mark))
        others = book.add_worksheet(OPTIONS) if options else None
        for place, column in enumerate(columns):
            page.set_column(place, place, column.width, text)
            page.write_string(1, place, column.zh, bold)
            source: list[str] | str = list(column.choices)
            if others is not None and column.key in (options or {}):
                names = (options or {})[column.key]
                others.write_column(0, place, names)
                letter = xlsxwriter.utility.xl_col_to_name(place)
                source = f"={OPTIONS}!${letter}$1:${letter}${max(1, len(names))}"
            if source:
                page.data_validation(2, place, max(2, last), place, {"validate": "list", "source": source})
        for number, line in enumerate(lines, 2):
            for place, column in enumerate(columns):
                page.write_string(number, place, line.get(column.key, ""), text)
        page.freeze_panes(2, 0)
    return out.getvalue()
