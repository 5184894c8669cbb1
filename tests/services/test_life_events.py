"""What happens in a family: what changes with it, what is refused, what can be annulled."""

import uuid
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, errors
from app.db import new_id
from app.errors import Invalid, NotFound, WrongState
from app.models.appointments import AppointmentStatus, Qualification
from app.models.audit import AuditEvent
from app.models.follow_ups import FollowUp, FollowUpEvent, FollowUpStatus
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import (
    Category,
    Couple,
    FamilyType,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.identity import ResidentAccount
from app.models.life_events import LifeEvent
from app.models.messages import InboxMessage
from app.models.moves import Move, MoveStatus
from app.services import eligibility, identity, life_events, moves
from app.services.households import belonging
from app.services.households import reading as households
from app.services.households.registration import AlreadyInHousehold, MarriedElsewhere
from app.services.idempotency import Key
from app.services.life_events import annulment
from app.services.results import reading
from tests.factories import appointments as given
from tests.factories.families import (
    EAST,
    FAR,
    HAPPENED,
    WEST,
    annulled,
    belongs,
    family,
    happens,
    newcomer,
    relations,
    single,
    village_worker,
)
from tests.factories.results import NORMAL_HUSBAND, body, post, with_value


def pointers(problem: Invalid) -> list[str]:
    return [error["pointer"] for error in problem.errors or []]


async def fresh(session: AsyncSession, row: Any) -> Any:
    await session.refresh(row)
    return row


async def test_a_birth_adds_a_child_who_is_counted_where_the_family_lives(session: AsyncSession) -> None:
    home = await family(session)
    worker = await village_worker(session, EAST)
    before = home.household.version
    event = await happens(session, worker, home.household.id, "birth", child=newcomer())
    child = await session.get_one(Person, event.person_id)
    assert (child.region_code, child.name, child.pinyin) == (EAST, "王安安", "wang an an")
    assert (await relations(session, home.household.id))[child.id] == "child"
    assert (await fresh(session, home.household)).version == before + 1, "an older copy of it is stale now"
    step = (await session.scalars(select(HouseholdEvent).filter_by(kind="birth"))).one()
    assert (step.person_id, step.happened_on, step.note) == (child.id, date(2026, 8, 1), None)
    detail = await session.get_one(HandbookDetail, step.detail_id)
    assert "证明原件已查验" in (detail.content or "")
    assert "证明" not in str(detail.content_sealed)
    trail = select(AuditEvent.person_id).filter_by(action="birth", entity_id=home.household.id)
    assert set(await session.scalars(trail)) == {child.id, home.wife.id, home.husband.id}


async def test_the_same_key_records_once(session: AsyncSession) -> None:
    home = await family(session)
    worker = await village_worker(session, EAST)
    key, child = Key(new_id(), b"once"), newcomer()
    event = HAPPENED.validate_python(
        {"kind": "birth", "happened_on": "2026-08-01", "evidence": "原件", "child": child}
    )
    for _ in range(2):
        row = await life_events.record(session, worker, key=key, household_id=home.household.id, event=event)
        assert row.id == key.id
    assert len(await relations(session, home.household.id)) == 3


@pytest.mark.parametrize(
    ("kind", "event", "pointer"),
    [
        ("birth", {"child": newcomer(born="2026-07-31")}, "/event/happened_on"),
        ("birth", {"child": newcomer(sex=None)}, "/event/child/sex"),
        ("birth", {"child": newcomer(document_kind="resident_id", document_number="1")},
         "/event/child/document_number"),
        ("birth", {"child": newcomer(hukou_region_code="999999999999")}, "/event/child/hukou_region_code"),
        ("death", {"person_id": str(uuid.uuid4())}, "/event/person_id"),
        ("head_changed", {"head_id": str(uuid.uuid4())}, "/event/head_id"),
        ("category_gained", {"code": "no_such"}, "/event/code"),
        ("category_gained", {"code": "five_guarantees"}, "/event/code"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_at_its_place(
    session: AsyncSession, kind: str, event: dict[str, Any], pointer: str
) -> None:
    home = await family(session)
    worker = await village_worker(session, EAST)
    with pytest.raises(Invalid) as refused:
        await happens(session, worker, home.household.id, kind, **event)
    assert pointers(refused.value) == [pointer]


async def test_nothing_happens_tomorrow_or_before_one_is_born(session: AsyncSession) -> None:
    home = await family(session)
    worker = await village_worker(session, EAST)
    for on in ("2199-01-01", "1994-12-31"):
        with pytest.raises(Invalid) as refused:
            await happens(session, worker, home.household.id, "death", on, person_id=home.wife.id)
        assert pointers(refused.value) == ["/event/happened_on"]


async def test_another_village_s_household_does_not_exist_for_a_worker(session: AsyncSession) -> None:
    home = await family(session)
    with pytest.raises(NotFound):
        await happens(
            session, await village_worker(session, WEST), home.household.id, "birth", child=newcomer()
        )


async def test_a_child_of_another_household_is_not_born_again(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    other, _ = await single(session, "赵敏", Sex.FEMALE)
    child = newcomer()
    await happens(session, worker, home.household.id, "birth", child=child)
    with pytest.raises(AlreadyInHousehold) as taken:
        await happens(session, worker, other.id, "birth", child=child)
    assert pointers(taken.value) == ["/event/child"]
    with pytest.raises(Invalid) as refused:
        await happens(session, worker, other.id, "birth", child=child | {"name": "王乐乐"})
    assert pointers(refused.value) == ["/event/child/name"]
    for problem in (taken.value, refused.value):
        assert (problem.errors or [{}])[0]["zh"].endswith("，请联系兴庆区凤凰北街街道")


async def a_widow_s_house(session: AsyncSession) -> tuple[given.Spouses, Person, Any]:
    home, worker = await family(session), await village_worker(session, EAST)
    child = given.person("王小明", Sex.MALE, birth_date=date(2015, 1, 1))
    await belongs(session, home.household, child, Relation.CHILD)
    return home, child, worker


async def notices(session: AsyncSession, person: Person) -> list[str]:
    """About appointments."""
    kinds = select(InboxMessage.kind).filter_by(person_id=person.id, entity="appointment")
    return [str(kind) for kind in await session.scalars(kinds)]


async def test_a_death_ends_everything_of_that_person(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    attended = await given.attended(session, spouses=home, region_code=EAST)
    report = await post(
        session, attended, body(attended, husband=with_value(NORMAL_HUSBAND, "hbsag", "positive"))
    )
    booked = await given.attended(
        session, spouses=home, region_code=EAST, status=AppointmentStatus.BOOKED,
        service_code=given.FERTILITY, by=Sex.MALE, in_days=2,
    )  # fmt: skip
    await happens(
        session, worker, home.household.id, "category_gained", "2026-01-01", code="five_guarantees",
        person_id=home.husband.id,
    )  # fmt: skip
    event = await happens(
        session, worker, home.household.id, "death", person_id=home.husband.id, head_id=home.wife.id
    )  # fmt: skip

    husband = await fresh(session, home.husband)
    assert (husband.died_on, husband.region_code) == (date(2026, 8, 1), None)
    assert await relations(session, home.household.id) == {home.wife.id: "head", child.id: "child"}
    assert (await fresh(session, home.couple)).valid_to == date(2026, 8, 1)
    categories = await session.scalars(select(Category.valid_to).filter_by(person_id=husband.id))
    assert list(categories) == [date(2026, 8, 1)]
    assert (await fresh(session, booked.appointment)).status is AppointmentStatus.CANCELLED
    assert (await fresh(session, booked.slot)).booked == 0
    tasks = list(await session.scalars(select(FollowUp).filter_by(person_id=husband.id)))
    assert tasks
    assert {task.status for task in tasks} == {FollowUpStatus.OBSOLETE}
    assert await session.scalar(select(ResidentAccount).filter_by(person_id=husband.id)) is None

    # An amended report calls for nothing from the dead; his wife's follow-ups go on.
    await post(session, attended, body(
        attended, external_id=report.external_id, version=2, status="amended",
        husband=with_value(NORMAL_HUSBAND, "smoking", "yes"),
    ))  # fmt: skip
    live = select(FollowUp.person_id).where(FollowUp.status != FollowUpStatus.OBSOLETE)
    assert set(await session.scalars(live.where(FollowUp.report_id == report.report_id))) <= {home.wife.id}

    again = await annulled(session, worker, event)
    assert (again.kind, again.annuls_id) == ("annulment", event.id)
    husband = await fresh(session, home.husband)
    assert (husband.died_on, husband.region_code) == (None, EAST)
    assert await relations(session, home.household.id) == {
        husband.id: "head", home.wife.id: "spouse", child.id: "child",
    }  # fmt: skip
    assert (await fresh(session, home.couple)).valid_to is None
    held = select(Category.valid_to).filter_by(person_id=husband.id)
    assert list(await session.scalars(held)) == [None]
    restored = {(await fresh(session, task)).status for task in tasks}
    assert restored != {FollowUpStatus.OBSOLETE}
    told = select(func.count()).select_from(FollowUpEvent).filter_by(follow_up_id=tasks[0].id)
    assert (await session.scalar(told) or 0) >= 3
    with pytest.raises(annulment.AlreadyAnnulled):
        await annulled(session, worker, event)


async def test_of_what_was_booked_by_two_who_lives_is_told(session: AsyncSession) -> None:
    home, _, worker = await a_widow_s_house(session)
    await given.attended(session, spouses=home, region_code=EAST, status=AppointmentStatus.BOOKED)
    death = {"person_id": home.husband.id, "head_id": home.wife.id}
    await happens(session, worker, home.household.id, "death", **death)
    assert await notices(session, home.wife) == ["appointment_cancelled"]
    assert await notices(session, home.husband) == []


async def test_a_head_does_not_leave_a_household_without_one(session: AsyncSession) -> None:
    home, _, worker = await a_widow_s_house(session)
    with pytest.raises(belonging.NewHeadNeeded):
        await happens(session, worker, home.household.id, "death", person_id=home.husband.id)


async def test_the_last_one_closes_the_household_and_its_annulment_opens_it(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, person = await single(session, "赵敏", Sex.FEMALE)
    event = await happens(session, worker, row.id, "death", person_id=person.id)
    assert (await fresh(session, row)).status is HouseholdStatus.CLOSED
    with pytest.raises(WrongState):
        await happens(session, worker, row.id, "birth", child=newcomer())
    await annulled(session, worker, event)
    assert (await fresh(session, row)).status is HouseholdStatus.ACTIVE
    assert (await fresh(session, person)).region_code == EAST


async def test_a_death_is_not_annulled_once_the_widow_has_married(session: AsyncSession) -> None:
    home, _, worker = await a_widow_s_house(session)
    death = await happens(
        session, worker, home.household.id, "death", person_id=home.husband.id, head_id=home.wife.id
    )  # fmt: skip
    spouse = newcomer("赵强", "male", "1990-01-01")
    await happens(
        session, worker, home.household.id, "marriage", "2026-09-01", person_id=home.wife.id, spouse=spouse
    )
    with pytest.raises((annulment.LaterChanges, MarriedElsewhere, IntegrityError)) as refused:
        async with session.begin_nested():
            await annulled(session, worker, death)
    assert errors.to_problem(refused.value).status == 409


async def test_nobody_is_alive_again_beside_a_spouse_who_died(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    first = await happens(
        session, worker, home.household.id, "death", person_id=home.husband.id, head_id=home.wife.id
    )  # fmt: skip
    await happens(session, worker, home.household.id, "death", person_id=home.wife.id)
    assert await relations(session, home.household.id) == {child.id: "head"}, "who is left alone heads it"
    with pytest.raises(annulment.LaterChanges):
        await annulled(session, worker, first)


async def test_a_head_who_changed_again_stays(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    death = await happens(
        session, worker, home.household.id, "death", person_id=home.husband.id, head_id=home.wife.id
    )  # fmt: skip
    await happens(session, worker, home.household.id, "head_changed", head_id=child.id)
    assert await relations(session, home.household.id) == {child.id: "head", home.wife.id: "parent"}
    with pytest.raises(annulment.LaterChanges):
        await annulled(session, worker, death)


async def test_categories_and_who_came_by_a_move_are_not_annulled(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    gained = await happens(session, worker, home.household.id, "category_gained", code="minimum_income")
    _, away = await single(session, "王小明", Sex.MALE)
    papers = {"document_kind": "passport", "document_number": away.document_number}
    child = newcomer("王小明", "male", away.birth_date.isoformat(), **papers)
    adopted = await happens(session, worker, home.household.id, "adoption", child=child)
    assert away.id in await relations(session, home.household.id)
    for event in (gained, adopted):
        with pytest.raises(annulment.NotAnnullable):
            await annulled(session, worker, event)


@pytest.mark.parametrize("kind", ["birth", "adoption", "joined"])
async def test_who_has_not_come_after_all_is_a_member_no_more(session: AsyncSession, kind: str) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    papers = newcomer()
    who = {"person" if kind == "joined" else "child": papers}
    event = await happens(session, worker, home.household.id, kind, **who)
    await annulled(session, worker, event)
    person = await session.get_one(Person, event.person_id)
    assert person.id not in await relations(session, home.household.id)
    assert person.region_code is None
    again = await happens(session, worker, home.household.id, kind, **who)
    assert again.person_id == person.id, "and may come yet"
    couple = newcomer("孙强", "male", "1990-01-01")
    grown = await happens(
        session, worker, home.household.id, "joined", person=newcomer("王丽", born="1999-01-01")
    )
    await happens(
        session, worker, home.household.id, "marriage", "2026-08-02", person_id=grown.person_id, spouse=couple
    )
    with pytest.raises(annulment.LaterChanges):
        await annulled(session, worker, grown)


async def test_somebody_registered_nowhere_joins_a_household(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    mother = newcomer("李桂兰", born="1960-05-01")
    event = await happens(
        session, worker, home.household.id, "joined", "2026-08-10", person=mother, relation="parent"
    )
    assert (await relations(session, home.household.id))[event.person_id] == "parent"
    with pytest.raises(AlreadyInHousehold):
        await happens(session, worker, home.household.id, "joined", person=mother)
    steps = select(HouseholdEvent.kind).filter_by(person_id=event.person_id)
    assert list(await session.scalars(steps)) == ["joined"]


async def test_a_member_who_is_adopted_is_the_head_s_child_from_then_on(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    kid = given.person("王小明", Sex.MALE, birth_date=date(2015, 1, 1))
    await belongs(session, home.household, kid, Relation.OTHER)
    papers = {"document_kind": "passport", "document_number": kid.document_number}
    child = newcomer("王小明", "male", "2015-01-01", **papers)
    event = await happens(session, worker, home.household.id, "adoption", child=child)
    assert (await relations(session, home.household.id))[kid.id] == "child"
    await annulled(session, worker, event)
    assert (await relations(session, home.household.id))[kid.id] == "other"
    assert (await fresh(session, kid)).region_code == EAST, "a member before it too"
    papers = {"document_kind": "passport", "document_number": home.husband.document_number}
    head = newcomer("王建军", "male", home.husband.birth_date.isoformat(), **papers)
    with pytest.raises(Invalid) as refused:
        await happens(session, worker, home.household.id, "adoption", child=head)
    assert pointers(refused.value) == ["/event/child"]


async def test_who_bound_somebody_else_s_document_is_unbound_when_the_papers_are_seen(
    session: AsyncSession,
) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    bride = given.person("钱多多", Sex.FEMALE)
    bride.region_code = bride.hukou_region_code = None
    identity.set_phone(bride, "13900000000")
    session.add(bride)
    await session.flush()
    stranger = await given.account(session, bride)
    papers = {"document_kind": "passport", "document_number": bride.document_number}
    spouse = newcomer("钱朵朵", born="1995-06-01", phone="13811112222", **papers)
    await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=spouse)
    seen = await fresh(session, bride)
    assert (seen.name, seen.phone) == ("钱朵朵", "13811112222"), "papers win"
    assert await session.scalar(select(ResidentAccount).filter_by(person_id=bride.id)) is None
    assert await households.mine(session, stranger) == []


async def test_who_bound_with_the_phone_that_the_worker_was_told_stays_bound(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    bride = given.person("钱多多", Sex.FEMALE)
    bride.region_code = None
    identity.set_phone(bride, "13811112222")
    session.add(bride)
    await session.flush()
    own = await given.account(session, bride)
    papers = {"document_kind": "passport", "document_number": bride.document_number}
    spouse = newcomer("钱多多", born="1995-06-01", phone="13811112222", **papers)
    await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=spouse)
    assert [seen.id for seen in await households.mine(session, own)] == [row.id]


async def test_children_stay_children_of_the_new_head(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    leaves = {"person_id": home.husband.id, "to_region_code": EAST, "address": "东村 9 号"}
    divorce = {"person_id": home.wife.id, "leaves": leaves}
    with pytest.raises(belonging.NewHeadNeeded):
        async with session.begin_nested():
            await happens(session, worker, home.household.id, "divorce", **divorce)
    event = await happens(
        session, worker, home.household.id, "divorce", head_id=home.wife.id, **divorce
    )  # fmt: skip
    assert await relations(session, home.household.id) == {home.wife.id: "head", child.id: "child"}
    await annulled(session, worker, event)
    assert await relations(session, home.household.id) == {home.wife.id: "head", child.id: "child"}


@pytest.mark.parametrize(
    ("leaves", "head", "pointer"),
    [
        ({"to_region_code": "110101001000"}, True, "/event/leaves/to_region_code"),
        ({"children": [str(uuid.uuid4())]}, True, "/event/leaves/children"),
        ({}, False, "/event/head_id"),
    ],
)
async def test_what_is_wrong_with_who_leaves_is_refused_at_its_place(
    session: AsyncSession, leaves: dict[str, Any], head: bool, pointer: str
) -> None:
    home, _, worker = await a_widow_s_house(session)
    with pytest.raises(Invalid) as refused:
        await happens(
            session, worker, home.household.id, "divorce", person_id=home.wife.id,
            head_id=home.wife.id if head else uuid.uuid4(),
            leaves={"person_id": home.husband.id, "to_region_code": EAST, "address": "东村 9 号"} | leaves,
        )  # fmt: skip
    assert pointers(refused.value) == [pointer]


async def test_a_marriage_begins_after_the_former_one_and_at_18(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    wed = {"person_id": groom.id, "moves_in": False}
    first = newcomer("钱多多", born="1998-02-03")
    await happens(session, worker, row.id, "marriage", "2024-01-01", **wed, spouse=first)
    await happens(session, worker, row.id, "divorce", "2026-08-01", person_id=groom.id)
    again = newcomer("孙丽", born="2001-01-01")
    for on, spouse in (("2026-07-31", again), ("2026-08-02", newcomer("孙丽", born="2008-08-03"))):
        with pytest.raises(Invalid) as refused:
            await happens(session, worker, row.id, "marriage", on, **wed, spouse=spouse)
        assert pointers(refused.value) == ["/event/happened_on"]
    wrong = await happens(session, worker, row.id, "marriage", "2026-08-20", **wed, spouse=again)
    await annulled(session, worker, wrong)
    of_age = newcomer("孙丽", born="2008-08-01")
    await happens(session, worker, row.id, "marriage", "2026-08-01", **wed, spouse=of_age)


async def test_with_the_last_one_the_household_s_categories_end_and_its_number_is_free(
    session: AsyncSession,
) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, person = await single(session, "赵敏", Sex.FEMALE)
    row.local_number = "7"
    gained = await happens(session, worker, row.id, "category_gained", "2026-01-01", code="minimum_income")
    event = await happens(session, worker, row.id, "death", person_id=person.id)
    category = await session.get_one(Category, gained.id, populate_existing=True)
    assert category.valid_to == date(2026, 8, 1)
    kinds = select(HouseholdEvent.kind).filter_by(household_id=row.id).order_by(HouseholdEvent.id)
    assert list(await session.scalars(kinds)) == ["category_gained", "death", "closed"]
    next_door, _ = await single(session, "钱敏", Sex.FEMALE)
    next_door.local_number = "7"
    await session.flush()
    await annulled(session, worker, event)
    assert (await fresh(session, row)).status is HouseholdStatus.ACTIVE
    assert (await fresh(session, category)).valid_to is None


async def test_a_spouse_whose_family_has_moved_out_is_married_and_stays_with_it(
    session: AsyncSession,
) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    hers, bride = await single(session, "钱多多", Sex.FEMALE)
    await moves.move_out(
        session, worker, id=hers.id, version=hers.version, left_on=date(2026, 1, 1), to_region_code=None
    )
    await session.flush()
    papers = {"document_kind": "passport", "document_number": bride.document_number}
    spouse = newcomer("钱多多", born="1995-06-01", **papers)
    await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=spouse)
    assert (await session.scalars(select(Couple).filter_by(husband_id=groom.id))).one().wife_id == bride.id
    assert await relations(session, hers.id) == {bride.id: "head"}
    with pytest.raises(AlreadyInHousehold) as refused:
        await happens(session, worker, row.id, "joined", person=spouse)
    assert "兴庆区凤凰北街街道" in str(refused.value.errors)


async def test_a_family_s_type_follows_what_happens(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, _ = await single(session, "赵强", Sex.MALE)
    event = await happens(session, worker, row.id, "birth", child=newcomer())
    assert (await fresh(session, row)).family_type is FamilyType.DEVELOPING
    await annulled(session, worker, event)
    assert (await fresh(session, row)).family_type is FamilyType.STABLE


async def test_a_marriage_makes_a_couple_and_the_spouse_moves_in(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    bride = newcomer("钱多多", "female", "1998-02-03")
    event = await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=bride)
    couple = (await session.scalars(select(Couple).filter_by(husband_id=groom.id))).one()
    assert await relations(session, row.id) == {groom.id: "head", couple.wife_id: "spouse"}
    assert (await session.get_one(Person, couple.wife_id)).region_code == EAST

    with pytest.raises(MarriedElsewhere):
        await happens(
            session,
            worker,
            row.id,
            "marriage",
            person_id=groom.id,
            spouse=newcomer("孙丽", born="1999-01-01"),
        )
    await annulled(session, worker, event)
    assert (await fresh(session, couple)).valid_to == couple.valid_from, "a marriage that never was"
    assert await relations(session, row.id) == {groom.id: "head", couple.wife_id: "other"}


async def test_a_spouse_from_the_next_house_moves_in_and_the_old_house_closes(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    hers, bride = await single(session, "钱多多", Sex.FEMALE)
    await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse_id=bride.id)
    assert await relations(session, row.id) == {groom.id: "head", bride.id: "spouse"}
    assert (await fresh(session, hers)).status is HouseholdStatus.CLOSED
    move = (await session.scalars(select(Move).filter_by(household_id=hers.id))).one()
    assert move.status is MoveStatus.ACCEPTED


async def test_a_spouse_from_another_village_is_married_now_and_moves_when_that_village_agrees(
    session: AsyncSession,
) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    hers, bride = await single(session, "钱多多", Sex.FEMALE, FAR)
    spouse = newcomer(
        "钱多多", None, None, document_kind="passport", document_number=bride.document_number
    ) | {"birth_date": "1995-06-01", "sex": "female"}  # fmt: skip
    await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=spouse)
    assert await relations(session, hers.id) == {bride.id: "head"}
    assert (await fresh(session, bride)).region_code == FAR
    move = (await session.scalars(select(Move).filter_by(household_id=hers.id))).one()
    assert (move.status, move.to_household_id) == (MoveStatus.PROPOSED, row.id)
    kinds = select(HouseholdEvent.kind).filter_by(household_id=hers.id)
    assert set(await session.scalars(kinds)) == {"move_proposed", "marriage"}


async def test_two_of_one_sex_or_a_dead_person_do_not_marry(session: AsyncSession) -> None:
    await family(session)
    worker = await village_worker(session, EAST)
    row, groom = await single(session, "赵强", Sex.MALE)
    with pytest.raises(Invalid) as refused:
        await happens(
            session,
            worker,
            row.id,
            "marriage",
            person_id=groom.id,
            spouse=newcomer("孙刚", "male", "1990-01-01"),
        )
    assert pointers(refused.value) == ["/event/spouse"]
    hers, bride = await single(session, "钱多多", Sex.FEMALE)
    await happens(session, worker, hers.id, "death", person_id=bride.id)
    spouse = newcomer(
        "钱多多", born="1995-06-01", document_kind="passport", document_number=bride.document_number
    )
    with pytest.raises(belonging.Deceased):
        await happens(session, worker, row.id, "marriage", person_id=groom.id, spouse=spouse)


async def test_a_divorce_ends_the_couple_and_what_it_had_booked(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    booked = await given.attended(
        session, spouses=home, region_code=EAST, status=AppointmentStatus.BOOKED
    )  # fmt: skip
    await eligibility.settle(session, home.wife_actor, service=booked.service, person_id=home.wife.id)
    event = await happens(
        session, worker, home.household.id, "divorce", person_id=home.wife.id,
        leaves={
            "person_id": home.wife.id, "children": [child.id], "to_region_code": EAST, "address": "东村 9 号",
        },
    )  # fmt: skip
    assert (await fresh(session, home.couple)).valid_to == date(2026, 8, 1)
    assert (await fresh(session, booked.appointment)).status is AppointmentStatus.CANCELLED
    for one in (home.wife, home.husband):
        assert await notices(session, one) == ["appointment_cancelled"]
    assert await relations(session, home.household.id) == {home.husband.id: "head"}
    hers = (await session.scalars(select(Membership).filter_by(person_id=home.wife.id, valid_to=None))).one()
    assert await relations(session, hers.household_id) == {home.wife.id: "head", child.id: "child"}
    live = select(func.count()).select_from(Qualification).where(Qualification.valid_until > clock.now())
    assert await session.scalar(live.where(Qualification.person_id.in_([home.wife.id, home.husband.id]))) == 0
    with pytest.raises(life_events.NotACouple):
        await happens(session, worker, home.household.id, "divorce", person_id=home.husband.id)

    await annulled(session, worker, event)
    assert (await fresh(session, home.couple)).valid_to is None
    assert await relations(session, home.household.id) == {home.husband.id: "head"}, "who lives where stays"


async def test_after_a_divorce_each_keeps_the_joint_reports_and_sees_no_new_ones(
    session: AsyncSession,
) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    joint = await given.attended(session, spouses=home, region_code=EAST)
    before = await post(session, joint, body(joint))
    await happens(session, worker, home.household.id, "divorce", person_id=home.wife.id)
    assert await relations(session, home.household.id) == {home.husband.id: "head", home.wife.id: "other"}
    alone = await given.attended(
        session, spouses=home, region_code=EAST, service_code=given.FERTILITY, in_days=2
    )
    codes = {"wife": [], "husband": []}
    after = await post(session, alone, body(alone, status="preliminary", **codes))
    for actor in (home.wife_actor, home.husband_actor):
        assert (await reading.sheet(session, actor, report_id=before.report_id)).id == before.report_id
    assert (await reading.sheet(session, home.wife_actor, report_id=after.report_id)).id == after.report_id
    with pytest.raises(NotFound):
        await reading.sheet(session, home.husband_actor, report_id=after.report_id)


async def test_a_category_is_gained_once_and_ends(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    gained = {"code": "minimum_income"}
    event = await happens(session, worker, home.household.id, "category_gained", **gained)
    category = await session.get_one(Category, event.id)
    assert (category.household_id, category.evidence) == (home.household.id, "证明原件已查验")
    assert category.verified_by == worker.id
    with pytest.raises(life_events.CategoryHeld):
        await happens(session, worker, home.household.id, "category_gained", **gained)
    ended = {"category_id": category.id}
    with pytest.raises(Invalid):
        await happens(session, worker, home.household.id, "category_ended", "2026-07-01", **ended)
    await happens(session, worker, home.household.id, "category_ended", "2026-08-02", **ended)
    assert (await fresh(session, category)).valid_to == date(2026, 8, 2)
    with pytest.raises(WrongState):
        await happens(session, worker, home.household.id, "category_ended", "2026-08-02", **ended)
    other, _ = await single(session, "赵敏", Sex.FEMALE)
    with pytest.raises(NotFound):
        await happens(session, worker, other.id, "category_ended", **ended)


async def test_an_adopted_child_comes_from_its_household_by_a_move(session: AsyncSession) -> None:
    home, worker = await family(session), await village_worker(session, EAST)
    aunt, _ = await single(session, "李秀梅", Sex.FEMALE)
    child = newcomer()
    await happens(session, worker, aunt.id, "birth", child=child)
    event = await happens(session, worker, home.household.id, "adoption", "2026-08-20", child=child)
    assert event.person_id in await relations(session, home.household.id)
    assert event.person_id not in await relations(session, aunt.id)


async def test_the_couple_says_itself_whether_it_plans_a_pregnancy(session: AsyncSession) -> None:
    home = await family(session)
    couple = await life_events.plan_pregnancy(session, home.husband_actor, plans=False)
    assert (couple.id, couple.plans_pregnancy) == (home.couple.id, False)
    step = (await session.scalars(select(HouseholdEvent).filter_by(kind="plans_changed"))).one()
    assert step.note is None
    await life_events.plan_pregnancy(session, home.wife_actor, plans=False)
    kinds = select(func.count()).select_from(HouseholdEvent).filter_by(kind="plans_changed")
    assert await session.scalar(kinds) == 1, "saying the same again is no step"
    lonely = await given.account(session, (await single(session, "赵敏", Sex.FEMALE))[1])
    with pytest.raises(life_events.NotACouple):
        await life_events.plan_pregnancy(session, lonely, plans=True)


async def test_events_are_listed_with_what_was_annulled(session: AsyncSession) -> None:
    home, child, worker = await a_widow_s_house(session)
    death = await happens(
        session, worker, home.household.id, "death", person_id=home.husband.id, head_id=child.id
    )  # fmt: skip
    undone = await annulled(session, worker, death)
    rows = await life_events.listing(session, worker, household_id=home.household.id, before=None, limit=10)
    assert [(row.id, row.annulled_by) for row in rows] == [(undone.id, None), (death.id, undone.id)]
    last = rows[0]
    page = await life_events.listing(
        session, worker, household_id=home.household.id, before=last.id, limit=10
    )
    assert [row.id for row in page] == [death.id]
    assert await session.scalar(select(func.count()).select_from(LifeEvent)) == 2
