"""Who came, as a file: the day's list to fill in, and what was filled in."""

import asyncio
import uuid
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, visible
from app.crypto import same
from app.errors import Conflict, Invalid, NotFound, Problem, WrongState, to_problem
from app.models.appointments import Appointment, AppointmentStatus, HealthcareService
from app.services import audit, consents
from app.services.appointments import attendance, bookings, certificates, reading
from app.services.hospital_files import sheets_out
from app.services.hospital_files.judging import Column, File, Judgement, LineVerdict, Row, read, refused

S = AppointmentStatus
SAID = {"到检": S.ARRIVED, "完成": S.FULFILLED, "未到": S.NO_SHOW}
#: A file comes later than a scan; what is older is asked about.
LATE = timedelta(days=7)
MOST = 1_000
COLUMNS = (
    Column("id", "预约编号", width=38),
    Column("time", "时间", width=18),
    Column("service", "服务", width=24),
    Column("people", "姓名", width=18),
    Column("code", "签到码"),
    # Not 结果: so the copy with the verdicts calls its own column.
    Column("said", "到检情况", needed=True, choices=tuple(SAID)),
)


class WrongCode(Conflict):
    zh, en = "签到码与预约不符", "The code is not that of the appointment"
    do_zh, do_en = "请核对受检者出示的签到码", "Look at the code that they show"


class TooLateForFile(Conflict):
    zh, en = "预约日期不在最近七天内", "The appointment is not of the last seven days"
    do_zh, do_en = "更早的请联系协会", "Ask the association about older ones"


async def day_list(db: AsyncSession, actor: Actor, hospital: Actor, *, on: date) -> bytes:
    """As the day's list: masked names of those who agree to that, and no codes, which the couples show."""
    rows = await reading.schedule(db, hospital, on=on, after=None, limit=MOST + 1)
    await audit.record(db, actor, "download", "organization", hospital.id)
    lines = [
        {
            "id": str(row["id"]), "time": f"{row['starts_at'].astimezone(clock.SHANGHAI):%Y-%m-%d %H:%M}",
            "service": f"{row['service_code']}", "people": "、".join(row["people"]),
        }
        for row in rows[:MOST]
    ]  # fmt: skip
    title = f"{on} 预约名单：请填写签到码和到检情况后上传" + f"（只列出前 {MOST} 个）" * (len(rows) > MOST)
    return await asyncio.to_thread(sheets_out.written, title, COLUMNS, lines)


async def take_attendance(
    db: AsyncSession, actor: Actor, hospital: Actor, *, data: bytes, name: str, commit: bool
) -> tuple[File, list[Judgement]]:
    """A verdict for each line, found by doing it; without `commit` all of it is undone again."""
    file = await read(data, name, COLUMNS, most=MOST)
    async with db.begin_nested() as attempt:
        judged = [await _line(db, actor, hospital, row) for row in file.rows]
        if not commit:
            await attempt.rollback()
    await audit.record(db, actor, "upload" if commit else "check", "attendance_file", hospital.id)
    return file, judged


async def _line(db: AsyncSession, actor: Actor, hospital: Actor, row: Row) -> Judgement:
    if not row["said"]:
        return Judgement(row.number, LineVerdict.SKIPPED, [])
    try:
        async with db.begin_nested():
            changed = await _take(db, actor, hospital, row)
    except (Problem, IntegrityError) as error:
        return refused(row, to_problem(error), "code" if isinstance(error, WrongCode) else "said")
    return Judgement(row.number, LineVerdict.READY if changed else LineVerdict.KNOWN, [])


async def _take(db: AsyncSession, actor: Actor, hospital: Actor, row: Row) -> bool:
    """Whether anything changed."""
    to = SAID.get(row["said"])
    if to is None:
        raise Invalid.at("", f"应为{'、'.join(SAID)}之一", "not one of the choices")
    appointment = await appointment_of(db, hospital, row)
    if appointment.status is to or (to is S.ARRIVED and appointment.status is S.FULFILLED):
        return False
    if to is S.NO_SHOW:
        if appointment.ends_at > clock.now():
            raise WrongState
        await bookings.step(db, actor, appointment=appointment, to=to)
        return True
    if appointment.status is not S.ARRIVED:
        appointment = await _arrive(db, actor, appointment, row["code"])
    if to is S.FULFILLED:
        appointment = await bookings.step(db, actor, appointment=appointment, to=to)
        await certificates.issue(db, actor, appointment)
    return True


async def appointment_of(db: AsyncSession, hospital: Actor, row: Row) -> Appointment:
    """By its number, or by the code; of this hospital."""
    query = select(Appointment).where(visible(hospital, Appointment))
    if row["id"]:
        try:
            query = query.where(Appointment.id == uuid.UUID(row["id"]))
        except ValueError as error:
            raise Invalid.at("", "预约编号有误", "not a number of an appointment") from error
    else:
        query = query.where(Appointment.code == tokens.typed_code(row["code"]))
    appointment = await db.scalar(query.execution_options(populate_existing=True))
    if appointment is None:
        raise NotFound
    return appointment


async def _arrive(db: AsyncSession, actor: Actor, appointment: Appointment, code: str) -> Appointment:
    """By the code alone, as at the desk; within a week. Whoever was marked absent came late the same day at most."""
    if not same(tokens.typed_code(code).encode(), appointment.code.encode()):
        raise WrongCode
    on = appointment.starts_at.astimezone(clock.SHANGHAI).date()
    today = clock.today()
    if on > today:
        raise attendance.NotToday
    if on < today - LATE or (appointment.status is S.NO_SHOW and on < today):
        raise TooLateForFile
    service = await db.get_one(HealthcareService, appointment.service_id)
    if service.sensitive:
        await consents.require(db, attendance.people_of(appointment))
    return await bookings.step(
        db, actor, appointment=appointment, to=S.ARRIVED, reason="from the hospital's list"
    )
