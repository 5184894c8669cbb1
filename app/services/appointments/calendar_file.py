"""An appointment as a calendar file (RFC 5545): what, where and when; nobody's name, and no code."""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.appointments import AppointmentEvent, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.services.appointments import reading

S = AppointmentStatus
STATUS = {
    S.HELD: "TENTATIVE",
    S.CANCELLED: "CANCELLED",
    S.EXPIRED: "CANCELLED",
    S.ENTERED_IN_ERROR: "CANCELLED",
}
#: China has one time zone and no summer time since 1991.
ZONE = (
    "BEGIN:VTIMEZONE", "TZID:Asia/Shanghai", "BEGIN:STANDARD", "DTSTART:19910915T000000", "TZOFFSETFROM:+0800",
    "TZOFFSETTO:+0800", "TZNAME:CST", "END:STANDARD", "END:VTIMEZONE",
)  # fmt: skip


async def calendar(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> bytes:
    """Downloading again after a move or a cancellation changes the entry that the phone already has."""
    row = await reading.detail(db, actor, id=id)
    service = await db.get_one(HealthcareService, row.service_id)
    steps = await db.scalar(select(func.count()).where(AppointmentEvent.appointment_id == id))
    return _file(row, service.preparation_zh, steps or 0)


def _file(row: Any, preparation: str, steps: int) -> bytes:
    lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Nuanxin//Appointments//ZH", "METHOD:PUBLISH", *ZONE,
        "BEGIN:VEVENT", f"UID:{row.id}", f"SEQUENCE:{steps}",
        f"DTSTAMP:{clock.now().astimezone(UTC):%Y%m%dT%H%M%SZ}", f"DTSTART{_local(row.starts_at)}",
        f"DTEND{_local(row.ends_at)}", f"SUMMARY:{_text(row.service_zh)}",
        f"LOCATION:{_text(f'{row.clinic_name}，{row.clinic_address}')}", f"DESCRIPTION:{_text(preparation)}",
        f"STATUS:{STATUS.get(row.status, 'CONFIRMED')}", "END:VEVENT", "END:VCALENDAR", "",
    ]  # fmt: skip
    return "\r\n".join(map(_folded, lines)).encode()


def _local(moment: datetime) -> str:
    return f";TZID=Asia/Shanghai:{moment.astimezone(clock.SHANGHAI):%Y%m%dT%H%M%S}"


def _text(value: str) -> str:
    for character in "\\;,":
        value = value.replace(character, "\\" + character)
    return value.replace("\r", "").replace("\n", "\\n")


def _folded(line: str) -> str:
    """No line is longer than 75 octets; a character is not torn apart."""
    parts, size = [""], 0
    for character in line:
        octets = len(character.encode())
        if size + octets > 74:  # a continued line begins with a blank
            parts.append("")
            size = 0
        parts[-1] += character
        size += octets
    return "\r\n ".join(parts)
