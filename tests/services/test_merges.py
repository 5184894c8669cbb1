"""Two people, or two households, become one, and two again."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import Base, new_id
from app.errors import NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus, Qualification
from app.models.catalogue import AppliesTo
from app.models.consents import Consent, ConsentNotice
from app.models.corrections import Correction
from app.models.duplicates import Merge
from app.models.follow_ups import FollowUp
from app.models.households import (
    Category,
    CategoryDefinition,
    Couple,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.identity import ResidentAccount, Role
from app.models.moves import Move, MoveSide, MoveStatus
from app.models.results import DiagnosticReport
from app.services import audit, eligibility, identity
from app.services.documents import Document
from app.services.duplicates import merging, merging_households, obstacles, references, undoing
from app.services.duplicates.obstacles import MergeBlocked
from app.services.duplicates.undoing import MergeBuiltUpon
from app.services.households import belonging, family_types, history
from app.services.idempotency import Key
from app.services.results import reading as results
from app.services.rights.held import HELD, About
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value
from tests.factories.tables import difference, everything
from tests.factories.twins import TOWN, home

#: What a merge writes to and never takes back.
TRACES = frozenset(
    {"household_event", "audit_event", "merge", "idempotency_key", "qualification", "handbook_detail"}
)
REFERENCES = ("person_id", "spouse_id", "wife_id", "husband_id", "subject_id", "guardian_id", "household_id")


# Nothing is forgotten: what a new table refers to moves by itself, or says why not


def test_every_column_that_names_a_person_or_a_household_moves_or_says_why_not() -> None:
    kinds = {"household": references.HOUSEHOLD_STAYS, "person": references.PERSON_STAYS}
    moved = {f"{place.name}.{name}" for kind in kinds for place, name in references.moved(kind)}
    named = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith(REFERENCES)
        or any(key.column.table.name in kinds for key in column.foreign_keys)
    }
    stays = set(references.PERSON_STAYS) | set(references.HOUSEHOLD_STAYS)
    assert named - moved - stays == set(), "add a foreign key, or a reason to references.PERSON_STAYS"
    assert stays - named == set(), "no such column any more"
    assert set(references.KEYS) <= moved


def test_what_moves_is_found_by_an_index_and_no_part_of_a_key() -> None:
    for kind in ("person", "household"):
        for table, name in references.moved(kind):
            whole = [
                index
                for index in table.indexes
                if index.columns.keys()[:1] == [name]
                and str(index.dialect_options["postgresql"]["where"]) in {"None", f"{name} IS NOT NULL"}
            ]
            unique = [
                one
                for one in table.constraints
                if getattr(one, "columns", None) and one.columns.keys()[:1] == [name]
            ]
            assert whole or [one for one in unique if type(one).__name__ == "UniqueConstraint"], (
                f"{table.name}.{name}"
            )
            assert name not in table.primary_key.columns


def test_what_keeps_a_former_id_is_in_the_copy_under_every_id() -> None:
    kept, lost = new_id(), new_id()
    for one in HELD:
        if f"{one.model.__tablename__}.person_id" in references.PERSON_STAYS:
            found = one.of(About(kept, [kept, lost], [], [], []))
            assert lost.hex in str(found.compile(compile_kwargs={"literal_binds": True})), one.en


# People


@dataclass
class Pair:
    """A wife registered twice, in two households."""

    kept: Person
    lost: Person
    county: Actor

    async def merge(self, session: AsyncSession, **changes: Any) -> Merge:
        return await merging.people(
            session, self.county, key=Key(new_id(), b"merge"), kept_id=self.kept.id, lost_id=self.lost.id,
            reason="同一人", **changes,
        )  # fmt: skip


async def a_pair(session: AsyncSession, name: str = "李秀英") -> Pair:
    """Each the second member of a household."""
    people = [given.person(name, Sex.FEMALE) for _ in range(2)]
    for one in people:
        await home(session, given.person("马建国", Sex.MALE), one)
    return Pair(people[0], people[1], await given.worker(session))


async def ids(session: AsyncSession, column: Any, **equals: Any) -> set[uuid.UUID | None]:
    return set(await session.scalars(select(column).filter_by(**equals)))


async def blocked(session: AsyncSession, pair: Pair) -> set[str]:
    """What has to be settled first. Nothing is changed by asking."""
    before = await everything(session)
    with pytest.raises(MergeBlocked) as refused:
        async with session.begin_nested():
            await pair.merge(session)
    assert difference(before, await everything(session)) == {}
    for one in (pair.kept, pair.lost):
        await session.refresh(one)
    return {one["code"] for one in refused.value.extensions["settle"]}


async def test_all_that_the_other_has_moves_to_the_one_who_is_kept(session: AsyncSession) -> None:
    attended = await given.attended(session)
    lost, husband = attended.spouses.wife, attended.spouses.husband
    finding = with_value(NORMAL_WIFE, "hbsag", "positive")
    posted = body(attended, wife=finding)
    accepted = await post(session, attended, posted)
    kept = given.person("李秀英", Sex.FEMALE)
    session.add(kept)
    kept.region_code = TOWN
    await session.flush()
    pair = Pair(kept, lost, await given.worker(session))
    await pair.merge(session)
    assert await ids(session, Appointment.person_id) == {kept.id}
    assert await ids(session, DiagnosticReport.person_id) == {kept.id}
    assert lost.id not in await ids(session, FollowUp.person_id)
    assert await ids(session, Couple.wife_id, husband_id=husband.id) == {kept.id}
    assert lost.id not in await ids(session, Consent.person_id)
    assert kept.id in await ids(session, Membership.person_id)
    assert await ids(session, ResidentAccount.person_id) >= {kept.id}
    assert (lost.merged_into, lost.region_code, kept.region_code) == (kept.id, None, TOWN)
    # Her account reads the report as before, though its values stay with the id under which they were measured.
    sheet = await results.sheet(session, attended.wife, report_id=accepted.report_id)
    assert {line.role for line in sheet.observations} == {AppliesTo.WIFE, AppliesTo.HUSBAND}
    # An amended version is read beside the first, and what it calls for is hers.
    await session.refresh(attended.appointment)
    await post(session, attended, posted | {"version": 2, "status": "amended", "wife": NORMAL_WIFE})
    sheet = await results.sheet(session, attended.wife, report_id=accepted.report_id)
    assert {line.role for line in sheet.observations} == {AppliesTo.WIFE, AppliesTo.HUSBAND}
    assert lost.id not in await ids(session, FollowUp.person_id)


async def test_what_was_asked_for_the_other_is_decided_where_the_kept_one_is(session: AsyncSession) -> None:
    pair, next_town = await a_pair(session), "640104002000"
    elsewhere = await session.scalar(
        select(Household).join(Membership).where(Membership.person_id == pair.lost.id)
    )
    elsewhere.region_code = pair.lost.region_code = next_town
    asked = Correction(
        id=new_id(), person_id=pair.lost.id, region_code=next_town, field="name", status="open",
        requester_role=Role.VILLAGE_WORKER, requested_by=pair.county.account_id, requested_at=clock.now(),
    )  # fmt: skip
    session.add(asked)
    await session.flush()
    before = await everything(session, but=TRACES)
    merge = await pair.merge(session)
    await session.refresh(asked)
    assert (asked.person_id, asked.region_code) == (pair.kept.id, TOWN)
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    changed = difference(before, await everything(session, but=TRACES))
    assert "correction" not in changed, changed


async def test_two_memberships_become_one_and_the_other_is_history(session: AsyncSession) -> None:
    pair = await a_pair(session)
    await pair.merge(session)
    rows = {
        row.valid_to: row
        for row in await session.scalars(
            select(Membership).filter_by(person_id=pair.kept.id).execution_options(populate_existing=True)
        )
    }
    assert set(rows) == {None, clock.today()}
    assert rows[None].household_id != rows[clock.today()].household_id
    assert pair.kept.region_code == TOWN


async def test_the_head_of_others_stays_until_the_households_are_one(session: AsyncSession) -> None:
    kept, lost = (given.person("李秀英", Sex.FEMALE) for _ in range(2))
    first = await home(session, kept)
    second = await home(session, lost, given.person("李小明", Sex.MALE))
    pair = Pair(kept, lost, await given.worker(session))
    assert await blocked(session, pair) == {"head"}
    await merging_households.households(
        session, pair.county, key=Key(new_id(), b"h"), kept_id=first.id, lost_id=second.id, reason="同一户"
    )
    await pair.merge(session)
    assert len(await belonging.members(session, first)) == 2


async def test_a_head_recorded_twice_in_one_household_heads_it_still(session: AsyncSession) -> None:
    kept, lost = (given.person("李秀英", Sex.FEMALE) for _ in range(2))
    row = await home(session, lost, kept)
    pair = Pair(kept, lost, await given.worker(session))
    merge = await pair.merge(session)
    relation = select(Membership.relation).filter_by(person_id=kept.id, valid_to=None)
    assert await session.scalar(relation) is Relation.HEAD
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert await session.scalar(relation) is Relation.OTHER
    assert row.status is HouseholdStatus.ACTIVE


async def test_a_household_in_which_nobody_is_left_is_closed(session: AsyncSession) -> None:
    kept, lost = (given.person("李秀英", Sex.FEMALE) for _ in range(2))
    rows = [await home(session, one) for one in (kept, lost)]
    pair = Pair(kept, lost, await given.worker(session))
    merge = await pair.merge(session)
    assert [row.status for row in rows] == [HouseholdStatus.ACTIVE, HouseholdStatus.CLOSED]
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert [row.status for row in rows] == [HouseholdStatus.ACTIVE, HouseholdStatus.ACTIVE]


async def test_one_marriage_recorded_twice_is_one_and_counts_once(session: AsyncSession) -> None:
    """Her and him twice: whichever is merged first, the couple's appointments stay its own."""
    done = await given.attended(session, status=AppointmentStatus.FULFILLED)
    twice = await given.couple(session)
    await session.execute(
        update(ResidentAccount)
        .where(ResidentAccount.person_id.in_([twice.wife.id, twice.husband.id]))
        .values(person_id=None)
    )
    county = await given.worker(session)
    first = await merging_households.households(
        session, county, key=Key(new_id(), b"h"), kept_id=twice.household.id, lost_id=done.spouses.household.id,
        reason="同一户",
    )  # fmt: skip
    for kept, lost in ((twice.wife, done.spouses.wife), (twice.husband, done.spouses.husband)):
        await Pair(kept, lost, county).merge(session)
    couples = list(await session.scalars(select(Couple).execution_options(populate_existing=True)))
    assert {(row.wife_id, row.husband_id) for row in couples} == {(twice.wife.id, twice.husband.id)}
    [active] = [row for row in couples if row.valid_to is None]
    assert await ids(session, Appointment.subject_id) == {active.id}
    with pytest.raises(MergeBuiltUpon):
        await undoing.undo(session, county, id=first.id, reason="顺序不对")


async def test_two_spouses_who_are_two_people_are_settled_first(session: AsyncSession) -> None:
    pair = await a_pair(session)
    for wife, name in ((pair.kept, "王建军"), (pair.lost, "赵大伟")):
        husband = given.person(name, Sex.MALE)
        session.add(husband)
        await session.flush()
        session.add(
            Couple(
                id=new_id(),
                wife_id=wife.id,
                husband_id=husband.id,
                plans_pregnancy=False,
                valid_from=date(2020, 1, 1),
            )
        )
    await session.flush()
    assert await blocked(session, pair) == {"marriage"}


async def test_a_category_of_two_grades_is_settled_first(session: AsyncSession) -> None:
    pair = await a_pair(session)
    code = await session.scalar(select(CategoryDefinition.code).filter_by(holder="person").limit(1))
    for one, grade in ((pair.kept, 3), (pair.lost, 1)):
        row = Category(id=new_id(), code=code, person_id=one.id, valid_from=date(2020, 1, 1), grade=grade)
        row.evidence, row.verified_by = "证书", pair.county.id
        session.add(row)
    await session.flush()
    assert await blocked(session, pair) == {"grade"}


async def test_parent_and_child_of_one_household_are_two_people(session: AsyncSession) -> None:
    pair = await a_pair(session)
    mother, child = given.person("李秀英", Sex.FEMALE), given.person("赵小妹", Sex.FEMALE)
    await home(session, mother, child)
    await session.execute(
        update(Membership).where(Membership.person_id == child.id).values(relation=Relation.CHILD)
    )
    assert await blocked(session, Pair(mother, child, pair.county)) == {"generation"}


async def test_who_agrees_in_nothing_is_somebody_else(session: AsyncSession) -> None:
    pair = await a_pair(session)
    pair.lost.name, pair.lost.birth_date = "赵小妹", date(1960, 1, 1)
    await session.flush()
    assert await blocked(session, pair) == {"strangers"}


async def test_what_only_the_other_says_of_itself_is_kept_and_undone(session: AsyncSession) -> None:
    pair = await a_pair(session)
    identity.set_phone(pair.lost, "13900000001")
    pair.lost.resident_since = date(2020, 1, 1)
    pair.kept.hukou_region_code = pair.kept.resident_since = None
    await session.flush()
    merge = await pair.merge(session)
    assert (pair.kept.phone, pair.kept.phone_index) == ("13900000001", identity.phone_index("13900000001"))
    assert (pair.kept.hukou_region_code, pair.kept.resident_since) == (TOWN, date(2020, 1, 1))
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    await session.refresh(pair.kept)
    own = pair.kept.phone, pair.kept.phone_index, pair.kept.hukou_region_code, pair.kept.resident_since
    assert own == (None, None, None, None)


async def test_a_phone_given_since_stays(session: AsyncSession) -> None:
    pair = await a_pair(session)
    identity.set_phone(pair.lost, "13900000001")
    await session.flush()
    merge = await pair.merge(session)
    await identity.put_phone(session, pair.county, pair.kept, "13900000002", purpose="本人更正")
    await session.flush()
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    await session.refresh(pair.kept)
    assert (pair.kept.phone, pair.lost.phone) == ("13900000002", "13900000001")


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("sex", {"sex": Sex.MALE}),
        ("death", {"died_on": date(2026, 1, 1)}),
        ("erasure", {"restricted_at": clock.now()}),
        ("erasure", {"erased_at": clock.now()}),
    ],
)
async def test_what_has_to_be_settled_first_is_named(
    session: AsyncSession, code: str, change: dict[str, Any]
) -> None:
    pair = await a_pair(session)
    for name, value in change.items():
        setattr(pair.lost, name, value)
    await session.flush()
    pair.county = await given.worker(session, role=Role.COUNTY_ADMINISTRATOR)  # sees who is to be erased
    assert await blocked(session, pair) == {code}


async def test_two_bound_accounts_are_settled_first_and_one_moves(session: AsyncSession) -> None:
    pair = await a_pair(session)
    actors = [await given.account(session, one) for one in (pair.kept, pair.lost)]
    assert await blocked(session, pair) == {"accounts"}
    await identity.release(session, pair.county, pair.kept)
    await pair.merge(session)
    assert await identity.own_id(session, actors[1]) == pair.kept.id


async def an_appointment(
    session: AsyncSession, person: Person, status: AppointmentStatus, cycle: str = "2026"
) -> Appointment:
    """Of one person alone, this year."""
    service, hospital = await given.service(session, given.FERTILITY), await given.clinic(session)
    place = await given.slot(session, place=hospital.clinic, service=service)
    account = ResidentAccount(id=new_id(), openid=uuid.uuid4().hex, created_at=clock.now())
    session.add(account)
    await session.flush()
    row = Appointment(
        id=new_id(), slot_id=place.id, clinic_id=place.clinic_id, service_id=service.id, subject_id=person.id,
        person_id=person.id, account_id=account.id, region_code=TOWN, cycle=cycle,
        code=uuid.uuid4().hex[:10], starts_at=place.starts_at, ends_at=place.ends_at, status=status,
        created_at=clock.now(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row


async def test_who_would_be_in_two_places_is_settled_first_and_by_name(session: AsyncSession) -> None:
    pair = await a_pair(session)
    one = await an_appointment(session, pair.kept, AppointmentStatus.BOOKED)
    other = await an_appointment(session, pair.lost, AppointmentStatus.BOOKED, cycle="2025")
    await an_appointment(session, pair.lost, AppointmentStatus.CANCELLED, cycle="2024")
    assert one.starts_at < other.starts_at < one.ends_at
    assert await blocked(session, pair) == {"overlap"}
    with pytest.raises(MergeBlocked) as refused:
        async with session.begin_nested():
            await pair.merge(session)
    assert refused.value.extensions["appointments"] == sorted([str(one.id), str(other.id)])
    await session.execute(
        update(Appointment).where(Appointment.id == other.id).values(
            starts_at=one.ends_at, ends_at=one.ends_at + timedelta(hours=1)
        )
    )  # fmt: skip
    await pair.merge(session)
    assert await ids(session, Appointment.person_id) == {pair.kept.id}


async def test_the_database_lets_no_merge_put_somebody_in_two_places(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An appointment is moved to that time just after the look."""
    pair = await a_pair(session)
    for person, cycle in ((pair.kept, "2026"), (pair.lost, "2025")):
        await an_appointment(session, person, AppointmentStatus.BOOKED, cycle=cycle)

    async def nothing_seen(*_: Any) -> list[uuid.UUID]:
        return []

    monkeypatch.setattr(obstacles, "overlapping", nothing_seen)
    assert await blocked(session, pair) == {"overlap"}


async def test_the_same_service_twice_in_a_cycle_is_settled_first(session: AsyncSession) -> None:
    pair = await a_pair(session)
    await an_appointment(session, pair.kept, AppointmentStatus.FULFILLED)
    twin = await an_appointment(session, pair.lost, AppointmentStatus.BOOKED)
    assert await blocked(session, pair) == {"appointments"}
    twin = await session.get_one(Appointment, twin.id, populate_existing=True)
    twin.status = AppointmentStatus.CANCELLED
    await session.flush()
    await pair.merge(session)
    assert await ids(session, Appointment.subject_id) == {pair.kept.id}


async def test_two_that_took_place_stay_beside_each_other(session: AsyncSession) -> None:
    pair = await a_pair(session)
    for one in (pair.kept, pair.lost):
        await an_appointment(session, one, AppointmentStatus.FULFILLED)
    await pair.merge(session)
    assert await ids(session, Appointment.person_id) == {pair.kept.id}
    assert await ids(session, Appointment.subject_id) == {pair.kept.id, pair.lost.id}


async def test_the_latest_word_on_a_notice_counts(session: AsyncSession) -> None:
    """A consent given before the other record withdrew does not come back to life."""
    pair = await a_pair(session)
    notices = list(await session.scalars(select(ConsentNotice.id).where(ConsentNotice.retired_at.is_(None))))
    day = clock.now() - timedelta(days=10)
    rows = [
        Consent(id=new_id(), person_id=pair.kept.id, notice_id=notices[0], given_at=day),
        Consent(id=new_id(), person_id=pair.lost.id, notice_id=notices[0], given_at=day + timedelta(days=1)),
        Consent(id=new_id(), person_id=pair.lost.id, notice_id=notices[1], given_at=day),
        Consent(
            id=new_id(), person_id=pair.kept.id, notice_id=notices[1], given_at=day - timedelta(days=1),
            withdrawn_at=day + timedelta(days=2),
        ),
    ]  # fmt: skip
    session.add_all(rows)
    await session.flush()
    merge = await pair.merge(session)
    for row in rows:
        await session.refresh(row)
    assert [row.withdrawn_at is None for row in rows] == [False, True, False, False]
    assert {row.person_id for row in rows} == {pair.kept.id}
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    for row in rows:
        await session.refresh(row)
    assert [row.withdrawn_at is None for row in rows] == [True, True, True, False]


async def test_a_category_held_twice_is_held_once(session: AsyncSession) -> None:
    pair = await a_pair(session)
    code = await session.scalar(select(CategoryDefinition.code).filter_by(holder="person").limit(1))
    for one in (pair.kept, pair.lost):
        row = Category(
            id=new_id(), code=code, person_id=one.id, valid_from=date(2020, 1, 1), verified_by=pair.county.id
        )
        row.evidence = "证书"
        session.add(row)
    await session.flush()
    await pair.merge(session)
    held = list(
        await session.scalars(
            select(Category).filter_by(person_id=pair.kept.id).execution_options(populate_existing=True)
        )
    )
    assert [row.valid_to for row in sorted(held, key=lambda row: row.valid_to is None)] == [
        clock.today(),
        None,
    ]
    assert [row.evidence for row in held] == ["证书", "证书"]


async def test_what_was_settled_for_either_is_settled_anew(session: AsyncSession) -> None:
    spouses = await given.couple(session)
    service = await given.service(session)
    await eligibility.settle(session, spouses.wife_actor, service=service, person_id=spouses.wife.id)
    twin = given.person("李秀英", Sex.FEMALE)
    await home(session, given.person("马建国", Sex.MALE), twin)
    merge = await Pair(twin, spouses.wife, await given.worker(session)).merge(session)
    live = select(func.count()).select_from(Qualification).where(Qualification.valid_until > clock.now())
    assert await session.scalar(live) == 0
    settled = await eligibility.settle(session, spouses.wife_actor, service=service, person_id=twin.id)
    assert settled is not None
    assert merge.lost_person_id == spouses.wife.id


async def test_the_document_of_the_other_leads_to_the_one_who_is_kept(session: AsyncSession) -> None:
    pair = await a_pair(session)
    written = Document(pair.lost.document_kind, pair.lost.document_number, None, None)
    await pair.merge(session)
    known, new = await identity.register_person(
        session, name="李秀英", document=written, birth_date=pair.lost.birth_date, sex=Sex.FEMALE
    )
    assert (known.id, new) == (pair.kept.id, False)
    searched = select(Person.id).where(identity.bears(written))
    assert await session.scalar(searched) == pair.kept.id


async def test_merging_again_leads_in_one_step_and_is_undone_in_order(session: AsyncSession) -> None:
    pair = await a_pair(session)
    third = given.person("李秀英", Sex.FEMALE)
    await home(session, given.person("马建国", Sex.MALE), third)
    first = await pair.merge(session)
    second = await Pair(third, pair.kept, pair.county).merge(session)
    for one in (pair.kept, pair.lost):
        await session.refresh(one)
        assert one.merged_into == third.id
    with pytest.raises(NotFound):  # the one who was kept is nobody's any more
        await undoing.undo(session, pair.county, id=first.id, reason="顺序不对")
    await undoing.undo(session, pair.county, id=second.id, reason="先后")
    await undoing.undo(session, pair.county, id=first.id, reason="先后")
    for one in (pair.kept, pair.lost):
        await session.refresh(one)
        assert (one.merged_into, one.region_code) == (None, TOWN)


async def test_who_looked_reads_both_files(session: AsyncSession) -> None:
    pair = await a_pair(session)
    actor = await given.account(session, pair.kept)
    await audit.record(session, pair.county, "read_unmasked", "person", pair.lost.id, people=[pair.lost.id])
    await pair.merge(session)
    told = await audit.own_file(session, actor, before=None, limit=20)
    assert {"read_unmasked", "merge"} <= {event["action"] for event in told}
    auditor = await given.worker(session, "640100000000", Role.AUDITOR)
    for one in (pair.kept, pair.lost):
        events = await audit.trail(session, auditor, person_id=one.id, actor_id=None, before=None, limit=20)
        assert {event.person_id for event in events} == {pair.kept.id, pair.lost.id}


async def test_only_who_sees_both_merges(session: AsyncSession) -> None:
    pair = await a_pair(session)
    pair.lost.region_code = "640105001000"
    await session.flush()
    with pytest.raises(NotFound):
        await pair.merge(session)
    merged = await a_pair(session, "钱芳")
    await merged.merge(session)
    with pytest.raises(NotFound):  # the other is nobody's any more
        await merged.merge(session)


# Undoing


async def test_undoing_twice_is_refused(session: AsyncSession) -> None:
    pair = await a_pair(session)
    merge = await pair.merge(session)
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert (merge.undone_by, merge.undo_reason) == (pair.county.id, "弄错了")
    with pytest.raises(WrongState):
        await undoing.undo(session, pair.county, id=merge.id, reason="再来")


async def test_what_was_changed_since_is_named_and_nothing_is_undone(session: AsyncSession) -> None:
    pair = await a_pair(session)
    actor = await given.account(session, pair.lost)
    merge = await pair.merge(session)
    await identity.release(session, pair.county, pair.kept)
    before = await everything(session)
    with pytest.raises(MergeBuiltUpon) as refused:
        await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert refused.value.extensions["changed"] == [
        {"table": "resident_account", "id": str(actor.id), "column": "person_id"}
    ]
    assert difference(before, await everything(session)) == {}


async def test_what_came_to_the_kept_one_since_stays_there(session: AsyncSession) -> None:
    pair = await a_pair(session)
    merge = await pair.merge(session)
    row = await an_appointment(session, pair.kept, AppointmentStatus.BOOKED)
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert await ids(session, Appointment.person_id, id=row.id) == {pair.kept.id}


async def test_undone_people_are_counted_where_their_household_is_by_then(session: AsyncSession) -> None:
    pair = await a_pair(session)
    left = await belonging.home_of(session, pair.lost.id)
    merge = await pair.merge(session)
    await session.execute(update(Household).where(Household.id == left).values(region_code="640104002000"))
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    await session.refresh(pair.lost)
    assert pair.lost.region_code == "640104002000"


async def test_versions_only_go_up(session: AsyncSession) -> None:
    pair = await a_pair(session)
    seen = [(pair.kept.version, pair.lost.version)]
    merge = await pair.merge(session)
    seen.append((pair.kept.version, pair.lost.version))
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    for one in (pair.kept, pair.lost):
        await session.refresh(one)
    seen.append((pair.kept.version, pair.lost.version))
    assert seen == [(1, 1), (2, 2), (3, 3)]


async def test_what_came_to_the_other_while_the_merge_waited_follows_and_is_undone_too(
    session: AsyncSession,
) -> None:
    pair = await a_pair(session)
    merge = await pair.merge(session)
    late = await an_appointment(session, pair.lost, AppointmentStatus.BOOKED)
    await session.commit()
    assert await undoing.sweep() == 2  # whose it is, and for whom
    assert await ids(session, Appointment.person_id, id=late.id) == {pair.kept.id}
    assert await undoing.sweep() == 0
    await session.refresh(merge)
    await undoing.undo(session, pair.county, id=merge.id, reason="弄错了")
    assert await ids(session, Appointment.person_id, id=late.id) == {pair.lost.id}


# Households


async def two_households(session: AsyncSession) -> tuple[Household, Household, Actor]:
    kept = await home(session, given.person("王建军", Sex.MALE), given.person("李秀英", Sex.FEMALE))
    lost = await home(session, given.person("王大山", Sex.MALE), given.person("王小明", Sex.MALE))
    return kept, lost, await given.worker(session)


async def merges_told(session: AsyncSession, actor: Actor, row: Household) -> int:
    """In its handbook: each of the two has a step of its own about that."""
    steps = await history.read(
        session, actor, id=row.id, after=None, limit=100, purpose="registry_upkeep"
    )  # fmt: skip
    return [step.kind for step in steps].count("household_merged")


async def unite(session: AsyncSession, actor: Actor, kept: Household, lost: Household) -> Merge:
    return await merging_households.households(
        session, actor, key=Key(new_id(), b"h"), kept_id=kept.id, lost_id=lost.id, reason="同一户"
    )


async def test_members_of_two_households_are_one_with_one_head_and_both_handbooks(
    session: AsyncSession,
) -> None:
    kept, lost, county = await two_households(session)
    code = await session.scalar(select(CategoryDefinition.code).filter_by(holder="household").limit(1))
    for row in (kept, lost):
        held = Category(
            id=new_id(), code=code, household_id=row.id, valid_from=date(2020, 1, 1), verified_by=county.id
        )
        held.evidence = "低保证"
        session.add(held)
    await session.flush()
    await family_types.settle(session, [kept.id, lost.id])
    before = await everything(session, but=TRACES)
    merge = await unite(session, county, kept, lost)
    members = await belonging.members(session, kept)
    relations = [membership.relation for _, membership in members.values()]
    assert (len(members), relations.count(Relation.HEAD)) == (4, 1)
    assert (lost.status, lost.merged_into) == (HouseholdStatus.CLOSED, kept.id)
    active = select(func.count()).select_from(Category).filter_by(household_id=kept.id, valid_to=None)
    assert await session.scalar(active) == 1
    assert await merges_told(session, county, kept) == 2
    await undoing.undo(session, county, id=merge.id, reason="是两户")
    assert difference(before, await everything(session, but=TRACES)) == {}
    assert await merges_told(session, county, kept) == 1


async def test_households_of_two_villages_or_with_a_move_under_way_are_settled_first(
    session: AsyncSession,
) -> None:
    kept, lost, county = await two_households(session)
    move = Move(
        id=new_id(), household_id=lost.id, members=[], from_region_code=TOWN, from_region_name="甲",
        to_region_code="640104002000", to_region_name="乙", moved_on=clock.today(),
        status=MoveStatus.PROPOSED, begun_by=MoveSide.RELEASING,
        created_at=clock.now(),
    )  # fmt: skip
    session.add(move)
    lost.region_code = "640104002000"
    await session.flush()
    with pytest.raises(MergeBlocked) as refused:
        await unite(session, county, kept, lost)
    assert {one["code"] for one in refused.value.extensions["settle"]} == {"region", "move"}


async def test_a_closed_household_is_not_merged(session: AsyncSession) -> None:
    kept, lost, county = await two_households(session)
    await unite(session, county, kept, lost)
    with pytest.raises(WrongState):
        await unite(session, county, kept, lost)


async def test_a_household_that_lost_its_head_since_is_not_reopened(session: AsyncSession) -> None:
    kept, lost, county = await two_households(session)
    merge = await unite(session, county, kept, lost)
    members = await belonging.members(session, kept)
    [head] = [one for one, _ in members.values() if one.name == "王大山"]
    await session.execute(
        update(Membership).where(Membership.person_id == head.id).values(valid_to=clock.today())
    )
    with pytest.raises(MergeBuiltUpon):
        await undoing.undo(session, county, id=merge.id, reason="是两户")
