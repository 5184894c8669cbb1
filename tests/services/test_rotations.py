"""Rotations: planned by village and month, invited, booked, counted."""

from collections import Counter
from datetime import UTC, date, datetime

import pytest
import time_machine
from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.models.identity import Role
from app.models.messages import InboxMessage, NoticeKind
from app.models.rotations import (
    InvitedHow,
    Rotation,
    RotationStatus,
    RotationStep,
    RotationTurn,
    RotationWork,
    TurnReason,
    TurnStatus,
)
from app.services import regions, rotations
from app.services.duplicates import merging
from app.services.moves import following
from app.services.rights import held
from app.services.rotations import coverage, turns
from app.services.rotations.plans import Capacity
from app.services.rotations.turns import Answered, Wanted
from tests.factories import appointments as given
from tests.factories import families
from tests.factories import rotations as made
from tests.factories.rotations import COUNTY, EAST, FAR, WEST

T = TurnStatus
NEXT = clock.today().year + 1
JANUARY = date(NEXT, 1, 1)


@pytest.fixture
async def county(session: AsyncSession) -> Actor:
    await families.villages(session)
    return await made.county_worker(session)


def months(rows: list[RotationTurn], village: str) -> Counter[date | None]:
    return Counter(
        turn.month for turn in rows if turn.region_code == village and turn.status is not T.DROPPED
    )


async def published(session: AsyncSession, county: Actor, rotation: Rotation) -> Rotation:
    await rotations.publish(session, county, id=rotation.id, version=rotation.version)
    await session.commit()
    return rotation


async def invited(session: AsyncSession, county: Actor, rotation: Rotation, month: date = JANUARY) -> None:
    await session.refresh(rotation)
    with time_machine.travel(datetime(NEXT - 1, 12, 1, tzinfo=UTC), tick=False):
        await rotations.invite(session, county, id=rotation.id, version=rotation.version, month=month)
        await session.commit()
        await rotations.send(rotation.id)
    await session.refresh(rotation)


async def appointment(
    session: AsyncSession, person: Person, year: int, status: AppointmentStatus
) -> Appointment:
    service = await given.service(session, made.CHECK)
    hospital = await given.clinic(session)
    slot = await given.slot(session, place=hospital.clinic, service=service)
    row = Appointment(
        id=new_id(), slot_id=slot.id, clinic_id=slot.clinic_id, service_id=service.id, subject_id=person.id,
        person_id=person.id, region_code=person.region_code, cycle=str(year), code=new_id().hex[-10:],
        starts_at=slot.starts_at, ends_at=slot.ends_at, status=status, created_at=clock.now(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row


async def test_each_village_comes_together_and_a_large_one_in_as_few_months_as_it_takes(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 8)
    await made.women(session, WEST, 7)
    await made.women(session, FAR, 23)
    rotation = await made.stated(session, county)
    assert (rotation.work, rotation.people, rotation.placed) == (RotationWork.DONE, 38, 38)
    rows = await made.turns(session, rotation)
    assert len({turn.person_id for turn in rows}) == 38
    assert [len(months(rows, village)) for village in (EAST, WEST, FAR)] == [1, 1, 3]
    assert max(Counter(turn.month for turn in rows).values()) <= 10
    seen = await rotations.preview(session, county, id=rotation.id, region_code=None)
    assert (seen.unplaced, seen.parted) == (0, [FAR])
    assert sum(line.people for line in seen.villages) == 38
    assert not any(line.over for line in seen.months)


async def test_who_finds_no_room_is_counted_and_the_places_that_are_missing_with_it(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 50)
    rotation = await made.stated(session, county, [1] * 12)
    assert (rotation.people, rotation.placed) == (50, 36)
    seen = await rotations.preview(session, county, id=rotation.id, region_code=None)
    assert (seen.unplaced, seen.unplaced_villages, seen.missing_monthly) == (14, [EAST], 1)


async def test_only_the_rule_s_group_is_planned_and_those_who_grow_too_old_come_before(
    session: AsyncSession, county: Actor
) -> None:
    """Men, girls and who turns 65 before the years begin are not of the group."""
    await given.couple(session, EAST)
    await made.women(session, WEST, 2, born=date(NEXT - 19, 6, 1))
    await made.women(session, FAR, 2, born=date(NEXT - 64, 6, 1))
    rotation = await made.stated(session, county)
    rows = await made.turns(session, rotation)
    assert Counter(turn.region_code for turn in rows) == {EAST: 1, FAR: 2}
    assert {turn.month.year for turn in rows if turn.region_code == FAR and turn.month} == {NEXT}


async def test_who_had_a_check_comes_three_years_later_or_has_come_already(
    session: AsyncSession, county: Actor
) -> None:
    two, one, now = await made.women(session, EAST, 3)
    await appointment(session, two, NEXT - 2, AppointmentStatus.FULFILLED)
    await appointment(session, one, NEXT - 1, AppointmentStatus.FULFILLED)
    had = await appointment(session, now, NEXT, AppointmentStatus.FULFILLED)
    rotation = await made.stated(session, county)
    by_person = {turn.person_id: turn for turn in await made.turns(session, rotation)}
    assert by_person[two.id].first_year == NEXT + 1
    assert by_person[one.id].month is not None
    assert by_person[one.id].month.year == NEXT + 2
    assert (by_person[now.id].status, by_person[now.id].appointment_id) == (T.ATTENDED, had.id)


async def test_planning_again_moves_nobody_and_takes_up_who_joined_her_village(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 6)
    await made.women(session, WEST, 9)
    rotation = await published(session, county, await made.stated(session, county))
    before = {
        turn.person_id: (turn.clinic_id, turn.month, turn.version)
        for turn in await made.turns(session, rotation)
    }
    await made.planned(session, await _queued(session, rotation))
    after = {
        turn.person_id: (turn.clinic_id, turn.month, turn.version)
        for turn in await made.turns(session, rotation)
    }
    assert before == after
    spouses = await given.couple(session, EAST)
    await made.planned(session, await _queued(session, rotation))
    rows = await made.turns(session, rotation)
    assert {
        turn.person_id: (turn.clinic_id, turn.month, turn.version)
        for turn in rows
        if turn.person_id in before
    } == before
    assert [len(months(rows, EAST)), len(rows)] == [1, 16]
    assert spouses.wife.id in {turn.person_id for turn in rows}


async def _queued(session: AsyncSession, rotation: Rotation) -> Rotation:
    await session.execute(update(Rotation).where(Rotation.id == rotation.id).values(work=RotationWork.QUEUED))
    return rotation


async def test_fewer_places_move_those_who_were_not_invited_yet(session: AsyncSession, county: Actor) -> None:
    everyone = await made.women(session, EAST, 8)
    await given.account(session, everyone[0])
    rotation = await published(session, county, await made.stated(session, county))
    [month] = months(await made.turns(session, rotation), EAST)
    assert month == JANUARY
    await invited(session, county, rotation)
    told = [turn for turn in await made.turns(session, rotation) if turn.status is T.INVITED]
    assert [turn.person_id for turn in told] == [everyone[0].id]

    line = (await rotations.read(session, county, id=rotation.id)).capacities[0]
    changed = [Capacity(clinic_id=line.clinic_id, monthly=[3] * 12)]
    await rotations.restate(session, county, id=rotation.id, version=rotation.version, stated=changed)
    rotation = await made.planned(session, rotation)
    assert months(await made.turns(session, rotation), EAST) == {JANUARY: 8}, "called for January: they stay"
    seen = await rotations.preview(session, county, id=rotation.id, region_code=None)
    assert seen.unplaced == 0


async def test_fewer_places_before_anybody_is_called_move_who_is_beyond_them(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 8)
    rotation = await published(session, county, await made.stated(session, county))
    line = (await rotations.read(session, county, id=rotation.id)).capacities[0]
    changed = [Capacity(clinic_id=line.clinic_id, monthly=[3] * 12)]
    await session.refresh(rotation)
    await rotations.restate(session, county, id=rotation.id, version=rotation.version, stated=changed)
    rotation = await made.planned(session, rotation)
    found = months(await made.turns(session, rotation), EAST)
    assert (sum(found.values()), max(found.values())) == (8, 3)


async def test_who_left_drops_out_and_comes_in_again(session: AsyncSession, county: Actor) -> None:
    died, moved, gone, stays = await made.women(session, EAST, 4)
    rotation = await published(session, county, await made.stated(session, county))
    homes = select(Household).join(Membership).where(Membership.person_id == moved.id)
    home = (await session.scalars(homes)).one()
    home.status, moved.region_code = HouseholdStatus.MOVED_OUT, None
    died.died_on, died.region_code, gone.birth_date = clock.today(), None, date(1940, 1, 1)
    await session.execute(
        update(Membership).where(Membership.person_id == died.id).values(valid_to=clock.today())
    )
    await made.planned(session, await _queued(session, rotation))
    rows = {turn.person_id: turn for turn in await made.turns(session, rotation)}
    assert [rows[one.id].reason for one in (died, moved, gone)] == [
        TurnReason.DIED, TurnReason.MOVED_AWAY, TurnReason.NOT_ELIGIBLE,
    ]  # fmt: skip
    assert rows[stays.id].status is T.PLANNED
    assert await session.scalar(select(func.count()).select_from(RotationStep)) == 3

    home.status, moved.region_code = HouseholdStatus.ACTIVE, EAST
    await made.planned(session, await _queued(session, rotation))
    again = {turn.person_id: turn for turn in await made.turns(session, rotation)}[moved.id]
    assert (again.status, again.reason, again.month) == (T.PLANNED, None, rows[stays.id].month)


async def test_the_invitation_is_told_once_and_the_others_are_the_village_s_to_invite(
    session: AsyncSession, county: Actor
) -> None:
    bound, other = await made.women(session, EAST, 2)
    resident = await given.account(session, bound)
    village = await given.worker(session, EAST, Role.VILLAGE_WORKER)
    rotation = await published(session, county, await made.stated(session, county))
    assert await turns.own(session, resident, before=None, limit=5) == []
    await invited(session, county, rotation)
    await invited(session, county, rotation)
    told = select(InboxMessage.person_id).where(InboxMessage.kind == NoticeKind.INVITATION)
    assert list(await session.scalars(told)) == [bound.id]

    by_hand = await listed(session, village, rotation, by_hand=True)
    assert [(one.person_id, one.name) for one in by_hand] == [(other.id, "李*英")]
    body = Answered(answer=turns.Answer.INVITED, on=clock.today(), how=InvitedHow.PHONE)
    with pytest.raises(StaleVersion):
        await turns.answer(session, village, id=by_hand[0].id, version=99, answered=body)
    await turns.answer(session, village, id=by_hand[0].id, version=by_hand[0].version, answered=body)
    assert await listed(session, village, rotation, by_hand=True) == []
    _, steps = await turns.read(session, village, id=by_hand[0].id, purpose="appointment")
    assert [(one.how, one.happened_on, one.actor_id) for one in steps] == [
        (InvitedHow.PHONE, clock.today(), village.id)
    ]
    elsewhere = await given.worker(session, "640200000000")
    with pytest.raises(NotFound):
        await listed(session, elsewhere, rotation)
    next_village = await given.worker(session, WEST, Role.VILLAGE_WORKER)
    assert await listed(session, next_village, rotation) == []


async def listed(
    session: AsyncSession, actor: Actor, rotation: Rotation, *, by_hand: bool = False
) -> list[turns.Listed]:
    wanted = Wanted(by_hand=by_hand)
    return await turns.listing(session, actor, rotation_id=rotation.id, wanted=wanted, after=None, limit=50)


async def test_who_did_not_book_is_reminded_twice_and_who_declined_is_not(
    session: AsyncSession, county: Actor
) -> None:
    waits, booked, declined = await made.women(session, EAST, 3)
    accounts = [await given.account(session, one) for one in (waits, booked, declined)]
    rotation = await published(session, county, await made.stated(session, county))
    await invited(session, county, rotation)
    [own] = await turns.own(session, accounts[2], before=None, limit=5)
    with pytest.raises(Invalid):
        await turns.decline(session, accounts[2], id=own.id, version=own.version, reason=TurnReason.DIED)
    with pytest.raises(NotFound):
        await turns.decline(session, accounts[0], id=own.id, version=own.version, reason=TurnReason.NO_TIME)
    await turns.decline(session, accounts[2], id=own.id, version=own.version, reason=TurnReason.NO_TIME)
    row = await appointment(session, booked, NEXT, AppointmentStatus.BOOKED)
    await session.commit()
    for day in (date(NEXT, 1, 5), date(NEXT, 1, 15), date(NEXT, 2, 20), date(NEXT, 6, 1)):
        with time_machine.travel(datetime(day.year, day.month, day.day, tzinfo=UTC), tick=False):
            await rotations.remind_all()
    told = Counter(
        await session.scalars(select(InboxMessage.person_id).where(InboxMessage.kind == "invitation"))
    )
    assert told == {waits.id: 3, booked.id: 1, declined.id: 1}
    rows = {turn.person_id: turn for turn in await made.turns(session, rotation)}
    assert (rows[booked.id].status, rows[booked.id].appointment_id) == (T.BOOKED, row.id)


async def test_a_booking_that_came_to_nothing_long_after_the_invitation_is_one_reminder_later(
    session: AsyncSession, county: Actor
) -> None:
    [woman] = await made.women(session, EAST, 1)
    await given.account(session, woman)
    rotation = await published(session, county, await made.stated(session, county))
    await invited(session, county, rotation)
    row = await appointment(session, woman, NEXT, AppointmentStatus.BOOKED)
    found = []
    for month, status in (
        (1, AppointmentStatus.BOOKED),
        (5, AppointmentStatus.CANCELLED),
        (6, None),
        (6, None),
    ):
        row.status = status or row.status
        await session.commit()
        with time_machine.travel(datetime(NEXT, month, 10, tzinfo=UTC), tick=False):
            await rotations.remind_all()
        [turn] = await made.turns(session, rotation)
        found.append((turn.status, turn.reminders))
    assert found == [(T.BOOKED, 0), (T.INVITED, 0), (T.INVITED, 1), (T.INVITED, 1)]


async def test_a_booking_does_not_undo_what_was_recorded_of_a_check_elsewhere(
    session: AsyncSession, county: Actor
) -> None:
    [woman] = await made.women(session, EAST, 1)
    rotation = await published(session, county, await made.stated(session, county))
    [turn] = await made.turns(session, rotation)
    said = Answered(answer=turns.Answer.CHECKED_ELSEWHERE, on=date(NEXT, 2, 1))
    with time_machine.travel(datetime(NEXT, 3, 1, tzinfo=UTC), tick=False):
        await turns.answer(session, county, id=turn.id, version=turn.version, answered=said)
        row = await appointment(session, woman, NEXT, AppointmentStatus.BOOKED)
        await session.commit()
        await rotations.follow_all()
        [turn] = await made.turns(session, rotation)
        assert (turn.status, turn.appointment_id) == (T.ATTENDED, None)
        row.status = AppointmentStatus.FULFILLED
        await session.commit()
        await rotations.follow_all()
    [turn] = await made.turns(session, rotation)
    assert (turn.status, turn.appointment_id) == (T.ATTENDED, row.id)


async def test_a_booking_is_followed_to_its_end(session: AsyncSession, county: Actor) -> None:
    [woman] = await made.women(session, EAST, 1)
    rotation = await published(session, county, await made.stated(session, county))
    row = await appointment(session, woman, NEXT, AppointmentStatus.BOOKED)
    seen = []
    for status in (AppointmentStatus.BOOKED, AppointmentStatus.CANCELLED, AppointmentStatus.FULFILLED):
        row.status = status
        await session.commit()
        await rotations.follow_all()
        seen += [turn.status for turn in await made.turns(session, rotation)]
    assert seen == [T.BOOKED, T.PLANNED, T.ATTENDED]
    assert await session.scalar(select(func.count()).select_from(RotationStep)) == 3


async def test_a_check_elsewhere_counts_and_is_the_last_one_for_the_next_rotation(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 1)
    rotation = await published(session, county, await made.stated(session, county))
    [turn] = await made.turns(session, rotation)
    said = Answered(answer=turns.Answer.CHECKED_ELSEWHERE, on=date(NEXT, 2, 1))
    with time_machine.travel(datetime(NEXT, 3, 1, tzinfo=UTC), tick=False):
        await turns.answer(session, county, id=turn.id, version=turn.version, answered=said)
        found = await rotations.measure(session, county, id=rotation.id, region_code=None)
    assert (found.total.planned, found.total.attended) == (1, 1)
    await session.refresh(rotation)
    await rotations.end(session, county, id=rotation.id, version=rotation.version)
    with time_machine.travel(datetime(NEXT + 1, 3, 1, tzinfo=UTC), tick=False):
        later = await made.stated(session, county, first_year=NEXT + 1)
    [turn] = await made.turns(session, later)
    assert (turn.checked_year, turn.first_year) == (NEXT, NEXT + 3)


def test_an_answer_says_how_and_why() -> None:
    for wrong in (
        {"answer": "invited"}, {"answer": "invited", "how": "inbox"}, {"answer": "declined"},
        {"answer": "declined", "reason": "died"}, {"answer": "not_reached", "how": "phone"},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            Answered.model_validate({"on": "2026-01-01", **wrong})


async def test_few_people_are_hidden_from_who_may_not_see_the_lists(
    session: AsyncSession, county: Actor
) -> None:
    await made.women(session, EAST, 3)
    await made.women(session, WEST, 9)
    await made.women(session, FAR, 9)
    rotation = await made.stated(session, county)
    supervisor = await given.worker(session, COUNTY, Role.SUPERVISOR)
    found = await rotations.measure(session, supervisor, id=rotation.id, region_code=families.TOWN)
    assert [(one.region_code, one.figures.planned) for one in found.regions] == [(EAST, None), (WEST, None)]
    assert (found.total.planned, found.total.by_status) == (12, None)
    # What is hidden beside its neighbour is not to be had by asking for it alone: 12 - 9 would tell.
    alone = await rotations.measure(session, supervisor, id=rotation.id, region_code=WEST)
    assert (alone.total.planned, alone.total.hidden, alone.years, alone.regions) == (None, True, [], [])
    own = await rotations.measure(session, county, id=rotation.id, region_code=families.TOWN)
    assert [(one.region_code, one.figures.by_status) for one in own.regions] == [
        (EAST, {"planned": 3}), (WEST, {"planned": 9}),
    ]  # fmt: skip


async def test_one_at_a_time_in_a_region_by_whose_region_it_is(session: AsyncSession, county: Actor) -> None:
    rotation = await made.stated(session, county)
    with pytest.raises(rotations.AlreadyInRotation):
        await made.stated(session, county, region_code=families.TOWN)
    town = await given.worker(session, families.TOWN)
    with pytest.raises(regions.RegionOutsideOwn):
        await rotations.publish(session, town, id=rotation.id, version=1)
    with pytest.raises(rotations.NotPublished):
        await rotations.invite(session, county, id=rotation.id, version=1, month=JANUARY)
    with pytest.raises(rotations.NotInRotation):
        await made.stated(session, county, service_code="pre_pregnancy_check")
    await rotations.end(session, county, id=rotation.id, version=1)
    with pytest.raises(rotations.RotationEnded):
        await rotations.plan(session, county, id=rotation.id, version=2)
    assert (await made.stated(session, county, region_code=families.TOWN)).status is RotationStatus.DRAFT


async def test_a_turn_goes_with_the_person_and_into_the_copy(session: AsyncSession, county: Actor) -> None:
    woman, twin = await made.women(session, EAST, 2)
    rotation = await published(session, county, await made.stated(session, county))
    await following.follow(session, [woman.id], FAR)
    rows = {turn.person_id: turn for turn in await made.turns(session, rotation)}
    assert (rows[woman.id].region_code, rows[twin.id].region_code) == (FAR, EAST)
    about = await held.about(session, woman.id)
    for entry in held.HELD:
        if entry.model is RotationTurn:
            assert len(list(await session.scalars(select(RotationTurn).where(entry.of(about))))) == 1
    home = update(Membership).where(Membership.person_id == woman.id).values(valid_to=clock.today())
    await session.execute(home)
    changes: merging.Changes = []
    await merging.references(session, changes, "person", twin.id, woman.id)
    assert {turn.person_id for turn in await made.turns(session, rotation)} == {woman.id, twin.id}


async def test_places_are_those_of_the_published_slots_where_no_numbers_are_given(
    session: AsyncSession, county: Actor
) -> None:
    service: HealthcareService = await given.service(session, made.CHECK)
    hospital = await given.clinic(session)
    at = datetime(NEXT, 5, 3, 1, tzinfo=UTC)
    await given.slot(session, place=hospital.clinic, service=service, starts_at=at, capacity=4)
    await made.women(session, EAST, 6)
    lines = [{"clinic_id": hospital.clinic.id}]
    rotation = await made.stated(session, county, capacities=lines)
    assert months(await made.turns(session, rotation), EAST) == {date(NEXT, 5, 1): 4, None: 2}


async def test_the_sheet_has_masked_names_and_is_in_the_trail(session: AsyncSession, county: Actor) -> None:
    await made.women(session, EAST, 2)
    rotation = await made.stated(session, county)
    sheet = await rotations.workbook(
        session, county, rotation_id=rotation.id, wanted=Wanted(region_code=EAST), purpose="appointment"
    )
    assert sheet[:2] == b"PK"


def test_what_is_hidden_is_together_not_few_either() -> None:
    def hidden(*people: int) -> list[int]:
        counted = {number: Counter({"planned": count}) for number, count in enumerate(people)}
        shown = coverage._figures(counted, detailed=False)
        return [people[number] for number, one in shown.items() if one.planned is None]

    assert hidden(9, 8, 7) == []
    assert hidden(9, 3, 7) == [3, 7]
    assert hidden(9, 1, 2, 7) == [1, 2, 7]
    assert hidden(4, 3, 9) == [4, 3]
