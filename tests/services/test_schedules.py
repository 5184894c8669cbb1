"""Weekly templates become slots: on the right days, once, released when they should, never over each other."""

import time as stopwatch
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.models.appointments import Slot, SlotStatus
from app.models.schedules import Practitioner, Room, Schedule, ScheduleStatus
from app.services import calendar, schedules
from app.services.calendar import NewDay
from app.services.schedules import InUseBySchedule, NewPractitioner, NewRoom, Outcome
from tests.factories import appointments as made
from tests.factories import schedules as timed
from tests.factories.appointments import Hospital
from tests.factories.schedules import LINE, template

#: A Sunday.
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def turn(*when: int) -> None:
        now = datetime(*when, tzinfo=clock.SHANGHAI)  # type: ignore[arg-type, misc]
        monkeypatch.setattr("app.clock.now", lambda: now.astimezone(UTC))

    return turn


@pytest.fixture(autouse=True)
async def _in_november(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.clock.now", lambda: NOW)
    await calendar.load(session)


@pytest.fixture
async def hospital(session: AsyncSession) -> Hospital:
    return await made.clinic(session)


async def a_schedule(session: AsyncSession, hospital: Hospital, **changes: Any) -> Schedule:
    return await timed.schedule(session, hospital.actor, hospital.clinic, **changes)


async def published(session: AsyncSession, hospital: Hospital, **changes: Any) -> Schedule:
    return (await publish(session, hospital, await a_schedule(session, hospital, **changes))).schedule


async def publish(session: AsyncSession, hospital: Hospital, row: Schedule) -> Outcome:
    return await schedules.publish(session, hospital.actor, id=row.id, version=row.version)


async def revise(session: AsyncSession, hospital: Hospital, row: Schedule, **changes: Any) -> Outcome:
    """And published."""
    row = await schedules.revise(
        session, hospital.actor, id=row.id, version=row.version, new=template(**changes)
    )
    return await publish(session, hospital, row)


async def book(session: AsyncSession, *slots: Slot) -> None:
    for slot in slots:
        await session.execute(update(Slot).where(Slot.id == slot.id).values(booked=1))


async def local(session: AsyncSession, row: Schedule) -> list[str]:
    return [
        f"{slot.starts_at.astimezone(clock.SHANGHAI):%m-%d %H:%M}" for slot in await timed.slots(session, row)
    ]


# From the template to slots


async def test_a_template_becomes_slots_within_its_dates_with_their_release(
    session: AsyncSession, hospital: Hospital
) -> None:
    lines = [
        LINE,
        LINE | {"begins": "14:00", "ends": "15:10", "capacity": 2},
    ]  # a break, and ten minutes left over
    row = await published(session, hospital, from_on="2026-12-01", until_on="2026-12-14", lines=lines)
    hours = ["08:00", "08:30", "09:00", "09:30", "14:00", "14:30"]
    assert await local(session, row) == [f"12-{day} {hour}" for day in ("07", "14") for hour in hours]
    first, *_, last = await timed.slots(session, row)
    assert first.ends_at - first.starts_at == timedelta(minutes=30)
    assert (first.capacity, last.capacity, first.status) == (5, 2, SlotStatus.OPEN)
    assert first.opens_at == datetime(2026, 11, 30, 8, tzinfo=clock.SHANGHAI)
    assert (row.status, row.pending, row.published_through) == ("active", False, date(2026, 12, 14))


async def test_a_release_may_be_one_moment_for_all(session: AsyncSession, hospital: Hospital) -> None:
    moment = datetime(2026, 11, 25, 8, tzinfo=clock.SHANGHAI)
    row = await published(session, hospital, release_at=moment, days_ahead=None, release_time=None)
    assert {slot.opens_at for slot in await timed.slots(session, row)} == {moment}


async def test_holidays_have_no_slots_and_swapped_days_take_the_lines_they_stand_for(
    session: AsyncSession, hospital: Hospital, at: Callable[..., None]
) -> None:
    """National day 2026: 10-01 to 10-07 free; Saturday 10-10 is worked in place of Wednesday 10-07."""
    at(2026, 9, 18, 9)
    one = LINE | {"ends": "08:30"}
    lines = [one | {"weekday": day} for day in (3, 4, 6)]
    dates = {"from_on": "2026-09-28", "until_on": "2026-10-14", "lines": lines}

    async def days(**changes: Any) -> list[str]:
        clinic = await made.clinic(session)
        row = await published(session, clinic, **dates | changes)
        return [when[:5] for when in await local(session, row)]

    assert await days() == ["09-30", "10-08", "10-10", "10-14"]
    assert await days(swapped_weekday=1) == ["09-30", "10-08", "10-14"]
    assert await days(follows_calendar=False) == [
        "09-30",
        "10-01",
        "10-03",
        "10-07",
        "10-08",
        "10-10",
        "10-14",
    ]


async def test_an_own_holiday_counts_and_a_year_not_announced_is_told(
    session: AsyncSession, hospital: Hospital
) -> None:
    administrator = await made.worker(session)
    new = NewDay(kind="holiday", zh="本地假日", en="Local holiday", source="公告")
    await calendar.set_day(session, administrator, day=date(2026, 12, 7), new=new)
    row = await a_schedule(session, hospital, until_on="2027-01-31")
    outcome = await schedules.preview(session, hospital.actor, id=row.id)
    assert outcome.not_announced == [2027]
    assert "2026-12-07" not in {str(day["on"]) for day in outcome.days}
    assert outcome.days[0] == {"on": date(2026, 12, 1), "slots": 4}


async def test_a_preview_shows_what_publishing_makes_and_makes_nothing(
    session: AsyncSession, hospital: Hospital
) -> None:
    row = await a_schedule(session, hospital)
    seen = await schedules.preview(session, hospital.actor, id=row.id)
    assert await timed.slots(session, row) == []
    assert (seen.schedule.status, seen.schedule.version) == (ScheduleStatus.DRAFT, 1)
    outcome = await publish(session, hospital, row)
    # Four Mondays, five Tuesdays.
    assert seen.added == outcome.added == 36
    assert seen.days == outcome.days
    assert len(seen.days) == 9


async def test_publishing_again_adds_only_what_is_missing(session: AsyncSession, hospital: Hospital) -> None:
    row = await published(session, hospital, until_on="2026-12-15")
    before = {slot.id for slot in await timed.slots(session, row)}
    await session.execute(text("DELETE FROM slot WHERE id = :id"), {"id": min(before)})
    again = await publish(session, hospital, row)
    assert (again.added, again.removed, again.changed, again.kept_number) == (1, 0, 0, 0)
    assert len({slot.id for slot in await timed.slots(session, row)} & before) == len(before) - 1
    assert (await publish(session, hospital, again.schedule)).added == 0


async def test_slots_reach_a_year_ahead_and_none_lies_in_the_past(
    session: AsyncSession, hospital: Hospital
) -> None:
    row = await published(session, hospital, from_on="2026-11-01", until_on="2029-01-01")
    found = await timed.slots(session, row)
    assert found[0].starts_at > NOW
    assert timedelta(days=358) < found[-1].starts_at - NOW < timedelta(days=366)
    assert row.published_through == date(2027, 11, 22)


async def test_a_schedule_without_an_end_extends_itself_each_night(
    session: AsyncSession, hospital: Hospital, at: Callable[..., None]
) -> None:
    row = await published(session, hospital, until_on=None, days_ahead=14)
    assert (await local(session, row))[-1] == "12-08 09:30"  # 14 days, and a week in which they are shown
    first = (await timed.slots(session, row))[0]
    await session.execute(update(Slot).where(Slot.id == first.id).values(status=SlotStatus.CANCELLED))
    await session.commit()
    for day in (25, 25, 28):
        at(2026, 11, day, 1, 20)
        await schedules.extend_all()
    found = await local(session, row)
    assert found[-1] == "12-15 09:30"
    assert found == sorted(set(found)), "each once"
    assert Counter(slot.status for slot in await timed.slots(session, row))["cancelled"] == 1


async def test_a_schedule_that_was_changed_waits_for_its_publication(
    session: AsyncSession, hospital: Hospital, at: Callable[..., None]
) -> None:
    row = await published(session, hospital, until_on=None)
    await schedules.revise(
        session, hospital.actor, id=row.id, version=row.version, new=template(until_on=None, lines=[LINE])
    )
    await session.commit()
    before = await local(session, row)
    at(2026, 12, 20, 1, 20)
    await schedules.extend_all()
    assert await local(session, row) == before


# Changing it


async def test_a_change_replaces_what_nobody_booked_and_names_what_stays(
    session: AsyncSession, hospital: Hospital
) -> None:
    row = await published(session, hospital, until_on="2026-12-08")
    monday, tuesday = (await timed.slots(session, row))[4], (await timed.slots(session, row))[0]
    await book(session, monday, tuesday)
    outcome = await revise(session, hospital, row, until_on="2026-12-08", lines=[LINE | {"capacity": 9}])
    assert (outcome.added, outcome.changed, outcome.removed) == (0, 3, 7)
    assert {(kept["id"], kept["status"]) for kept in outcome.kept} == {
        (tuesday.id, SlotStatus.CLOSED),  # its time is given up: those who booked come, nobody else
        (monday.id, SlotStatus.OPEN),  # its time stays, with the capacity that people relied on
    }
    assert Counter(slot.capacity for slot in await timed.slots(session, row)) == {9: 3, 5: 2}
    again = await publish(session, hospital, outcome.schedule)
    assert (again.added, again.changed, again.removed, again.kept_number) == (0, 0, 0, 2)


async def test_a_booked_slot_stands_for_the_one_that_would_take_its_place(
    session: AsyncSession, hospital: Hospital
) -> None:
    """The template moves to another room, or to longer slots: nobody is booked twice over."""
    one, other = [
        await timed.room(session, hospital.actor, hospital.clinic, name) for name in ("一诊室", "二诊室")
    ]
    day = {"from_on": "2026-12-07", "until_on": "2026-12-07"}
    row = await published(session, hospital, **day, lines=[LINE | {"room_id": one.id}])
    await book(session, (await timed.slots(session, row))[1])
    outcome = await revise(session, hospital, row, **day, lines=[LINE | {"room_id": other.id}])
    rooms = {
        slot.starts_at.minute + slot.starts_at.hour * 60: slot.room_id
        for slot in await timed.slots(session, row)
    }
    assert list(rooms.values()) == [other.id, one.id, other.id, other.id]
    assert outcome.kept_number == 1

    hours = [LINE | {"room_id": one.id, "minutes": 60}]
    outcome = await revise(session, hospital, outcome.schedule, **day, lines=hours)
    assert await local(session, row) == ["12-07 08:30", "12-07 09:00"]
    [conflict] = outcome.conflicts
    assert (conflict["what"], conflict["other_starts_at"]) == ("room", outcome.kept[0]["starts_at"])


async def test_a_slot_changed_by_hand_is_left_alone(session: AsyncSession, hospital: Hospital) -> None:
    rooms = [await timed.room(session, hospital.actor, hospital.clinic, name) for name in ("一", "二")]
    day = {"from_on": "2026-12-07", "until_on": "2026-12-07", "lines": [LINE | {"room_id": rooms[0].id}]}
    row = await published(session, hospital, **day)
    moved = (await timed.slots(session, row))[0]
    values = {"room_id": rooms[1].id, "version": Slot.version + 1}
    await session.execute(update(Slot).where(Slot.id == moved.id).values(**values))
    outcome = await publish(session, hospital, row)
    assert (outcome.added, outcome.removed, outcome.kept[0]["id"]) == (0, 0, moved.id)


async def test_what_was_once_booked_is_remembered_as_cancelled(
    session: AsyncSession, hospital: Hospital
) -> None:
    row = await published(session, hospital, until_on="2026-12-01")
    slot = (await timed.slots(session, row))[0]
    came = await made.attended(session, hospital=hospital, status=made.AppointmentStatus.CANCELLED)
    came.appointment.slot_id = slot.id
    await session.flush()
    outcome = await revise(session, hospital, row, until_on="2026-12-01", lines=[LINE | {"weekday": 3}])
    assert outcome.removed == 4
    await session.refresh(slot)
    assert (slot.status, slot.schedule_id) == (SlotStatus.CANCELLED, None)
    left = await session.scalar(
        text("SELECT count(*) FROM slot WHERE clinic_id = :id"), {"id": hospital.clinic.id}
    )
    assert left == 2, "and the one of the appointment's factory"
    # Its time is free for others.
    assert (await revise(session, hospital, outcome.schedule, until_on="2026-12-01")).added == 4


async def test_ending_withdraws_free_slots_for_good(session: AsyncSession, hospital: Hospital) -> None:
    row = await published(session, hospital)
    booked = (await timed.slots(session, row))[3]
    await book(session, booked)
    outcome = await schedules.end(session, hospital.actor, id=row.id, version=row.version)
    assert (outcome.removed, [kept["id"] for kept in outcome.kept]) == (35, [booked.id])
    [left] = await timed.slots(session, row)
    assert (left.id, left.status) == (booked.id, SlotStatus.CLOSED)
    with pytest.raises(WrongState):
        await publish(session, hospital, outcome.schedule)
    with pytest.raises(WrongState):
        await schedules.revise(session, hospital.actor, id=row.id, version=row.version, new=template())


# Rooms and practitioners


async def test_a_taken_room_or_practitioner_gets_no_slot_and_is_named(
    session: AsyncSession, hospital: Hospital
) -> None:
    actor, clinic = hospital.actor, hospital.clinic
    room, doctor = await timed.room(session, actor, clinic), await timed.practitioner(session, actor, clinic)
    day = {"from_on": "2026-12-07", "until_on": "2026-12-07"}
    first = await published(session, hospital, **day, lines=[LINE | {"room_id": room.id, "ends": "08:30"}])
    late = LINE | {"practitioner_id": doctor.id, "begins": "09:30", "ends": "10:00"}
    await published(session, hospital, **day, lines=[late])
    both = LINE | {"room_id": room.id, "practitioner_id": doctor.id}
    row = await a_schedule(session, hospital, **day, lines=[both])
    seen = await schedules.preview(session, actor, id=row.id)
    outcome = await publish(session, hospital, row)
    assert seen.conflicts == outcome.conflicts
    assert [(conflict["what"], conflict["starts_at"].hour + 8) for conflict in outcome.conflicts] == [
        ("room", 8), ("practitioner", 9),
    ]  # fmt: skip
    assert outcome.conflicts[0]["other_id"] == (await timed.slots(session, first))[0].id
    assert await local(session, row) == ["12-07 08:30", "12-07 09:00"]


async def test_two_practitioners_see_people_at_the_same_time(
    session: AsyncSession, hospital: Hospital
) -> None:
    actor, clinic = hospital.actor, hospital.clinic
    ids = [(await timed.practitioner(session, actor, clinic, name)).id for name in ("赵敏", "钱红")]
    row = await published(
        session, hospital, until_on="2026-12-07", lines=[LINE | {"practitioner_id": id} for id in ids]
    )
    assert Counter(await local(session, row)) == dict.fromkeys(
        [f"12-07 {hour}" for hour in ("08:00", "08:30", "09:00", "09:30")], 2
    )


async def test_a_room_retires_when_no_schedule_needs_it(session: AsyncSession, hospital: Hospital) -> None:
    actor, clinic = hospital.actor, hospital.clinic
    room = await timed.room(session, actor, clinic)
    row = await published(session, hospital, lines=[LINE | {"room_id": room.id}])
    with pytest.raises(InUseBySchedule) as refused:
        await schedules.retire(session, actor, Room, id=room.id, version=room.version)
    assert refused.value.extensions == {"schedule": str(row.id)}
    await schedules.end(session, actor, id=row.id, version=row.version)
    retired = await schedules.retire(session, actor, Room, id=room.id, version=room.version)
    with pytest.raises(WrongState):
        await schedules.retire(session, actor, Room, id=room.id, version=retired.version)
    with pytest.raises(Invalid) as wrong:
        await a_schedule(session, hospital, lines=[LINE, LINE | {"weekday": 2, "room_id": room.id}])
    assert [one["pointer"] for one in wrong.value.errors or []] == ["/lines/1/room_id"]
    await timed.room(session, actor, clinic)  # its name may be used again
    listed = await schedules.of_clinic(session, actor, Room, clinic_id=clinic.id, after=None, limit=9)
    assert [one.retired_at is None for one in listed] == [False, True]


async def test_renaming_is_for_who_read_the_latest(session: AsyncSession, hospital: Hospital) -> None:
    actor = hospital.actor
    doctor = await timed.practitioner(session, actor, hospital.clinic)
    new = NewPractitioner(name="赵敏", title="副主任医师")
    renamed = await schedules.rename(session, actor, Practitioner, id=doctor.id, version=1, new=new)
    assert (renamed.title, renamed.version) == ("副主任医师", 2)
    with pytest.raises(StaleVersion):
        await schedules.rename(session, actor, Practitioner, id=doctor.id, version=1, new=new)


async def test_a_room_of_another_clinic_is_no_room(session: AsyncSession, hospital: Hospital) -> None:
    other = await made.clinic(session)
    room = await timed.room(session, other.actor, other.clinic)
    with pytest.raises(Invalid):
        await a_schedule(session, hospital, lines=[LINE | {"room_id": room.id}])


# Who, and what is refused


async def test_a_schedule_is_its_clinic_s(session: AsyncSession, hospital: Hospital) -> None:
    row = await a_schedule(session, hospital)
    other = await made.clinic(session)
    far = await made.worker(session, "640105001000")
    for stranger in (other.actor, far):
        with pytest.raises(NotFound):
            await schedules.get(session, stranger, id=row.id)
        with pytest.raises(NotFound):
            await schedules.publish(session, stranger, id=row.id, version=1)
        with pytest.raises(NotFound):
            await timed.room(session, stranger, hospital.clinic)
        with pytest.raises(NotFound):
            await timed.schedule(session, stranger, hospital.clinic)
        found = await schedules.listing(session, stranger, clinic_id=None, status=None, after=None, limit=9)
        assert found == []
    near: Actor = await made.worker(session)
    found = await schedules.listing(
        session, near, clinic_id=hospital.clinic.id, status=ScheduleStatus.DRAFT, after=None, limit=9
    )
    assert [one.id for one in found] == [row.id]


async def test_an_old_version_changes_nothing(session: AsyncSession, hospital: Hospital) -> None:
    row = await a_schedule(session, hospital)
    revised = await schedules.revise(
        session, hospital.actor, id=row.id, version=1, new=template(lines=[LINE])
    )
    assert (revised.version, len(revised.lines)) == (2, 1)
    with pytest.raises(StaleVersion):
        await schedules.revise(session, hospital.actor, id=row.id, version=1, new=template())
    with pytest.raises(StaleVersion):
        await schedules.publish(session, hospital.actor, id=row.id, version=1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"until_on": "2026-11-30"}, "must not end before"),
        ({"release_time": None}, "state release_at"),
        ({"release_at": "2026-11-25T08:00:00+08:00"}, "state release_at"),
        ({"days_ahead": None, "release_time": None}, "state release_at"),
        (
            {"until_on": None, "days_ahead": None, "release_time": None, "release_at": "2026-11-25T08:00:00+08:00"},
            "day by day",
        ),
        ({"days_ahead": 0, "release_time": "08:00"}, "before the first slot"),
        (
            {"days_ahead": None, "release_time": None, "release_at": "2026-12-01T08:00:00+08:00"},
            "before the first slot",
        ),
        ({"lines": [LINE, LINE | {"begins": "09:30", "ends": "11:00"}]}, "lines 1 and 2"),
        ({"lines": [LINE | {"ends": "08:20"}]}, "time for one slot"),
        ({"lines": [LINE | {"minutes": 5, "begins": "00:00", "ends": "23:59", "weekday": day} for day in range(1, 6)]},
         "500 slots"),
        ({"lines": []}, "at least 1"),
        ({"lines": [LINE | {"weekday": 8}]}, "less than or equal"),
        ({"lines": [LINE | {"begins": "8:00"}]}, "pattern"),
    ],
)  # fmt: skip
def test_what_no_template_can_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        template(**changes)


async def test_lines_of_one_room_or_practitioner_are_not_at_once(
    session: AsyncSession, hospital: Hospital
) -> None:
    actor, clinic = hospital.actor, hospital.clinic
    room, doctor = await timed.room(session, actor, clinic), await timed.practitioner(session, actor, clinic)
    one = LINE | {"room_id": room.id}
    template(lines=[one, LINE | {"practitioner_id": doctor.id}, LINE])
    with pytest.raises(ValueError, match="lines 1 and 2"):
        template(lines=[one, one | {"practitioner_id": doctor.id}])
    assert NewRoom(name=" 201 ").name == "201"


async def test_thousands_of_slots_take_seconds(session: AsyncSession, hospital: Hospital) -> None:
    """A year of a doctor with 30 slots a day: compared row by row, it would take minutes."""
    actor, clinic = hospital.actor, hospital.clinic
    room, doctor = await timed.room(session, actor, clinic), await timed.practitioner(session, actor, clinic)
    place = {"room_id": room.id, "practitioner_id": doctor.id, "minutes": 15, "ends": "15:30"}
    lines = [LINE | place | {"weekday": day} for day in range(1, 6)]
    row = await a_schedule(session, hospital, until_on="2027-11-30", lines=lines)
    begun = stopwatch.monotonic()
    outcome = await publish(session, hospital, row)
    assert outcome.added > 7000
    assert (await publish(session, hospital, outcome.schedule)).added == 0
    assert stopwatch.monotonic() - begun < 12
