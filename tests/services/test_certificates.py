"""Certificates of attendance, the calendar file and the QR code."""

import asyncio
import io
from datetime import timedelta

import icalendar
import pytest
import segno
from sqlalchemy import select

from app.errors import NotFound, Unavailable
from app.models.appointments import AppointmentStatus
from app.models.certificates import AttendanceCertificate
from app.models.identity import Role
from app.models.messages import InboxMessage, NoticeKind
from app.services import papers
from app.services.appointments import attendance, calendar_file, certificates
from tests.factories import appointments as made

LECTURE = "health_lecture"
S = AppointmentStatus


@pytest.fixture
async def had(session):
    """Somebody attended a lecture."""
    had = await made.attended(session, service_code=LECTURE, status=S.ARRIVED)
    await attendance.fulfil(session, had.partner, id=had.appointment.id)
    await session.commit()
    return had


async def mine(session, had) -> AttendanceCertificate:
    [row] = await certificates.mine(session, had.wife, before=None, limit=10)
    return row


async def test_who_attended_gets_a_certificate_and_is_told(session, had):
    row = await mine(session, had)
    assert (row.person_id, row.service_zh) == (had.spouses.wife.id, "优生优育知识讲座")
    told = await session.scalar(select(InboxMessage).where(InboxMessage.kind == NoticeKind.CERTIFICATE_READY))
    assert (told.person_id, told.entity_id) == (had.spouses.wife.id, had.appointment.id)
    assert await certificates.mine(session, had.husband, before=None, limit=10) == []


async def test_a_medical_check_has_no_certificate(session):
    had = await made.attended(session, status=S.ARRIVED)
    await attendance.fulfil(session, had.partner, id=had.appointment.id)
    assert await certificates.mine(session, had.wife, before=None, limit=10) == []


async def test_anybody_may_check_one_in_hand_and_learns_no_name(session, had):
    row = await mine(session, had)
    said = await certificates.check(session, number=row.number.lower(), first_character="李")
    assert (said["valid"], said["training_zh"]) == (True, "优生优育知识讲座")
    assert "李秀英" not in str(said)
    for number, first in ((row.number, "王"), ("0" * 12, "李")):
        assert await certificates.check(session, number=number, first_character=first) == {"valid": False}
    officer = await made.worker(session, role=Role.COUNTY_ADMINISTRATOR)
    await attendance.annul(session, officer, id=had.appointment.id, reason="mistake", note=None)
    assert await certificates.check(session, number=row.number, first_character="李") == {"valid": False}


async def test_the_sheet_carries_its_characters_and_its_code(session, had, caplog):
    had.spouses.wife.name = "䶮秀英"  # not in the font
    await session.commit()
    row = await mine(session, had)
    sheet = await certificates.sheet(had.wife, id=row.id)
    assert sheet.startswith(b"%PDF-")
    assert b"/FontFile2" in sheet
    assert b"/Subtype /Image" in sheet
    assert len(sheet) < 60_000
    assert not caplog.records
    with pytest.raises(NotFound):
        await certificates.sheet(had.husband, id=row.id)


async def test_nobody_waits_for_minutes_after_a_large_lecture(session, had, monkeypatch):
    row, printed = await mine(session, had), asyncio.Event()

    async def slow(*_):
        await printed.wait()

    monkeypatch.setattr(papers, "AT_ONCE", 2)
    with monkeypatch.context() as busy:
        busy.setattr(certificates, "_drawn", slow)
        waiting = [asyncio.create_task(certificates.sheet(had.wife, id=row.id)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await certificates.sheet(had.wife, id=row.id)
        printed.set()
        await asyncio.gather(*waiting)
    with pytest.raises(NotFound):
        await certificates.sheet(had.husband, id=row.id)


def test_a_character_that_the_font_lacks_is_printed_as_printers_do() -> None:
    assert papers.printable("䶮小明 A1（·）") == "〓小明 A1（·）"


async def test_the_calendar_file_says_what_where_and_when_and_nothing_more(session):
    had = await made.attended(session, status=S.BOOKED)
    had.hospital.clinic.address = "解放东街1号，人民医院北侧; 优生健康检查门诊大楼二层, 请从东门进入后乘电梯"
    await session.flush()
    written = await calendar_file.calendar(session, had.wife, id=had.appointment.id)
    assert all(len(line) <= 75 for line in written.split(b"\r\n"))
    [event] = icalendar.Calendar.from_ical(written).walk("VEVENT")
    assert event.decoded("dtstart") == had.slot.starts_at.replace(microsecond=0)
    assert event.decoded("dtend") - event.decoded("dtstart") == timedelta(hours=1)
    assert str(event.decoded("dtstart").tzinfo) == "Asia/Shanghai"
    assert str(event["summary"]) == "免费孕前优生健康检查"
    assert str(event["location"]) == f"优生门诊，{had.hospital.clinic.address}"
    assert (event["status"], event["sequence"]) == ("CONFIRMED", 1)
    for personal in (had.appointment.code, "李秀英", "王建军"):
        assert personal.encode() not in written
    had.appointment.status = S.CANCELLED
    await session.flush()
    again = await calendar_file.calendar(session, had.husband, id=had.appointment.id)
    assert b"STATUS:CANCELLED" in again


async def test_the_picture_holds_what_could_be_typed(session):
    had = await made.attended(session, status=S.BOOKED)
    drawn = await attendance.picture(session, had.wife, id=had.appointment.id)
    assert drawn.startswith(b"<?xml")
    assert b"<svg" in drawn
    expected = io.BytesIO()
    segno.make_qr(had.appointment.code, error="m").save(expected, kind="svg", scale=8, border=4, light="#fff")
    assert drawn == expected.getvalue()
