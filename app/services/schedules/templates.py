"""Writing a schedule: its weekly lines, its dates, how it meets holidays, when its slots are released."""

import uuid
from datetime import datetime, time
from itertools import combinations
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.attributes import flag_modified

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Invalid, NotFound, Place, StaleVersion, Unfit, WrongState, place
from app.models.appointments import Clinic
from app.models.schedules import Practitioner, Room, Schedule, ScheduleLine, ScheduleStatus
from app.services import audit, idempotency
from app.services.appointments import catalogue
from app.services.idempotency import Key
from app.services.pages import oldest_first
from app.services.plain import Body, Day, Line, Moment, example
from app.services.schedules import resources

MOST_SLOTS_A_WEEK = 500
Time = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Weekday = Annotated[int, Field(ge=1, le=7, description="1 Monday … 7 Sunday (ISO 8601)")]


class WeeklyLine(Body):
    """Slots of so many minutes one after another, Shanghai time. Minutes left over at the end are free."""

    weekday: Weekday
    begins: Time
    ends: Time
    minutes: Annotated[int, Field(ge=5, le=1440)]
    capacity: Annotated[int, Field(ge=1, le=10_000)]
    room_id: uuid.UUID | None = None
    practitioner_id: uuid.UUID | None = None

    @property
    def slots(self) -> int:
        return (_minutes(self.ends) - _minutes(self.begins)) // self.minutes

    @model_validator(mode="after")
    def _has_a_slot(self) -> Self:
        if self.slots < 1:
            raise Unfit(
                "开始与结束之间至少容纳一个时段", "there must be time for one slot between begin and end"
            )
        return self

    def meets(self, other: "WeeklyLine") -> bool:
        """Both at once in one room, with one practitioner, or where neither tells them apart."""
        if self.weekday != other.weekday or self.begins >= other.ends or other.begins >= self.ends:
            return False
        mine, others = (self.room_id, self.practitioner_id), (other.room_id, other.practitioner_id)
        return mine == others or any(
            one is not None and one == two for one, two in zip(mine, others, strict=True)
        )


def _minutes(written: str) -> int:
    return int(written[:2]) * 60 + int(written[3:])


SHOWN: dict[str, Any] = {
    "name": "周一至周三上午",
    "from_on": "2026-12-01",
    "until_on": "2027-05-31",
    "follows_calendar": True,
    "swapped_weekday": None,
    "release_at": None,
    "days_ahead": 7,
    "release_time": "08:00",
    "lines": [
        {"weekday": weekday, "begins": "08:00", "ends": "11:30", "minutes": 30, "capacity": 5, "room_id": None,
         "practitioner_id": None}
        for weekday in (1, 2, 3)
    ],
}  # fmt: skip


class Template(Body):
    """Released together at `release_at`, or each `days_ahead` days before its own at `release_time`. Without
    `until_on` it goes on until it is ended."""

    model_config = example(**SHOWN)

    name: Line
    from_on: Day
    until_on: Day | None = None
    follows_calendar: Annotated[
        bool, Field(description="No slots on holidays; swapped working days are worked")
    ] = True
    swapped_weekday: Annotated[
        Weekday | None,
        Field(
            description="Swapped working days take the lines of this weekday; else of the day they make up for"
        ),
    ] = None
    release_at: Moment | None = None
    days_ahead: Annotated[int, Field(ge=0, le=180)] | None = None
    release_time: Time | None = None
    lines: Annotated[list[WeeklyLine], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.until_on is not None and self.until_on < self.from_on:
            raise Unfit("结束日期不得早于开始日期", "it must not end before it begins")
        together = self.release_at is not None
        given = [part is not None for part in (self.days_ahead, self.release_time)]
        if given != [not together, not together]:
            raise Unfit(
                "请填写 release_at，或同时填写 days_ahead 与 release_time",
                "state release_at, or both days_ahead and release_time",
            )
        if self.until_on is None and together:
            raise Unfit("不设结束日期的排班须逐日放号", "a schedule without an end is released day by day")
        self._check_release()
        self._check_lines()
        return self

    def _check_release(self) -> None:
        earliest = min(line.begins for line in self.lines)
        first = datetime.combine(self.from_on, time.fromisoformat(earliest), clock.SHANGHAI)
        late = self.days_ahead == 0 and self.release_time is not None and self.release_time >= earliest
        if late or (self.release_at is not None and self.release_at >= first):
            raise Unfit("放号时间须早于首个时段", "the release must come before the first slot")

    def _check_lines(self) -> None:
        if sum(line.slots for line in self.lines) > MOST_SLOTS_A_WEEK:
            raise Unfit("每周最多 500 个时段", "at most 500 slots a week")
        for (first, one), (second, other) in combinations(enumerate(self.lines, 1), 2):
            if one.meets(other):
                raise Unfit(
                    f"第 {first} 行与第 {second} 行时间重叠",
                    f"lines {first} and {second} are at the same time",
                )


class NewSchedule(Template):
    model_config = example(
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", service_code="pre_pregnancy_check", **SHOWN
    )

    clinic_id: uuid.UUID
    service_code: Line


async def create(db: AsyncSession, actor: Actor, *, key: Key, new: NewSchedule) -> Schedule:
    """A draft: slots are made when it is published."""
    if await idempotency.claim(db, actor, key):
        clinic = await fetch(db, actor, Clinic, new.clinic_id)
        service = await catalogue.service(db, new.service_code)
        await _check_resources(db, clinic.id, new, at="")
        row = Schedule(
            id=key.id, clinic_id=clinic.id, service_id=service.id, status=ScheduleStatus.DRAFT, pending=True,
            created_at=clock.now(), lines=[],
        )  # fmt: skip
        _write(row, new)
        db.add(row)
        await db.flush()  # so that an id already taken is refused here
        await audit.record(db, actor, "create", "schedule", key.id)
    return await get(db, actor, id=key.id)


async def revise(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, new: Template) -> Schedule:
    """Replaces the template. Slots follow when it is published again; until then it is not extended either."""
    row = await locked(db, actor, id, version)
    await _check_resources(db, row.clinic_id, new, at="/schedule")
    _write(row, new)
    row.pending = True
    flag_modified(row, "pending")  # lines alone would not raise the version
    await audit.record(db, actor, "revise", "schedule", id)
    await db.flush()  # raises the version
    return row


def _write(row: Schedule, new: Template) -> None:
    for name in (
        "name", "from_on", "until_on", "follows_calendar", "swapped_weekday", "release_at", "days_ahead",
    ):  # fmt: skip
        setattr(row, name, getattr(new, name))
    row.release_time = time.fromisoformat(new.release_time) if new.release_time else None
    row.lines = [
        ScheduleLine(
            schedule_id=row.id, number=number, begins=time.fromisoformat(line.begins),
            ends=time.fromisoformat(line.ends), **line.model_dump(exclude={"begins", "ends"}),
        )
        for number, line in enumerate(new.lines, 1)
    ]  # fmt: skip


async def _check_resources(db: AsyncSession, clinic_id: uuid.UUID, new: Template, *, at: str) -> None:
    """Of the same clinic, and in use."""
    wrong: list[Place] = []
    for column, model in (("room_id", Room), ("practitioner_id", Practitioner)):
        ids = {id for line in new.lines if (id := getattr(line, column)) is not None}
        gone = await resources.missing(db, model, clinic_id=clinic_id, ids=ids)  # type: ignore[type-var]
        wrong += [
            place(f"{at}/lines/{number}/{column}", "该服务点没有，或已停用", "not of this clinic, or retired")
            for number, line in enumerate(new.lines)
            if getattr(line, column) in gone
        ]
    if wrong:
        raise Invalid(errors=wrong)


async def locked(db: AsyncSession, actor: Actor, id: uuid.UUID, version: int | None) -> Schedule:
    """One that has not ended. Of two who change or publish it, one waits for the other."""
    await fetch(db, actor, Schedule, id, lock=True)
    row = await get(db, actor, id=id)
    if version is not None and row.version != version:
        raise StaleVersion(current_version=row.version)
    if row.status is ScheduleStatus.ENDED:
        raise WrongState(status_now=row.status)
    return row


async def get(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Schedule:
    query = select(Schedule).where(Schedule.id == id, visible(actor, Schedule))
    query = query.options(selectinload(Schedule.lines)).execution_options(populate_existing=True)
    row = await db.scalar(query)
    if row is None:
        raise NotFound
    return row


async def listing(
    db: AsyncSession, actor: Actor, *, clinic_id: uuid.UUID | None, status: ScheduleStatus | None,
    after: uuid.UUID | None, limit: int,
) -> list[Schedule]:  # fmt: skip
    """The hospital's own, or those of the worker's region; oldest first."""
    query = select(Schedule).where(visible(actor, Schedule)).options(selectinload(Schedule.lines))
    if clinic_id is not None:
        query = query.where(Schedule.clinic_id == clinic_id)
    if status is not None:
        query = query.where(Schedule.status == status)
    return list(await db.scalars(oldest_first(query, Schedule.created_at, Schedule.id, after, limit)))
