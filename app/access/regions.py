"""Codes of divisions (GB/T 2260 and the statistics bureau's): what lies in what."""

import re

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute


def region_bounds(code: str) -> tuple[str, str]:
    """The codes of a region and all below it lie between these two: 640100000000 → 640100000000–640199999999."""
    if not re.fullmatch("[0-9]{12}", code):
        raise ValueError("a region code has 12 digits")
    for length in (0, 2, 4, 6, 9):
        if set(code[length:]) <= {"0"}:
            return code, code[:length].ljust(12, "9")
    return code, code


def lies_in(code: str, region_code: str) -> bool:
    """Whether a division is this region or lies below it."""
    first, last = region_bounds(region_code)
    return first <= code <= last


def within(column: InstrumentedAttribute[str] | ColumnElement[str], region_code: str) -> ColumnElement[bool]:
    return column.between(*region_bounds(region_code))


def at_or_above(code: str) -> list[str]:
    """The codes of a region and of all that it lies in: 640104001000, 640104000000, …"""
    return [code] + [code[:length].ljust(12, "0") for length in (0, 2, 4, 6, 9)]
