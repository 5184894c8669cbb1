"""Merging two people and undoing it changes nothing, whatever the two have; a refused merge changes nothing either."""

import uuid
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentStatus
from app.models.consents import Consent, ConsentNotice
from app.models.households import Category, CategoryDefinition, Couple, Household, Membership, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.models.rosters import RosterKind, RosterMember
from app.services.duplicates import merging, merging_households, references, undoing
from app.services.duplicates.obstacles import MergeBlocked
from app.services.households import family_types
from app.services.idempotency import Key
from tests.factories import appointments as made
from tests.factories.results import NORMAL_WIFE, body, post, with_value
from tests.factories.tables import difference, everything
from tests.factories.twins import TOWN, home

#: What only grows, or is settled anew.
TRACES = frozenset({"household_event", "audit_event", "merge", "idempotency_key", "qualification"})
ONE = st.fixed_dictionaries(
    {
        "home": st.sampled_from(["none", "alone", "head", "member", "shared"]),
        "spouse": st.sampled_from([None, "王建军", "王健军", "赵大伟", "ended"]),
        "consents": st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans()), max_size=3),
        "categories": st.sets(st.integers(0, 2), max_size=2),
        "bound": st.booleans(),
        "appointments": st.lists(st.sampled_from(["booked", "fulfilled", "cancelled"]), max_size=2),
        "report": st.booleans(),
        "merged_before": st.booleans(),
        "on_roster": st.booleans(),
    }
)


async def two(session: AsyncSession, *pair: dict[str, Any]) -> list[Person]:
    """Two people who have all that."""
    people, shared = [], []
    for has in pair:
        person = await reported(session) if has["report"] else made.person("李秀英", Sex.FEMALE)
        people.append(person)
        if not has["report"]:
            person.region_code = None
            session.add(person)
            await session.flush()
            shared += [person] if has["home"] == "shared" else []
            await lodge(session, person, has["home"])
    if shared:
        await home(session, *shared, made.person("王大明", Sex.MALE))
    for person, has in zip(people, pair, strict=True):
        await furnish(session, person, has)
    return people


async def reported(session: AsyncSession) -> Person:
    """A wife with husband, household, account, consents, an appointment, a report and follow-ups."""
    attended = await made.attended(session)
    await post(session, attended, body(attended, wife=with_value(NORMAL_WIFE, "hbsag", "positive")))
    return attended.spouses.wife


async def lodge(session: AsyncSession, person: Person, where: str) -> None:
    others = [made.person("王小明", Sex.MALE), made.person("王小红", Sex.FEMALE)]
    places = {"alone": [person], "head": [person, *others], "member": [*others, person]}
    if where in places:
        await home(session, *places[where])


async def furnish(session: AsyncSession, person: Person, has: dict[str, Any]) -> None:
    if not has["report"]:
        await marry(session, person, has["spouse"])
        await agree(session, person, has["consents"])
        if has["bound"]:
            await made.account(session, person)
    worker = (await made.worker(session)).id
    definitions = select(CategoryDefinition.code).filter_by(holder="person").order_by(CategoryDefinition.code)
    codes = list(await session.scalars(definitions))
    for number in has["categories"]:
        held = Category(id=new_id(), code=codes[number], person_id=person.id, valid_from=date(2020, 1, 1))
        held.evidence, held.verified_by = "证书", worker
        session.add(held)
    for number, status in enumerate(has["appointments"]):
        await appointment(session, person, AppointmentStatus(status), number)
    if has["on_roster"]:
        session.add(roster(person))
    if has["merged_before"]:
        twin = made.person("李秀英", Sex.FEMALE)
        twin.region_code, twin.merged_into = None, person.id
        session.add(twin)
    await session.flush()


async def agree(session: AsyncSession, person: Person, consents: list[tuple[int, int, bool]]) -> None:
    """To the notices by number, so many days ago; one live consent to each at most."""
    notices = list(await session.scalars(select(ConsentNotice.id).order_by(ConsentNotice.id)))
    live: set[int] = set()
    for notice, ago, withdrawn in consents:
        if not withdrawn and notice in live:
            continue
        given_at = clock.now() - timedelta(days=10 + ago)
        row = Consent(id=new_id(), person_id=person.id, notice_id=notices[notice], given_at=given_at)
        if withdrawn:
            row.withdrawn_at = given_at + timedelta(days=ago)
        else:
            live.add(notice)
        session.add(row)


def roster(person: Person) -> RosterMember:
    row = RosterMember(
        id=new_id(), kind=RosterKind.VOLUNTEER, region_code=TOWN, name=person.name, person_id=person.id,
        joined_on=date(2020, 1, 1), created_at=clock.now(),
    )  # fmt: skip
    row.phone = "13900000000"
    return row


async def marry(session: AsyncSession, person: Person, spouse: str | None) -> None:
    if spouse is None:
        return
    husband = made.person("王建军" if spouse == "ended" else spouse, Sex.MALE)
    session.add_all([person, husband])
    await session.flush()
    row = Couple(id=new_id(), wife_id=person.id, husband_id=husband.id, plans_pregnancy=True)
    row.valid_from, row.valid_to = date(2015, 1, 1), date(2018, 1, 1) if spouse == "ended" else None
    session.add(row)
    await session.flush()


async def appointment(session: AsyncSession, person: Person, status: AppointmentStatus, number: int) -> None:
    """Each in a cycle and on a day of its own: nobody is in two places at one time."""
    service, hospital = await made.service(session, made.FERTILITY), await made.clinic(session)
    starts_at = clock.now() + timedelta(days=7 + number)
    place = await made.slot(session, place=hospital.clinic, service=service, starts_at=starts_at)
    account = ResidentAccount(id=new_id(), openid=uuid.uuid4().hex, created_at=clock.now())
    session.add(account)
    await session.flush()
    session.add(
        Appointment(
            id=new_id(), slot_id=place.id, clinic_id=place.clinic_id, service_id=service.id, subject_id=person.id,
            person_id=person.id, account_id=account.id, region_code=TOWN, cycle=str(2026 - number), status=status,
            code=uuid.uuid4().hex[:10], starts_at=place.starts_at, ends_at=place.ends_at, created_at=clock.now(),
        )
    )  # fmt: skip


EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # each example builds families: shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(ONE, ONE)
@settings(EXAMPLES, max_examples=15)
async def test_merge_then_undo_is_the_identity(
    session: AsyncSession, kept: dict[str, Any], lost: dict[str, Any]
) -> None:
    """The database as the tables have it, sealed values byte for byte; only versions have gone up."""
    first, second = await two(session, kept, lost)
    actor = Actor(Role.SYSTEM, id=(await made.worker(session)).id)  # sees also who belongs nowhere
    await family_types.settle(session, list(await session.scalars(select(Household.id))))
    before = await everything(session, but=TRACES)
    key = Key(new_id(), b"merge")
    try:
        async with session.begin_nested():
            await merging.people(
                session, actor, key=key, kept_id=first.id, lost_id=second.id, reason="同一人"
            )
    except MergeBlocked:
        assert difference(before, await everything(session, but=TRACES)) == {}
        session.expunge_all()
        return
    await merged(session, first.id, second.id)
    await undoing.undo(session, actor, id=key.id, reason="不是同一人")
    assert difference(before, await everything(session, but=TRACES)) == {}


async def merged(session: AsyncSession, kept: uuid.UUID, lost: uuid.UUID) -> None:
    """One person, whom everything leads to, counted once, where the one membership is."""
    row = select(Person.merged_into, Person.region_code).where(Person.id == lost)
    assert tuple((await session.execute(row)).one()) == (kept, None)
    for place, name in references.moved("person"):
        if place.name != "person":
            left = select(func.count()).select_from(place).where(place.c[name] == lost)
            assert await session.scalar(left) == 0, f"{place.name}.{name}"
    for model, column in ((Membership, Membership.person_id), (Couple, Couple.wife_id)):
        active = select(func.count()).select_from(model).where(column == kept, model.valid_to.is_(None))
        assert (await session.scalar(active) or 0) <= 1
    home = select(Household.region_code).join(Membership, Membership.household_id == Household.id)
    lives = home.where(Membership.person_id == kept, Membership.valid_to.is_(None))
    counted = select(Person.region_code).where(Person.id == kept)
    assert await session.scalar(counted) == await session.scalar(lives)


@given(
    st.lists(st.sampled_from(["head", "alone", "member"]), min_size=2, max_size=2), st.sets(st.integers(0, 2))
)
@EXAMPLES
async def test_merging_two_households_and_undoing_it_is_the_identity(
    session: AsyncSession, sizes: list[str], both_hold: set[int]
) -> None:
    rows = []
    actor = await made.worker(session)
    definitions = (
        select(CategoryDefinition.code).filter_by(holder="household").order_by(CategoryDefinition.code)
    )
    codes = list(await session.scalars(definitions))
    for size in sizes:
        people = [
            made.person(name, Sex.MALE) for name in ("甲甲", "乙乙", "丙丙")[: 1 if size == "alone" else 3]
        ]
        rows.append(await home(session, *people))
        for number in both_hold & set(range(len(codes))):
            held = Category(
                id=new_id(), code=codes[number], household_id=rows[-1].id, valid_from=date(2020, 1, 1)
            )
            held.evidence, held.verified_by = "证书", actor.id
            session.add(held)
    await family_types.settle(session, [row.id for row in rows])
    before = await everything(session, but=TRACES)
    key = Key(new_id(), b"merge")
    await merging_households.households(
        session, actor, key=key, kept_id=rows[0].id, lost_id=rows[1].id, reason="同一户"
    )
    assert difference(before, await everything(session, but=TRACES)) != {}
    await undoing.undo(session, actor, id=key.id, reason="两户")
    assert difference(before, await everything(session, but=TRACES)) == {}
