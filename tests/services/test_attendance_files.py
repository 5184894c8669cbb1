"""A list of who came: each line as those before it leave its appointment, all of them in a few statements."""

from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.models.certificates import AttendanceCertificate
from app.models.consents import Consent
from app.services import hospital_files
from app.services.hospital_files.attendance import COLUMNS
from tests.api.partner.test_hospital_files import Lines, book, booked, states
from tests.factories import appointments as given
from tests.factories.appointments import Attended, Hospital

S = AppointmentStatus


async def take(session: AsyncSession, hospital: Hospital, lines: Lines) -> list[str]:
    _, judged = await hospital_files.take_attendance(
        session, hospital.actor, hospital.actor, data=book(COLUMNS, lines), name="list.xlsx", commit=True
    )
    return [one.verdict.value for one in judged]


def line(row: Attended, said: str) -> dict[str, str]:
    return {"code": row.appointment.code, "said": said}


async def test_a_list_of_any_length_is_a_few_statements(session: AsyncSession) -> None:
    hospital, counted = await given.clinic(session), []
    connection = (await session.connection()).sync_connection
    assert connection is not None

    def count(*of: Any) -> None:
        counted.append(of[2])

    numbers = []
    for many in (2, 8):
        rows = [await booked(session, hospital, hours=-50 - n) for n in range(many)]
        await session.commit()
        event.listen(connection, "before_cursor_execute", count)
        assert await take(session, hospital, [line(row, "完成") for row in rows]) == ["ready"] * many
        event.remove(connection, "before_cursor_execute", count)
        numbers.append(len(counted))
        counted.clear()
    assert numbers[0] == numbers[1] < 30


async def test_two_lines_of_one_appointment_are_two_steps(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    row, late = await booked(session, hospital), await booked(session, hospital, hours=0)
    late.appointment.starts_at = late.appointment.ends_at = clock.now()
    await session.flush()
    lines = [line(row, "到检"), line(late, "未到"), line(row, "完成"), line(late, "到检"), line(row, "未到")]
    assert await take(session, hospital, lines) == ["ready"] * 4 + ["refused"]
    assert await states(session, row, late) == [S.FULFILLED, S.ARRIVED]
    steps = select(AppointmentEvent.status).filter_by(appointment_id=late.appointment.id)
    assert list(await session.scalars(steps.order_by(AppointmentEvent.id)))[-2:] == [S.NO_SHOW, S.ARRIVED]


async def test_who_booked_anew_after_being_marked_absent_is_refused_and_nobody_else(
    session: AsyncSession,
) -> None:
    hospital = await given.clinic(session)
    rows = [await booked(session, hospital, hours=0, status=S.NO_SHOW) for _ in range(3)]
    anew = await booked(session, hospital, hours=48)
    same = {"subject_id": rows[1].appointment.subject_id, "cycle": rows[1].appointment.cycle}
    await session.execute(update(Appointment).where(Appointment.id == anew.appointment.id).values(same))
    lines = [line(row, said) for row in rows for said in ("到检", "完成")]
    assert await take(session, hospital, lines) == ["ready", "ready", "refused", "refused", "ready", "ready"]
    assert await states(session, *rows) == [S.FULFILLED, S.NO_SHOW, S.FULFILLED]


async def test_who_no_longer_agrees_is_refused_and_a_training_gives_certificates(
    session: AsyncSession,
) -> None:
    hospital = await given.clinic(session)
    rows = [await booked(session, hospital, hours=-30) for _ in range(2)]
    theirs = Consent.person_id == rows[0].spouses.husband.id
    await session.execute(update(Consent).where(theirs).values(withdrawn_at=clock.now()))
    training = update(HealthcareService).where(HealthcareService.id == rows[0].service.id)
    await session.execute(training.values(certificate=True))
    await session.commit()
    assert await take(session, hospital, [line(row, "完成") for row in rows]) == ["refused", "ready"]
    certified = set(await session.scalars(select(AttendanceCertificate.person_id)))
    assert certified == {rows[1].spouses.wife.id, rows[1].spouses.husband.id}
