"""The job that plans: who is of the group, who no longer is, and who comes when. Set-based, a county in seconds."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Date,
    Integer,
    String,
    Text,
    Uuid,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    null,
    or_,
    select,
    update,
)  # fmt: skip
from sqlalchemy import type_coerce as coerce
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import within
from app.models.households import Person
from app.models.rotations import (
    Rotation,
    RotationCapacity,
    RotationStatus,
    RotationTurn,
    TurnReason,
    TurnStatus,
)
from app.services.rotations import linking
from app.services.rotations.group import found
from app.services.rotations.planning import Group, Part, Room, place
from app.services.rotations.rooms import AWAY, Place, capacities, first_open, rooms, served, taken
from app.services.rotations.steps import AT_LONGEST, note

T = TurnStatus
#: Who is of the group no more and has no appointment is left out.
LEAVING = (T.PLANNED, T.INVITED, T.NOT_REACHED)


async def arrange(db: AsyncSession, rotation: Rotation) -> None:
    """Everybody of the group has a turn, at most once; of a draft all are placed anew, of a published rotation only who
    has none yet, or cannot come when it was planned. Whoever was invited stays."""
    await db.execute(AT_LONGEST)
    people = await found(db, rotation)
    await _take_up(db, rotation, people)
    await linking.follow(db, rotation)
    await _leave_out(db, rotation, people)
    lines = await capacities(db, rotation.id)
    free = await rooms(db, rotation, lines)
    await _displace(db, rotation, lines, free)
    occupied = await taken(db, rotation)
    left = {room: room.capacity - occupied.get((room.clinic, room.month), 0) for room in free}
    parts = place(await _groups(db, rotation), left, await _beside(db, rotation))
    await _write(db, rotation, parts)


async def _take_up(db: AsyncSession, rotation: Rotation, people: CTE) -> None:
    """Newcomers, and those who were left out and belong again. A check in these years, wherever it was, counts."""
    had = people.c.checked_year >= rotation.first_year
    status = case((had, literal(T.ATTENDED.value)), else_=literal(T.PLANNED.value))
    facts = ("region_code", "first_year", "last_year", "checked_year")
    rows = select(
        func.gen_random_uuid(), literal(rotation.id), people.c.person_id, *(people.c[name] for name in facts), status,
        literal(clock.now()),
    )  # fmt: skip
    columns = ["id", "rotation_id", "person_id", *facts, "status", "changed_at"]
    statement = upsert(RotationTurn).from_select(columns, rows.order_by(people.c.person_id))
    new = statement.excluded
    changed = or_(*(RotationTurn.__table__.c[name].is_distinct_from(new[name]) for name in facts))
    again = RotationTurn.status == T.DROPPED
    values = {name: new[name] for name in (*facts, "status", "changed_at")} | {
        "clinic_id": case((again, null()), else_=RotationTurn.clinic_id),
        "month": case((again, null()), else_=RotationTurn.month),
        "reason": null(),
        "invited_at": null(),
        "reminders": 0,
        "version": RotationTurn.version + 1,
    }
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=["rotation_id", "person_id"], set_=values,
            where=or_(again, and_(RotationTurn.status == T.PLANNED, changed)),
        )
    )  # fmt: skip


async def _leave_out(db: AsyncSession, rotation: Rotation, people: CTE) -> None:
    """Who died, moved away or is no longer of the group."""
    here = func.coalesce(within(coerce(Person.region_code, Text), rotation.region_code), False)
    reason = case(
        (Person.died_on.is_not(None), TurnReason.DIED.value),
        (~here, TurnReason.MOVED_AWAY.value),
        else_=TurnReason.NOT_ELIGIBLE.value,
    )
    belongs = select(people.c.person_id).where(people.c.person_id == RotationTurn.person_id).exists()
    left = (
        update(RotationTurn)
        .where(RotationTurn.rotation_id == rotation.id, RotationTurn.status.in_(LEAVING))
        .where(Person.id == RotationTurn.person_id, ~belongs)
        .values(
            status=T.DROPPED, reason=reason, changed_at=clock.now(), version=RotationTurn.version + 1,
            clinic_id=None, month=None,
        )
        .returning(
            RotationTurn.id, cast(RotationTurn.status, String).label("status"),
            cast(RotationTurn.reason, String).label("reason"),
        )
        .cte("left_out")
    )  # fmt: skip
    await db.execute(note(left, reason=left.c.reason))


def _waiting(rotation: Rotation) -> list[ColumnElement[bool]]:
    """Turns that nobody was invited to yet and that may still be moved."""
    called = rotation.invited_through
    return [
        RotationTurn.rotation_id == rotation.id,
        RotationTurn.status == T.PLANNED,
        RotationTurn.month.is_not(None) if called is None else RotationTurn.month > called,
    ]


async def _displace(
    db: AsyncSession, rotation: Rotation, lines: list[RotationCapacity], free: list[Room]
) -> None:
    """Of a draft everybody is placed anew. Else who was missed, may not come that year, has moved to a village that the
    clinic does not take, or is more than it takes now; and whoever was checked so late in the rotation before this one
    that it is too soon, also in a month already called."""
    waiting = _waiting(rotation)
    year = func.date_part("year", RotationTurn.month)
    wrong: ColumnElement[bool] = or_(
        RotationTurn.month < first_open(rotation),
        ~year.between(RotationTurn.first_year, RotationTurn.last_year),
        ~served(lines),
        RotationTurn.id.in_(_too_many(rotation, free)),
    )
    if rotation.status is RotationStatus.DRAFT:
        wrong = literal(True)
    of_this = and_(RotationTurn.rotation_id == rotation.id, RotationTurn.status == T.PLANNED)
    moved = or_(and_(*waiting, wrong), and_(of_this, year < RotationTurn.first_year))
    away = update(RotationTurn).where(moved).values(clinic_id=None, month=None)
    await db.execute(away.execution_options(synchronize_session=False))


def _too_many(rotation: Rotation, free: list[Room]) -> Any:
    """Beyond what their clinic takes in their month, those invited or booked counted first."""
    given = (
        func.unnest(
            cast([room.clinic for room in free], ARRAY(Uuid)), cast([room.month for room in free], ARRAY(Date)),
            cast([room.capacity for room in free], ARRAY(BigInteger)),
        )
        .table_valued(column("clinic_id", Uuid), column("month", Date), column("capacity", BigInteger))
        .render_derived(name="given")
    )  # fmt: skip
    order = func.row_number().over(
        partition_by=[RotationTurn.clinic_id, RotationTurn.month],
        order_by=[RotationTurn.status == T.PLANNED, RotationTurn.region_code, RotationTurn.person_id],
    )
    ranked = (
        select(RotationTurn.id, RotationTurn.clinic_id, RotationTurn.month, order.label("number"))
        .where(RotationTurn.rotation_id == rotation.id, RotationTurn.status.not_in(AWAY))
        .where(RotationTurn.month >= first_open(rotation))
        .subquery()
    )
    same = and_(given.c.clinic_id == ranked.c.clinic_id, given.c.month == ranked.c.month)
    beyond = ranked.c.number > func.coalesce(given.c.capacity, 0)
    return select(ranked.c.id).outerjoin(given, same).where(beyond)


async def _groups(db: AsyncSession, rotation: Rotation) -> list[Group]:
    """Who is still to be placed, by village. Never checked counts as two rounds ago."""
    long_ago = rotation.first_year - 2 * rotation.years
    checked = func.avg(func.greatest(func.coalesce(RotationTurn.checked_year, long_ago), long_ago))
    waited = cast(func.round((rotation.first_year - checked) * 100), Integer)
    keys = RotationTurn.region_code, RotationTurn.first_year, RotationTurn.last_year
    query = select(*keys, func.count(), waited).where(*_unplaced(rotation)).group_by(*keys)
    return [Group(*row) for row in await db.execute(query)]


def _unplaced(rotation: Rotation) -> list[ColumnElement[bool]]:
    return [
        RotationTurn.rotation_id == rotation.id,
        RotationTurn.status == T.PLANNED,
        RotationTurn.month.is_(None),
    ]


async def _beside(db: AsyncSession, rotation: Rotation) -> dict[str, set[Place]]:
    columns = RotationTurn.region_code, RotationTurn.clinic_id, RotationTurn.month
    query = select(*columns).where(*_waiting(rotation), RotationTurn.month >= first_open(rotation)).distinct()
    places: dict[str, set[Place]] = {}
    for village, clinic, month in await db.execute(query):
        if clinic and month:
            places.setdefault(village, set()).add((clinic, month))
    return places


async def _write(db: AsyncSession, rotation: Rotation, parts: list[Part]) -> None:
    """Of a group in parts, those longest without a check come in the first."""
    if not parts:
        return
    keys = RotationTurn.region_code, RotationTurn.first_year, RotationTurn.last_year
    number = func.row_number().over(
        partition_by=keys, order_by=[RotationTurn.checked_year.nulls_first(), RotationTurn.person_id]
    )
    ordered = select(RotationTurn.id, *keys, number.label("number")).where(*_unplaced(rotation)).subquery()
    given = _given(parts)
    whose = [given.c[name] == ordered.c[name] for name in ("region_code", "first_year", "last_year")]
    moved = (
        update(RotationTurn)
        .where(RotationTurn.id == ordered.c.id, *whose, ordered.c.number.between(given.c.first, given.c.last))
        .where(RotationTurn.status == T.PLANNED)
        .values(clinic_id=given.c.clinic_id, month=given.c.month, version=RotationTurn.version + 1)
    )
    await db.execute(moved.execution_options(synchronize_session=False))


def _given(parts: list[Part]) -> Any:
    before: dict[tuple[str, int, int], int] = {}
    rows = []
    for part in sorted(parts, key=lambda part: (part.month, part.clinic)):
        start = before.get(part.group, 0)
        before[part.group] = start + part.people
        rows.append((*part.group, part.clinic, part.month, start + 1, start + part.people))
    kinds = (Text, BigInteger, BigInteger, Uuid, Date, BigInteger, BigInteger)
    names = ("region_code", "first_year", "last_year", "clinic_id", "month", "first", "last")
    arrays: list[Any] = [
        cast(list(values), ARRAY(kind)) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)
    ]
    columns: list[Any] = [column(name, kind) for name, kind in zip(names, kinds, strict=True)]
    return func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
