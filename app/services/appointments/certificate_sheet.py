"""A certificate drawn as a PDF that reads the same everywhere: the few characters it needs travel inside it."""

import io
import logging
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

import segno
from fontTools.ttLib import TTFont
from fpdf import FPDF

from app import clock

# It tells of every step of taking characters out of a font.
logging.getLogger("fontTools").setLevel(logging.WARNING)
#: WenQuanYi Micro Hei (Apache License 2.0): every character of GBK.
FONT = files("paperang_p2_fonts_cjk") / "fonts" / "wqy-microhei.ttc"
#: In place of a character that the font lacks, as printers do; else the library would log it, a part of a name.
MISSING = "〓"


@dataclass(frozen=True, slots=True)
class Sheet:
    name: str
    training: str
    training_en: str
    place: str
    attended_on: date
    number: str
    issuer: str


@cache
def _known() -> frozenset[int]:
    with TTFont(str(FONT), fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap())


def printable(text: str) -> str:
    return "".join(character if ord(character) in _known() else MISSING for character in text)


def draw(sheet: Sheet) -> bytes:
    """One page, A4 lying."""
    page = FPDF(orientation="L", format="A4")
    page.set_creation_date(clock.now())
    page.add_font("text", fname=str(FONT))
    page.set_auto_page_break(auto=False)
    page.add_page()
    page.set_line_width(1.2)
    page.rect(10, 10, 277, 190)
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
        page.set_font("text", size=size)
        page.set_xy(20, top)
        page.cell(w=257, h=8, text=printable(line), align="C")
    page.image(_square(sheet.number), x=240, y=150, w=36)
    return bytes(page.output())


def _square(number: str) -> io.BytesIO:
    drawn = io.BytesIO()
    segno.make_qr(number, error="m").save(drawn, kind="png", scale=8, border=2)
    drawn.seek(0)
    return drawn
