"""Who came, as a file: the day's list to fill in, and what was filled in."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, visible
from app.crypto import same
from app.errors import Conflict, Invalid, NotFound, Problem, WrongState, to_problem
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.services import audit, consents
from app.services.appointments import attendance, bookings, certificates, locks, reading
from app.services.hospital_files import sheets_out
from app.services.hospital_files.judging import Column, File, Judgement, LineVerdict, Row, read, refused

S = AppointmentStatus
SAID = {"到检": S.ARRIVED, "完成": S.FULFILLED, "未到": S.NO_SHOW}
#: A file comes later than a scan; what is older is asked about.
LATE = timedelta(days=7)
REASON = "from the hospital's list"
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


Named = Mapping[uuid.UUID | str, Appointment]


@dataclass(frozen=True, slots=True)
class Taken:
    """A line with its appointment, and the steps that this makes by it."""

    row: Row
    appointment: Appointment
    path: list[S]


async def take_attendance(
    db: AsyncSession, actor: Actor, hospital: Actor, *, data: bytes, name: str, commit: bool
) -> tuple[File, list[Judgement]]:
    """A verdict for each line, found by doing it; without `commit` all of it is undone again. All appointments are held
    and looked at together, and each step is one statement for all that make it."""
    file = await read(data, name, COLUMNS, most=MOST)
    async with db.begin_nested() as attempt:
        judged = await _judge(db, actor, hospital, file.rows)
        if not commit:
            await attempt.rollback()
    await audit.record(db, actor, "upload" if commit else "check", "attendance_file", hospital.id)
    return file, judged


async def _judge(db: AsyncSession, actor: Actor, hospital: Actor, rows: Sequence[Row]) -> list[Judgement]:
    known = await _known(db, hospital, rows)
    taken, judged = _look(rows, known, await _lacking_consent(db, known.values()))
    booked_anew = await _step(db, actor, taken)
    for one in taken:
        problem = None if _said(one.row) is S.NO_SHOW else booked_anew.get(one.appointment.id)
        verdict = LineVerdict.READY if one.path else LineVerdict.KNOWN
        number = one.row.number
        judged[number] = _refused(one.row, problem) if problem else Judgement(number, verdict, [])
    return [judged[row.number] for row in rows]


def _look(
    rows: Sequence[Row], known: Named, lacking: Collection[uuid.UUID]
) -> tuple[list[Taken], dict[int, Judgement]]:
    """Line by line, each as those before it leave its appointment; and what can be said of the others already."""
    now = {one.id: one.status for one in known.values()}
    taken, judged = [], {}
    for row in rows:
        if not row["said"]:
            judged[row.number] = Judgement(row.number, LineVerdict.SKIPPED, [])
            continue
        try:
            to, appointment = _said(row), _named(row, known)
            path = _path(appointment, now[appointment.id], to, row["code"], lacking)
        except Problem as problem:
            judged[row.number] = _refused(row, problem)
            continue
        taken.append(Taken(row, appointment, path))
        if path:
            now[appointment.id] = path[-1]
    return taken, judged


def _refused(row: Row, problem: Problem) -> Judgement:
    return refused(row, problem, "code" if isinstance(problem, WrongCode) else "said")


async def _known(db: AsyncSession, hospital: Actor, rows: Sequence[Row]) -> Named:
    """Those of this hospital that the lines name, by number and by code."""
    named = _naming([row for row in rows if row["said"]])
    return _by_name(await locks.appointments(db, and_(visible(hospital, Appointment), named)))


def _naming(rows: Sequence[Row]) -> ColumnElement[bool]:
    names = [_name(row) for row in rows]
    ids, codes = ([name for name in names if isinstance(name, kind)] for kind in (uuid.UUID, str))
    return or_(Appointment.id.in_(ids), Appointment.code.in_(codes))


def _name(row: Row) -> uuid.UUID | str | None:
    """The number of its appointment, or else the code; None is neither."""
    try:
        return uuid.UUID(row["id"]) if row["id"] else tokens.typed_code(row["code"])
    except ValueError:
        return None


def _by_name(found: Iterable[Appointment]) -> Named:
    return {name: one for one in found for name in (one.id, one.code)}


def _named(row: Row, known: Named) -> Appointment:
    name = _name(row)
    if name is None:
        raise Invalid.at("", "预约编号有误", "not a number of an appointment")
    if name not in known:
        raise NotFound
    return known[name]


def _said(row: Row) -> S:
    if row["said"] not in SAID:
        raise Invalid.at("", f"应为{'、'.join(SAID)}之一", "not one of the choices")
    return SAID[row["said"]]


async def _lacking_consent(db: AsyncSession, found: Iterable[Appointment]) -> set[uuid.UUID]:
    """Appointments for which somebody no longer agrees to the notices."""
    by_service: dict[uuid.UUID, list[Appointment]] = defaultdict(list)
    for one in found:
        by_service[one.service_id].append(one)
    sensitive = [
        one
        for id, theirs in by_service.items()
        if (await db.get_one(HealthcareService, id)).sensitive
        for one in theirs
    ]
    people = sorted({person for one in sensitive for person in attendance.people_of(one)})
    lacking = {person for person, _ in await consents.missing(db, people)}
    return {one.id for one in sensitive if lacking & {*attendance.people_of(one)}}


def _path(appointment: Appointment, now: S, to: S, code: str, lacking: Collection[uuid.UUID]) -> list[S]:
    """The steps to what the line says; none where it was so already."""
    if now is to or (to is S.ARRIVED and now is S.FULFILLED):
        return []
    if to is S.NO_SHOW:
        if appointment.ends_at > clock.now() or now not in bookings.STEPS[to]:
            raise WrongState
        return [to]
    if now is S.ARRIVED:
        return [to]
    _require_arrival(appointment, now, code)
    if appointment.id in lacking:
        raise consents.ConsentRequired
    if now not in bookings.STEPS[S.ARRIVED]:
        raise WrongState
    return [S.ARRIVED] if to is S.ARRIVED else [S.ARRIVED, to]


def _require_arrival(appointment: Appointment, now: S, code: str) -> None:
    """By the code alone, as at the desk; within a week. Whoever was marked absent came late the same day at most."""
    if not same(tokens.typed_code(code).encode(), appointment.code.encode()):
        raise WrongCode
    on = clock.day_of(appointment.starts_at)
    today = clock.today()
    if on > today:
        raise attendance.NotToday
    if on < today - LATE or (now is S.NO_SHOW and on < today):
        raise TooLateForFile


async def _step(db: AsyncSession, actor: Actor, taken: Sequence[Taken]) -> dict[uuid.UUID, Problem]:
    """All of them; says which could not arrive, who was marked absent before and has booked anew since."""
    steps = {to: [one.appointment for one in taken if to in one.path] for to in SAID.values()}
    late = [one for one in steps[S.ARRIVED] if one.status is S.NO_SHOW]
    punctual = [one for one in steps[S.ARRIVED] if one.status is not S.NO_SHOW]
    await bookings.step_all(db, actor, steps[S.NO_SHOW], S.NO_SHOW)
    await bookings.step_all(db, actor, punctual, S.ARRIVED, reason=REASON)
    booked_anew = await _arrive_late(db, actor, late)
    done = [one for one in steps[S.FULFILLED] if one.id not in booked_anew]
    await bookings.step_all(db, actor, done, S.FULFILLED)
    await certificates.issue(db, actor, done)
    return booked_anew


async def _arrive_late(
    db: AsyncSession, actor: Actor, late: Sequence[Appointment]
) -> dict[uuid.UUID, Problem]:
    """All, or each half by itself where the database refuses somebody."""
    try:
        async with db.begin_nested():
            await bookings.step_all(db, actor, late, S.ARRIVED, reason=REASON)
    except IntegrityError as error:
        if len(late) == 1:
            return {late[0].id: to_problem(error)}
        half = len(late) // 2
        return await _arrive_late(db, actor, late[:half]) | await _arrive_late(db, actor, late[half:])
    return {}


async def appointment_of(db: AsyncSession, hospital: Actor, row: Row) -> Appointment:
    """The one that a line names, of this hospital."""
    query = select(Appointment).where(visible(hospital, Appointment), _naming([row]))
    return _named(row, _by_name(await db.scalars(query.execution_options(populate_existing=True))))
