"""Papers drawn as PDF that read the same everywhere: the few characters that each needs travel inside it. They are
drawn one after the other, in a thread, and everything else goes on meanwhile."""

import asyncio
import io
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TypeVar

import segno
from fontTools.ttLib import TTFont
from fpdf import FPDF

from app import clock
from app.errors import Unavailable

# It tells of every step of taking characters out of a font.
logging.getLogger("fontTools").setLevel(logging.WARNING)
#: WenQuanYi Micro Hei (Apache License 2.0): every character of GBK.
FONT = files("paperang_p2_fonts_cjk") / "fonts" / "wqy-microhei.ttc"
#: In place of a character that the font lacks, as printers do; else the library would log it, a part of a name.
MISSING = "〓"
DRAWING = ThreadPoolExecutor(max_workers=1, thread_name_prefix="papers")
AT_ONCE = 10
_turns = 0
Sheet = TypeVar("Sheet")


@cache
def _known() -> frozenset[int]:
    with TTFont(str(FONT), fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap())


def printable(text: str) -> str:
    return "".join(character if ord(character) in _known() else MISSING for character in text)


def lying() -> FPDF:
    """One page, A4 lying, with a frame."""
    page = FPDF(orientation="L", format="A4")
    page.set_creation_date(clock.now())
    page.add_font("text", fname=str(FONT))
    page.set_auto_page_break(auto=False)
    page.add_page()
    page.set_line_width(1.2)
    page.rect(10, 10, 277, 190)
    return page


def line(page: FPDF, top: float, size: int, text: str) -> None:
    """In the middle; drawn smaller where it would not fit."""
    shown = printable(text)
    page.set_font("text", size=size)
    wide = page.get_string_width(shown)
    if wide > 250:
        page.set_font("text", size=max(6, int(size * 250 / wide)))
    page.set_xy(20, top)
    page.cell(w=257, h=8, text=shown, align="C")


def square(text: str) -> io.BytesIO:
    """As a QR code."""
    drawn = io.BytesIO()
    segno.make_qr(text, error="m").save(drawn, kind="png", scale=8, border=2)
    drawn.seek(0)
    return drawn


@contextmanager
def turn() -> Iterator[None]:
    """One of the few who may wait for it, or 503 at once: nobody waits for minutes."""
    global _turns  # noqa: PLW0603  one process, one queue
    if _turns >= AT_ONCE:
        raise Unavailable
    _turns += 1
    try:
        yield
    finally:
        _turns -= 1


async def drawn(draw: Callable[[Sheet], bytes], sheet: Sheet) -> bytes:
    """After the transaction: it takes a good part of a second. Within a `turn`."""
    return await asyncio.get_running_loop().run_in_executor(DRAWING, draw, sheet)
