"""Handing a family over: who proposes, who decides, what changes hands, who is counted where."""

import asyncio
import uuid
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db, errors
from app.access import Actor, fetch, visible
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Qualification
from app.models.follow_ups import FollowUp
from app.models.handbook import HouseholdEvent
from app.models.households import Household, HouseholdStatus, Person, Relation, Sex
from app.models.identity import Role
from app.models.moves import Move, MoveStatus
from app.models.regions import Region
from app.services import eligibility, moves
from app.services.appointments import bookings
from app.services.households import belonging
from app.services.idempotency import Key
from app.services.moves.relocation import MoveOutdated
from app.services.pages import newest_first
from app.services.results import reading
from tests.database import WAITING
from tests.explain import Explain
from tests.factories import appointments as given
from tests.factories.appointments import Spouses
from tests.factories.families import (
    EAST,
    FAR,
    NEXT_TOWN,
    TOWN,
    WEST,
    annulled,
    belongs,
    family,
    happens,
    newcomer,
    relations,
    single,
    village_worker,
    villages,
)
from tests.factories.results import body, post
from tests.residents import NEXT_COUNTY_TOWN

PLAN = {"to_region_code": WEST, "address": "西村 5 号", "moved_on": "2026-08-15"}


def proposal(row: Household, **changes: Any) -> moves.ProposeMove:
    return moves.ProposeMove.model_validate(
        {"household_id": row.id, "version": row.version, **PLAN, **changes}
    )


async def propose(session: AsyncSession, actor: Actor, row: Household, **changes: Any) -> Move:
    return await moves.propose(session, actor, key=Key(new_id(), b"move"), plan=proposal(row, **changes))


def asking(person: Person, **changes: Any) -> moves.AskForMove:
    return moves.AskForMove.model_validate({
        "name": person.name, "document_kind": person.document_kind, "document_number": person.document_number,
        **PLAN, **changes,
    })  # fmt: skip


async def ask(session: AsyncSession, actor: Actor, person: Person, **changes: Any) -> Move:
    return await moves.ask(session, actor, key=Key(new_id(), b"ask"), plan=asking(person, **changes))


async def kinds(session: AsyncSession, row: Household) -> list[str]:
    query = select(HouseholdEvent.kind).filter_by(household_id=row.id).order_by(HouseholdEvent.id)
    return list(await session.scalars(query))


async def where(session: AsyncSession, *rows: Household | Person) -> list[str | None]:
    for row in rows:
        await session.refresh(row)
    return [row.region_code for row in rows]


async def test_one_village_proposes_the_other_accepts_and_everything_changes_hands(
    session: AsyncSession,
) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    joint = await given.attended(session, spouses=home, region_code=EAST)
    accepted = await post(session, joint, body(joint))
    coming = await given.attended(
        session, spouses=home, region_code=EAST, status=AppointmentStatus.BOOKED,
        service_code=given.FERTILITY, in_days=2,
    )  # fmt: skip
    move = await propose(session, east, home.household)
    assert move.status is MoveStatus.PROPOSED
    assert await where(session, home.household, home.wife) == [EAST, EAST], "nothing has moved yet"
    with pytest.raises(moves.OtherSideDecides):
        await moves.accept(session, east, id=move.id, version=move.version)
    with pytest.raises(NotFound):
        await moves.accept(session, await village_worker(session, FAR), id=move.id, version=move.version)

    move = await moves.accept(session, west, id=move.id, version=move.version)
    assert (move.status, move.decided_by) == (MoveStatus.ACCEPTED, west.id)
    assert await where(session, home.household, home.wife, home.husband) == [WEST, WEST, WEST]
    assert home.household.address == "西村 5 号"
    tasks = await session.scalars(
        select(FollowUp).filter_by(report_id=accepted.report_id).execution_options(populate_existing=True)
    )
    assert {task.region_code for task in tasks} == {WEST}
    await session.refresh(coming.appointment)
    assert coming.appointment.region_code == WEST
    assert await kinds(session, home.household) == ["move_proposed", "moved"]
    step = (await session.scalars(select(HouseholdEvent).filter_by(kind="moved"))).one()
    assert (step.note, step.happened_on) == ("东村 → 西村", date(2026, 8, 15))
    with pytest.raises(NotFound):
        await fetch(session, east, Household, home.household.id)


async def test_where_both_villages_are_the_officers_it_happens_at_once(session: AsyncSession) -> None:
    home = await family(session)
    officer = await given.worker(session, TOWN)
    move = await propose(session, officer, home.household)
    assert move.status is MoveStatus.ACCEPTED
    assert await where(session, home.household, home.husband) == [WEST, WEST]
    assert await kinds(session, home.household) == ["moved"]


async def test_the_receiving_village_asks_with_the_document_and_sees_nothing_before(
    session: AsyncSession,
) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    with pytest.raises(moves.NotFoundByDocument):
        await ask(session, west, home.wife, name="李秀兰")
    with pytest.raises(moves.NotFoundByDocument):
        await ask(session, west, home.wife, document_number="G0000000000X")
    move = await ask(session, west, home.wife)
    with pytest.raises(NotFound):
        await fetch(session, west, Household, home.household.id)
    with pytest.raises(moves.OtherSideDecides):
        await moves.accept(session, west, id=move.id, version=move.version)
    await moves.accept(session, east, id=move.id, version=move.version)
    assert await where(session, home.household, home.wife) == [WEST, WEST]


async def test_nobody_asks_for_a_move_to_where_they_do_not_work(session: AsyncSession) -> None:
    home = await family(session)
    with pytest.raises(errors.Forbidden):
        await ask(session, await village_worker(session, FAR), home.wife)


async def test_declined_or_withdrawn_nothing_moves_and_the_new_address_is_not_kept(
    session: AsyncSession,
) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    move = await propose(session, east, home.household)
    async with session.begin_nested() as inner:
        assert await said(propose(session, east, home.household)) == "move-under-way"
        await inner.rollback()
    for row in (home.household, move):
        await session.refresh(row)
    with pytest.raises(moves.OtherSideDecides):
        await moves.decline(session, east, id=move.id, version=move.version, reason="不认识")
    move = await moves.decline(session, west, id=move.id, version=move.version, reason="该户未到本村")
    assert (move.status, move.address, move.reason) == (MoveStatus.DECLINED, None, "该户未到本村")
    with pytest.raises(WrongState):
        await moves.accept(session, west, id=move.id, version=move.version)
    again = await propose(session, east, home.household)
    with pytest.raises(moves.OtherSideDecides):
        await moves.withdraw(session, west, id=again.id, version=again.version)
    with pytest.raises(StaleVersion):
        await moves.withdraw(session, east, id=again.id, version=again.version + 1)
    await moves.withdraw(session, east, id=again.id, version=again.version)
    assert await where(session, home.household, home.wife) == [EAST, EAST]
    assert await kinds(session, home.household) == [
        "move_proposed", "move_declined", "move_proposed", "move_withdrawn",
    ]  # fmt: skip


async def said(call: Any) -> str:
    try:
        await call
    except Exception as error:
        return errors.to_problem(error).slug()
    return "done"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"to_region_code": "640100000000"}, "/to_region_code"),
        ({"to_region_code": EAST}, "/to_region_code"),
        ({"to_region_code": "110101001000"}, "/to_region_code"),
        ({"moved_on": "2199-01-01"}, "/moved_on"),
        ({"members": [{"person_id": str(uuid.uuid4()), "relation": "head"}]}, "/members"),
        ({"members": [{"person_id": str(uuid.uuid4()), "relation": "child"}]}, "/members"),
    ],
)
async def test_what_cannot_be_is_refused_at_its_place(
    session: AsyncSession, changes: dict[str, Any], pointer: str
) -> None:
    home = await family(session)
    with pytest.raises(Invalid) as refused:
        await propose(session, await village_worker(session, EAST), home.household, **changes)
    assert [error["pointer"] for error in refused.value.errors or []] == [pointer]


async def with_children(session: AsyncSession) -> tuple[Spouses, Person]:
    home = await family(session)
    son = given.person("王小明", Sex.MALE, birth_date=date(2000, 1, 1))
    await belongs(session, home.household, son, Relation.CHILD)
    return home, son


async def test_a_member_leaves_alone_to_a_household_of_the_own(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    going = [{"person_id": son.id, "relation": "head"}]
    move = await propose(session, east, home.household, members=going)
    move = await moves.accept(session, west, id=move.id, version=move.version)
    assert move.to_household_id is not None
    new = await session.get_one(Household, move.to_household_id)
    assert (new.status, new.region_code, new.address) == (HouseholdStatus.ACTIVE, WEST, "西村 5 号")
    assert await relations(session, new.id) == {son.id: "head"}
    assert await relations(session, home.household.id) == {home.husband.id: "head", home.wife.id: "spouse"}
    assert await where(session, son, home.wife) == [WEST, EAST]
    assert await kinds(session, new) == ["member_joined"]
    assert await kinds(session, home.household) == ["move_proposed", "member_left"]


async def test_the_receiving_village_says_which_household_they_join(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    there, uncle = await single(session, "王建国", Sex.MALE, WEST)
    move = await propose(
        session, east, home.household, members=[{"person_id": son.id, "relation": "head"}]
    )  # fmt: skip
    wrong = [
        (home.household.id, [moves.Mover(person_id=son.id, relation=Relation.OTHER)], NotFound),
        (there.id, [moves.Mover(person_id=son.id, relation=Relation.HEAD)], Invalid),
        (there.id, [], Invalid),
        (there.id, [moves.Mover(person_id=uncle.id, relation=Relation.OTHER)], Invalid),
    ]
    for target, members, problem in wrong:
        with pytest.raises(problem):
            await moves.accept(
                session, west, id=move.id, version=move.version, to_household_id=target, members=members
            )
    await moves.accept(
        session, west, id=move.id, version=move.version, to_household_id=there.id,
        members=[moves.Mover(person_id=son.id, relation=Relation.OTHER)],
    )  # fmt: skip
    assert await relations(session, there.id) == {uncle.id: "head", son.id: "other"}


async def test_a_head_who_leaves_others_behind_is_followed_by_one_of_them(session: AsyncSession) -> None:
    home, son = await with_children(session)
    officer = await given.worker(session, TOWN)
    going = [{"person_id": home.husband.id, "relation": "head"}]
    with pytest.raises(belonging.NewHeadNeeded):
        async with session.begin_nested():
            await propose(session, officer, home.household, members=going)
    await session.refresh(home.household)
    ids = son.id, home.wife.id
    await propose(session, officer, home.household, members=going, head_id=ids[0])
    assert await relations(session, home.household.id) == {ids[0]: "head", ids[1]: "parent"}


async def test_who_died_meanwhile_does_not_move(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    move = await propose(
        session, east, home.household, members=[{"person_id": son.id, "relation": "head"}]
    )  # fmt: skip
    await happens(session, east, home.household.id, "death", "2026-08-16", person_id=son.id)
    with pytest.raises(MoveOutdated):
        await moves.accept(session, west, id=move.id, version=move.version)


async def test_who_left_the_association_is_counted_nowhere_until_they_come_back(
    session: AsyncSession,
) -> None:
    home = await family(session)
    east = await village_worker(session, EAST)
    row = home.household
    left = date(2026, 8, 1)
    row = await moves.move_out(
        session, east, id=row.id, version=row.version, left_on=left, to_region_code="110101000000"
    )
    await session.flush()
    assert row.status is HouseholdStatus.MOVED_OUT
    assert await where(session, row, home.wife, home.husband) == [EAST, None, None]
    assert len(await relations(session, row.id)) == 2, "they still belong together"
    with pytest.raises(WrongState):
        await propose(session, east, row)
    with pytest.raises(StaleVersion):
        await moves.come_back(session, east, id=row.id, version=1, returned_on=left, address=None)
    row = await moves.come_back(
        session, east, id=row.id, version=row.version, returned_on=date(2026, 9, 1), address="东村 1 号"
    )
    await session.flush()
    assert (row.status, row.address) == (HouseholdStatus.ACTIVE, "东村 1 号")
    assert await where(session, home.wife, home.husband) == [EAST, EAST]
    assert await kinds(session, row) == ["moved_out", "came_back"]


async def test_the_place_of_registration_sees_that_its_people_live_elsewhere_and_no_more(
    session: AsyncSession,
) -> None:
    await villages(session)
    _, here = await single(session, "赵敏", Sex.FEMALE)
    _, near = await single(session, "钱强", Sex.MALE)
    near.hukou_region_code = NEXT_TOWN
    _, away = await single(session, "孙悦", Sex.FEMALE, NEXT_COUNTY_TOWN)
    _, gone = await single(session, "周明", Sex.MALE, NEXT_COUNTY_TOWN)
    gone.region_code = None
    assert {one.hukou_region_code for one in (here, away, gone)} == {TOWN}
    await session.flush()
    officer = await given.worker(session, TOWN)
    rows = await moves.people_away(session, officer, after=None, limit=10)
    assert [(row.id, row.name, row.county_code) for row in rows] == [(away.id, "孙*", "640105000000")]
    assert rows[0].county_name
    assert await moves.people_away(session, officer, after=(TOWN, away.id), limit=10) == []
    with pytest.raises(NotFound):
        await fetch(session, officer, Person, away.id)
    elsewhere = await given.worker(session, NEXT_TOWN)
    assert await moves.people_away(session, elsewhere, after=None, limit=10) == []


async def test_moves_are_listed_for_both_villages(session: AsyncSession) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    move = await propose(session, east, home.household)
    for worker, count in ((east, 1), (west, 1), (await village_worker(session, FAR), 0)):
        rows = await moves.listing(session, worker, status=MoveStatus.PROPOSED, before=None, limit=10)
        assert [row.id for row in rows] == [move.id] * count
    assert (rows_of := await moves.listing(session, east, status=None, before=None, limit=10))[0].persons == 2
    assert rows_of[0].whole
    assert await moves.listing(session, east, status=MoveStatus.ACCEPTED, before=None, limit=10) == []


@pytest.mark.parametrize(
    ("status", "index"),
    [(None, "ix_household_move_created_at"), (MoveStatus.PROPOSED, "ix_household_move_status")],
)
async def test_a_county_reads_its_moves_in_order(
    session: AsyncSession, status: MoveStatus | None, index: str
) -> None:
    """Whatever the statistics of an empty table say: with both, sorting all of a million is what is left."""
    for way in ("seqscan", "bitmapscan", "sort"):
        await session.execute(text(f"SET LOCAL enable_{way} = off"))
    county = Actor(Role.TOWNSHIP_OFFICER, new_id(), given.COUNTY)
    query = select(Move.id).where(visible(county, Move), *([Move.status == status] if status else []))
    for before in (None, new_id()):
        page = newest_first(query, Move.created_at, Move.id, before, 21)
        plan = "\n".join(await session.scalars(Explain(page)))
        assert f"using {index}" in plan, plan
        assert "Sort" not in plan, plan


async def test_what_is_the_household_s_own_is_told_to_the_village_where_it_is(session: AsyncSession) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)

    async def told(worker: Actor) -> tuple[str | None, int | None, bool]:
        [row] = await moves.listing(session, worker, status=None, before=None, limit=1)
        return row.head, row.persons, row.household_number is not None

    nothing, everything = (None, None, False), ("王*军", 2, True)
    asked = await ask(session, west, home.wife)
    assert (await told(west), await told(east)) == (nothing, everything), "before the other village agrees"
    await moves.decline(session, east, id=asked.id, version=asked.version, reason="未搬走")
    assert (await told(west), await told(east)) == (nothing, everything)
    offered = await propose(session, east, home.household)
    assert (await told(west), await told(east)) == (everything, everything), "west has to decide about it"
    await moves.accept(session, west, id=offered.id, version=offered.version)
    assert (await told(west), await told(east)) == (everything, nothing), "not east's any more"
    home.husband.restricted_at = clock.now()
    await session.flush()
    assert await told(west) == (None, 2, True), "who is to be erased has no name here"


async def test_a_joint_report_stays_where_the_other_of_the_two_is(session: AsyncSession) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    officer = await given.worker(session, TOWN)
    joint = await given.attended(session, spouses=home, region_code=EAST)
    report = await post(session, joint, body(joint))
    await happens(session, east, home.household.id, "divorce", person_id=home.wife.id)
    await propose(
        session, officer, home.household, members=[{"person_id": home.wife.id, "relation": "head"}]
    )  # fmt: skip
    with pytest.raises(NotFound):  # it would read the values of the former husband
        await reading.sheet(session, west, report_id=report.report_id, purpose="x")
    await reading.sheet(session, east, report_id=report.report_id, purpose="x")
    await session.refresh(home.household)
    await propose(session, officer, home.household)
    await reading.sheet(session, west, report_id=report.report_id, purpose="x")


async def test_only_the_village_that_they_stay_in_says_who_heads_those_who_stay(
    session: AsyncSession,
) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    row, head, wife = home.household, home.husband.id, home.wife.id
    alone: dict[str, Any] = {"members": [{"person_id": head, "relation": "head"}]}
    for wrong, problem in (
        (alone, belonging.NewHeadNeeded),
        (alone | {"head_id": head}, Invalid),
        (alone | {"head_id": new_id()}, Invalid),
        ({"head_id": wife}, Invalid),
    ):
        with pytest.raises(problem):
            await propose(session, east, row, **wrong)
    go = [{"person_id": son.id, "relation": "head"}]
    move = await propose(session, east, row, members=go, head_id=wife)
    with pytest.raises(Invalid):
        await moves.accept(session, west, id=move.id, version=move.version, head_id=wife)
    await moves.accept(session, west, id=move.id, version=move.version)
    assert await relations(session, row.id) == {head: "head", wife: "spouse"}, "the head has stayed"


async def test_the_village_that_they_stay_in_names_the_head_when_it_agrees(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    asked = await ask(session, west, home.husband, alone=True)
    with pytest.raises(belonging.NewHeadNeeded):
        await moves.accept(session, east, id=asked.id, version=asked.version)
    with pytest.raises(Invalid):
        await moves.accept(session, east, id=asked.id, version=asked.version, head_id=new_id())
    await moves.accept(session, east, id=asked.id, version=asked.version, head_id=son.id)
    assert await relations(session, home.household.id) == {son.id: "head", home.wife.id: "parent"}


async def test_who_became_the_head_meanwhile_does_not_leave_without_a_new_one(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    going = [{"person_id": son.id, "relation": "head"}]
    move = await propose(session, east, home.household, members=going)
    await happens(session, east, home.household.id, "head_changed", "2026-09-01", head_id=son.id)
    with pytest.raises(MoveOutdated):
        await moves.accept(session, west, id=move.id, version=move.version)


async def test_spouse_of_the_head_is_who_is_married_to_the_head_when_the_move_is_accepted(
    session: AsyncSession,
) -> None:
    await villages(session)
    officer, far = await given.worker(session, TOWN), await village_worker(session, FAR)
    row, groom = await single(session, "赵强", Sex.MALE)
    _, bride = await single(session, "钱多多", Sex.FEMALE, FAR)
    spouse = {"document_kind": "passport", "document_number": bride.document_number}
    married = await happens(
        session, officer, row.id, "marriage", person_id=groom.id,
        spouse=newcomer("钱多多", born="1995-06-01", **spouse),
    )  # fmt: skip
    await annulled(session, officer, married)
    move = (await session.scalars(select(Move))).one()
    await moves.accept(session, far, id=move.id, version=move.version)
    assert await relations(session, row.id) == {groom.id: "head", bride.id: "other"}


async def test_a_head_has_one_spouse(session: AsyncSession) -> None:
    home, officer = await family(session), await given.worker(session, TOWN)
    hers, other = await single(session, "钱多多", Sex.FEMALE)
    join = {"address": None, "to_household_id": home.household.id, "to_region_code": EAST}
    going = [{"person_id": other.id, "relation": "spouse"}]
    await propose(session, officer, hers, members=going, **join)
    assert sorted((await relations(session, home.household.id)).values()) == ["head", "other", "spouse"]


async def test_who_is_restricted_is_not_listed_as_away(session: AsyncSession) -> None:
    await villages(session)
    _, away = await single(session, "孙悦", Sex.FEMALE, NEXT_COUNTY_TOWN)
    officer = await given.worker(session, TOWN)
    assert len(await moves.people_away(session, officer, after=None, limit=10)) == 1
    away.restricted_at = clock.now()
    await session.flush()
    assert await moves.people_away(session, officer, after=None, limit=10) == []


async def test_nobody_moves_into_a_division_that_ended_meanwhile(session: AsyncSession) -> None:
    home = await family(session)
    east, west = await village_worker(session, EAST), await village_worker(session, WEST)
    move = await propose(session, east, home.household)
    (await session.get_one(Region, WEST)).valid_to = clock.today()
    await session.flush()
    with pytest.raises(MoveOutdated):
        await moves.accept(session, west, id=move.id, version=move.version)


async def test_a_place_of_the_association_is_moved_to_and_not_out_to(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    row, left = home.household, date(2026, 8, 1)
    with pytest.raises(Invalid) as refused:
        await moves.move_out(
            session, east, id=row.id, version=row.version, left_on=left, to_region_code=NEXT_COUNTY_TOWN
        )
    assert [error["pointer"] for error in refused.value.errors or []] == ["/to_region_code"]


async def test_one_member_leaves_the_association_alone_and_comes_back(session: AsyncSession) -> None:
    home, son = await with_children(session)
    east, left = await village_worker(session, EAST), date(2026, 8, 1)
    common: dict[str, Any] = {"left_on": left, "to_region_code": "110101000000"}
    row = home.household
    heads = [moves.Mover(person_id=home.husband.id, relation=Relation.HEAD)]
    with pytest.raises(belonging.NewHeadNeeded):
        await moves.move_out(session, east, id=row.id, version=row.version, members=heads, **common)
    going = [moves.Mover(person_id=son.id, relation=Relation.HEAD)]
    own = await moves.move_out(session, east, id=row.id, version=row.version, members=going, **common)
    await session.flush()
    assert (own.status, row.status) == (HouseholdStatus.MOVED_OUT, HouseholdStatus.ACTIVE)
    assert await relations(session, own.id) == {son.id: "head"}
    assert len(await relations(session, row.id)) == 2
    assert await where(session, own, son, home.wife) == [EAST, None, EAST]
    assert (await kinds(session, row), await kinds(session, own)) == (["member_left"], ["moved_out"])
    back = await moves.come_back(
        session, east, id=own.id, version=own.version, returned_on=date(2026, 9, 1), address="东村 9 号"
    )
    assert back.family_type is not None
    assert await where(session, son) == [EAST]


async def test_the_type_of_a_family_is_settled_with_its_move(session: AsyncSession) -> None:
    home, son = await with_children(session)
    officer = await given.worker(session, TOWN)
    going = [{"person_id": son.id, "relation": "head"}]
    move = await propose(session, officer, home.household, members=going)
    new = await session.get_one(Household, move.to_household_id)
    assert None not in {new.family_type, home.household.family_type}


class Race:
    """Real commits, each call its own transaction."""

    @staticmethod
    async def home() -> tuple[Spouses, Actor, Actor, Actor]:
        async with db.begin() as session:
            home = await family(session)
            return (
                home,
                await village_worker(session, EAST),
                await village_worker(session, WEST),
                await given.worker(session, TOWN),
            )

    @staticmethod
    async def outcomes(*calls: Any) -> list[str]:
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return sorted(
            errors.to_problem(answer).slug() if isinstance(answer, Exception) else "done"
            for answer in answers
        )


@pytest.mark.usefixtures("committed")
async def test_of_two_moves_of_one_household_at_once_one_wins() -> None:
    async def call(actor: Actor, row: Household, to: str) -> None:
        async with db.begin() as session:
            await propose(session, actor, row, to_region_code=to)

    for _ in range(5):
        home, east, _, officer = await Race.home()
        told = await Race.outcomes(
            call(east, home.household, FAR), call(east, home.household, WEST)
        )  # fmt: skip
        assert told == ["done", "move-under-way"]
        home, _, _, officer = await Race.home()
        told = await Race.outcomes(call(officer, home.household, WEST), call(officer, home.household, TOWN))
        assert told == ["done", "stale-version"]
        async with db.begin() as session:
            people = await session.scalars(
                select(Person.region_code).where(Person.id.in_([home.wife.id, home.husband.id]))
            )
            row = await session.get_one(Household, home.household.id)
            assert set(people) == {row.region_code}


@pytest.mark.usefixtures("committed")
async def test_a_move_accepted_while_somebody_dies_counts_everybody_where_they_are() -> None:
    async def accept(actor: Actor, move: Move) -> None:
        async with db.begin() as session:
            await moves.accept(session, actor, id=move.id, version=move.version)

    async def die(actor: Actor, home: Spouses) -> None:
        async with db.begin() as session:
            await happens(session, actor, home.household.id, "death", "2026-08-16", person_id=home.wife.id)

    for _ in range(5):
        home, east, west, officer = await Race.home()
        async with db.begin() as session:
            move = await propose(session, east, home.household)
        told = await Race.outcomes(accept(west, move), die(officer, home))
        assert told == ["done", "done"]
        async with db.begin() as session:
            wife = await session.get_one(Person, home.wife.id)
            husband = await session.get_one(Person, home.husband.id)
            assert (wife.region_code, husband.region_code) == (None, WEST)


@pytest.mark.usefixtures("committed")
async def test_of_two_answers_to_one_move_one_counts() -> None:
    async def answer(verb: Any, actor: Actor, move: Move) -> None:
        async with db.begin() as session:
            await verb(session, actor, id=move.id, version=move.version)

    for _ in range(5):
        home, east, west, _ = await Race.home()
        async with db.begin() as session:
            move = await propose(session, east, home.household)
        told = await Race.outcomes(answer(moves.accept, west, move), answer(moves.withdraw, east, move))
        assert told == ["done", "stale-version"]


@pytest.mark.usefixtures("committed")
async def test_two_spouses_taken_over_crosswise_do_not_lock_each_other_out() -> None:
    """Two households exchange members at once: the locks are taken in one order."""

    async def join(actor: Actor, row: Household, person: Person, other: Household) -> None:
        async with db.begin() as session:
            await propose(
                session, actor, row, address=None, to_household_id=other.id, to_region_code=EAST,
                members=[{"person_id": person.id, "relation": "other"}],
            )  # fmt: skip

    for _ in range(5):
        home, _, _, officer = await Race.home()
        other, _, _, _ = await Race.home()
        told = await Race.outcomes(
            join(officer, home.household, home.wife, other.household),
            join(officer, other.household, other.wife, home.household),
        )
        assert set(told) <= {"done", "stale-version"}
        assert "done" in told


@pytest.mark.usefixtures("committed")
async def test_a_move_withdrawn_or_accepted_while_the_next_is_proposed_locks_nobody_out() -> None:
    async def answer(verb: Any, actor: Actor, move: Move, **said: Any) -> None:
        async with db.begin() as session:
            await verb(session, actor, id=move.id, version=move.version, **said)

    async def again(actor: Actor, home: Spouses) -> None:
        async with db.begin() as session:
            row = await session.get_one(Household, home.household.id)
            await propose(session, actor, row, to_region_code=FAR)

    for _ in range(8):
        home, east, west, _ = await Race.home()
        async with db.begin() as session:
            move = await propose(session, east, home.household)
        told = await Race.outcomes(answer(moves.withdraw, east, move), again(east, home))
        assert set(told) <= {"done", "move-under-way", "stale-version"}
        home, east, west, _ = await Race.home()
        async with db.begin() as session:
            there, _ = await single(session, "王建国", Sex.MALE, WEST)
            going = [{"person_id": home.wife.id, "relation": "head"}]
            move = await propose(session, east, home.household, members=going)
        joins = [moves.Mover(person_id=home.wife.id, relation=Relation.OTHER)]
        told = await Race.outcomes(
            answer(moves.accept, west, move, to_household_id=there.id, members=joins), again(east, home)
        )
        assert set(told) <= {"done", "move-under-way", "stale-version"}


async def waiting_for(session: AsyncSession, call: Any) -> asyncio.Task[str]:
    """Begun, and come to a lock that this transaction holds."""
    task = asyncio.create_task(said(call))
    async with db.begin() as other:
        for _ in range(500):
            if await other.scalar(text(WAITING)):
                break
            await asyncio.sleep(0.01)
    assert not task.done()
    return task


async def qualified() -> tuple[Spouses, Actor, uuid.UUID]:
    """A couple that may book, with an officer of its town."""
    async with db.begin() as session:
        home, hospital = await family(session), await given.clinic(session)
        service = await given.service(session)
        await eligibility.settle(session, home.wife_actor, service=service, person_id=home.wife.id)
        slot = await given.slot(session, place=hospital.clinic, service=service)
        return home, await given.worker(session, TOWN), slot.id


async def book(actor: Actor, slot_id: uuid.UUID) -> None:
    await bookings.book(actor, key=Key(new_id(), b"book"), slot_id=slot_id)


@pytest.mark.usefixtures("committed")
async def test_a_booking_that_waited_for_a_move_is_asked_to_try_again() -> None:
    home, officer, slot_id = await qualified()
    async with db.begin() as session:
        await propose(session, officer, await session.get_one(Household, home.household.id))
        booking = await waiting_for(session, book(home.wife_actor, slot_id))
    assert await booking == "unavailable"
    assert await said(book(home.wife_actor, slot_id)) == "done"
    async with db.begin() as session:
        assert list(await session.scalars(select(Appointment.region_code))) == [WEST]


@pytest.mark.usefixtures("committed")
async def test_a_booking_that_waited_for_a_divorce_is_asked_to_try_again() -> None:
    home, officer, slot_id = await qualified()
    async with db.begin() as session:
        await happens(session, officer, home.household.id, "divorce", "2026-09-01", person_id=home.wife.id)
        booking = await waiting_for(session, book(home.wife_actor, slot_id))
    assert await booking == "unavailable"
    assert await said(book(home.wife_actor, slot_id)) == "not-eligible"


@pytest.mark.usefixtures("committed")
async def test_who_qualifies_while_moving_qualifies_where_they_live_then() -> None:
    home, officer, _ = await qualified()

    async def settle() -> None:
        async with db.begin() as session:
            service = await given.service(session)
            await eligibility.settle(session, home.wife_actor, service=service, person_id=home.wife.id)

    async with db.begin() as session:
        await propose(session, officer, await session.get_one(Household, home.household.id))
        await session.flush()
        settling = await waiting_for(session, settle())
    assert await settling == "done"
    async with db.begin() as session:
        assert set(await session.scalars(select(Qualification.region_code))) == {WEST}
