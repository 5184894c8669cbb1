"""Changes of boundaries: who follows, what stays, what waits, and how a split is assigned."""

import json
import uuid
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, WrongState
from app.models.audit import AuditEvent
from app.models.corrections import Correction
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus
from app.models.handbook import HouseholdEvent
from app.models.households import Household, HouseholdStatus, Person
from app.models.identity import Role
from app.models.moves import Move, MoveSide, MoveStatus
from app.models.regions import Region, RegionSuccession, SuccessionKind
from app.models.results import DiagnosticReport, ReportStatus
from app.models.rights import Erasure
from app.models.staff import StaffAccount
from app.services import corrections, regions, rights
from app.services.corrections.changes import CHANGE
from app.services.households import family_types
from app.services.idempotency import Key
from app.services.regions.checks import NewSuccession
from tests.clients import SYSTEM
from tests.explain import Explain
from tests.factories import appointments as made

TOWN = "640104001000"
OLD, NEIGHBOUR, NEW = "640104001201", "640104001202", "640104001299"
HEADING = "old_code,new_code,new_name,kind,effective_on,source"


@pytest.fixture
async def world(session: AsyncSession) -> AsyncSession:
    """Two villages below the town."""
    for code, name in ((OLD, "甲村"), (NEIGHBOUR, "乙村")):
        session.add(
            Region(
                code=code, level=5, parent_code=TOWN, name=name, valid_from=date(2026, 1, 1), source="test"
            )
        )
    await session.flush()
    return session


def today() -> str:
    return clock.today().isoformat()


async def change(session: AsyncSession, *rows: str) -> int:
    """Stated and carried out if the day has come."""
    await state(session, *rows)
    return await carry_out(session)


async def state(session: AsyncSession, *rows: str) -> tuple[int, int]:
    data = "\n".join((HEADING, *rows)).encode()
    return await regions.record_file(session, SYSTEM, data, dry_run=False)


async def carry_out(session: AsyncSession) -> int:
    applied = await regions.apply_due(session, Actor.system("regions"))
    await session.flush()
    for row in list(session.identity_map.values()):
        if isinstance(row, Region):
            session.expire(row)  # changed set-based
    return applied


async def events(session: AsyncSession, household: uuid.UUID) -> list[tuple[str, str | None]]:
    query = select(HouseholdEvent.kind, HouseholdEvent.note).where(HouseholdEvent.household_id == household)
    return [(row.kind, row.note) for row in await session.execute(query)]


async def a_follow_up(session: AsyncSession, attended: made.Attended) -> FollowUp:
    """From the report of the appointment."""
    wife = attended.spouses.wife.id
    report = DiagnosticReport(
        id=new_id(), organization_id=attended.hospital.organization.id, external_id="LIS-1", person_id=wife,
        appointment_id=attended.appointment.id, service_id=attended.service.id, region_code=OLD, current_version=1,
        status=ReportStatus.FINAL, issued_at=clock.now(), created_at=clock.now(),
    )  # fmt: skip
    session.add(report)
    await session.flush()
    row = FollowUp(
        id=new_id(), report_id=report.id, person_id=wife, region_code=OLD, kind=FollowUpKind.REFERRAL,
        status=FollowUpStatus.OPEN, due_on=clock.today(), created_at=clock.now(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row


async def region_of_report(session: AsyncSession, follow_up: FollowUp) -> str:
    query = select(DiagnosticReport.region_code).where(DiagnosticReport.id == follow_up.report_id)
    return (await session.scalars(query)).one()


async def test_everybody_of_a_renumbered_village_follows(world: AsyncSession) -> None:
    attended = await made.attended(world, region_code=OLD)
    family, worker = attended.spouses, await made.worker(world, OLD, Role.VILLAGE_WORKER)
    family.wife.hukou_region_code = OLD
    follow_up, version = await a_follow_up(world, attended), family.household.version
    assert await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},银政发〔2026〕1号") == 1
    for row in (family.household, family.wife, family.husband, attended.appointment, follow_up):
        await world.refresh(row)
        assert row.region_code == NEW, row
    assert family.wife.hukou_region_code == await region_of_report(world, follow_up) == NEW
    assert (family.household.version, follow_up.version) == (version + 1, 2)
    assert (await world.get_one(StaffAccount, worker.id)).region_code == NEW
    old, new = await regions.get(world, OLD), await regions.get(world, NEW)
    assert (old.name, old.valid_to, await regions.successors(world, OLD)) == ("甲村", clock.today(), [NEW])
    assert (new.name, new.level, new.parent_code, new.valid_to) == ("甲社区", 5, TOWN, None)


@pytest.mark.parametrize("column", [Person.region_code, Person.hukou_region_code, Household.region_code])
async def test_who_follows_is_found_without_reading_everybody(session: AsyncSession, column: Any) -> None:
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    query = select(column.class_.id).where(column == OLD)
    plan = "\n".join(await session.scalars(Explain(query)))
    assert "Seq Scan" not in plan
    assert f"Cond: ({column.key} = " in plan, "not the whole of some other index"


async def test_the_handbook_and_each_person_s_trail_say_what_happened(world: AsyncSession) -> None:
    family = await made.couple(world, OLD)
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    assert await events(world, family.household.id) == [
        ("region_changed", f"甲村（{OLD}） → 甲社区（{NEW}）")
    ]
    trail = select(AuditEvent.person_id).where(AuditEvent.action == "region_changed")
    assert set(await world.scalars(trail)) == {family.wife.id, family.husband.id}


async def test_what_is_past_stays(world: AsyncSession) -> None:
    attended = await made.attended(world, region_code=OLD)
    attended.appointment.starts_at = clock.now() - timedelta(days=3)
    await world.flush()
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    await world.refresh(attended.appointment)
    assert attended.appointment.region_code == OLD


async def test_a_change_waits_for_its_day(world: AsyncSession) -> None:
    family, tomorrow = await made.couple(world, OLD), clock.today() + timedelta(days=1)
    assert await change(world, f"{OLD},{NEW},甲社区,变更代码,{tomorrow},") == 0
    await world.refresh(family.household)
    assert family.household.region_code == OLD
    assert (await regions.get(world, OLD)).valid_to is None
    assert await regions.successors(world, OLD) == []
    row = (await world.scalars(select(RegionSuccession))).one()
    row.effective_on = clock.today()
    assert await carry_out(world) == 1
    await world.refresh(family.household)
    assert family.household.region_code == NEW


async def test_whoever_came_late_with_the_old_code_follows_at_the_next_look(world: AsyncSession) -> None:
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    late = await made.couple(world, OLD)
    assert await carry_out(world) == 0
    for row in (late.household, late.wife):
        await world.refresh(row)
        assert row.region_code == NEW


async def test_merged_villages_keep_their_house_numbers_apart(world: AsyncSession) -> None:
    first, second = await made.couple(world, OLD), await made.couple(world, NEIGHBOUR)
    first.household.local_number = second.household.local_number = "17"
    await world.flush()
    await change(world, f"{OLD},{NEIGHBOUR},,合并,{today()},")
    for family in (first, second):
        await world.refresh(family.household)
        assert family.household.region_code == NEIGHBOUR
    assert (first.household.local_number, second.household.local_number) == (f"{OLD}-17", "17")


async def test_a_new_name_alone_moves_nobody(world: AsyncSession) -> None:
    family = await made.couple(world, OLD)
    await change(world, f"{OLD},{OLD},幸福村,更名,2026-08-01,")
    assert (await regions.get(world, OLD)).name == "幸福村"
    assert await regions.name_on(world, OLD, date(2026, 7, 31)) == "甲村"
    assert await events(world, family.household.id) == []
    assert await regions.successors(world, OLD) == []


async def test_a_town_ends_with_its_villages(world: AsyncSession) -> None:
    family, town = await made.couple(world, OLD), "640104099000"
    rows = [
        f"{TOWN},{town},凤凰街街道,变更代码,{today()},",
        f"{OLD},640104099001,甲村,变更代码,{today()},",
        f"{NEIGHBOUR},640104099002,乙村,变更代码,{today()},",
    ]
    with pytest.raises(regions.RegionFileRefused):
        await state(world, *rows[:2])
    assert await change(world, *rows) == 3
    await world.refresh(family.household)
    assert family.household.region_code == "640104099001"
    assert (await regions.get(world, "640104099001")).parent_code == town
    assert (await regions.get(world, town)).parent_code == "640104000000"
    clerk = Actor(Role.TOWNSHIP_OFFICER, id=new_id(), region_code=town)
    await regions.require_own_region(world, clerk, "640104099002")


async def test_the_same_table_again_states_nothing_new(world: AsyncSession) -> None:
    rows = (f"{OLD},{NEW},甲社区,变更代码,{today()},", f"{NEIGHBOUR},{NEIGHBOUR},丙村,更名,{today()},")
    assert await state(world, *rows) == (2, 0)
    assert await state(world, *rows) == (0, 2)
    await carry_out(world)
    assert await state(world, *rows) == (0, 2)


async def test_a_second_successor_is_refused(world: AsyncSession) -> None:
    tomorrow = (clock.today() + timedelta(days=1)).isoformat()
    await state(world, f"{OLD},{NEW},甲社区,变更代码,{tomorrow},")
    for row in (f"{OLD},{NEIGHBOUR},,合并,{today()},", f"{NEIGHBOUR},{OLD},,合并,{today()},"):
        with pytest.raises(regions.RegionFileRefused):
            await state(world, row)


async def test_later_its_successor_may_change_too(world: AsyncSession) -> None:
    """Only what takes effect together may not be a chain."""
    family = await made.couple(world, OLD)
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    await change(world, f"{NEW},{NEIGHBOUR},,合并,{today()},")
    await carry_out(world)
    await world.refresh(family.household)
    assert family.household.region_code == NEIGHBOUR
    with pytest.raises(regions.RegionFileRefused):
        await state(world, f"{NEIGHBOUR},{OLD},,合并,{today()},")


def a_form(region_code: str, hukou: str) -> str:
    return json.dumps({"region_code": region_code, "members": [{"hukou_region_code": hukou}], "address": "x"})


async def test_a_form_under_way_names_the_new_village(world: AsyncSession) -> None:
    row = Household(id=new_id(), region_code=OLD, status=HouseholdStatus.SUBMITTED, created_at=clock.now())
    other = Household(id=new_id(), region_code=TOWN, status=HouseholdStatus.SUBMITTED, created_at=clock.now())
    row.form, other.form = a_form(OLD, TOWN), a_form(TOWN, OLD)
    world.add_all([row, other])
    await world.flush()
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    for household in (row, other):
        await world.refresh(household)
    assert json.loads(row.form or "") == json.loads(a_form(NEW, TOWN))
    assert json.loads(other.form or "") == json.loads(a_form(TOWN, NEW))


async def test_one_change_is_stated_once_and_can_be_taken_back_before_its_day(world: AsyncSession) -> None:
    administrator = await made.worker(world, "640100000000", Role.SYSTEM_ADMINISTRATOR)
    new = NewSuccession(
        kind=SuccessionKind.MOVED, old_code=OLD, new_code=NEW, new_name="甲社区", source="测试",
        effective_on=clock.today() + timedelta(days=1),
    )  # fmt: skip
    key = Key(new_id(), b"same")
    row = await regions.record(world, administrator, key=key, new=new)
    assert (row.old_name, await regions.record(world, administrator, key=key, new=new)) == ("甲村", row)
    with pytest.raises(Invalid):
        await regions.record(world, administrator, key=Key(new_id(), b"other"), new=new)
    stranger = await made.worker(world, "640200000000", Role.SYSTEM_ADMINISTRATOR)
    with pytest.raises(NotFound):
        await regions.take_back(world, stranger, id=row.id)
    await regions.take_back(world, administrator, id=row.id)
    assert await regions.listing(world, administrator, waiting=None, after=None, limit=5) == []
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    row = (await regions.listing(world, administrator, waiting=False, after=None, limit=5))[0]
    with pytest.raises(WrongState):
        await regions.take_back(world, administrator, id=row.id)


@pytest.mark.parametrize(("old", "new"), [(OLD, "640105001000"), ("640105001000", OLD)])
async def test_an_administrator_states_changes_within_the_own_region_alone(
    world: AsyncSession, old: str, new: str
) -> None:
    administrator = await made.worker(world, TOWN, Role.SYSTEM_ADMINISTRATOR)
    data = f"{HEADING}\n{OLD},{OLD},丙村,更名,{today()},\n{old},{new},,合并,{today()},".encode()
    with pytest.raises(regions.RegionFileRefused) as refusal:
        await regions.record_file(world, administrator, data, dry_run=False)
    assert {wrong["pointer"] for wrong in refusal.value.errors or []} == {"#line/3"}
    assert regions.RegionOutsideOwn.zh in {wrong["zh"] for wrong in refusal.value.errors or []}
    change = NewSuccession(
        kind=SuccessionKind.MERGED, old_code=old, new_code=new, effective_on=clock.today(), source="测试"
    )
    with pytest.raises(regions.RegionOutsideOwn):
        await regions.record(world, administrator, key=Key(new_id(), b""), new=change)


async def queued(session: AsyncSession, job: str = regions.JOB) -> int:
    query = text(f"SELECT count(*) FROM pgqueuer WHERE entrypoint = '{job}'")
    return await session.scalar(query) or 0


@pytest.mark.parametrize(("days", "jobs"), [(0, 1), (-30, 1), (1, 0)])
async def test_a_change_of_today_or_before_wakes_the_job(world: AsyncSession, days: int, jobs: int) -> None:
    await state(world, f"{OLD},{NEW},甲社区,变更代码,{clock.today() + timedelta(days=days)},")
    assert await queued(world) == jobs


async def test_who_followed_has_the_family_type_settled_anew(world: AsyncSession) -> None:
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    assert await queued(world, family_types.JOB) == 0, "nobody lived there"
    await made.couple(world, NEIGHBOUR)
    await change(world, f"{NEIGHBOUR},{NEW},,合并,{today()},")
    assert await queued(world, family_types.JOB) == 1


PARTS = ("640104001211", "640104001212")


async def split(session: AsyncSession) -> None:
    await change(session, *(f"{OLD},{part},{part[-2:]}社区,拆分,{today()}," for part in PARTS))


async def lives(session: AsyncSession, family: made.Spouses) -> set[Any]:
    rows = (family.household, family.wife, family.husband)
    for row in rows:
        await session.refresh(row)
    return {row.region_code for row in rows}


async def test_the_households_of_a_split_village_wait_for_their_worker(world: AsyncSession) -> None:
    families = [await made.couple(world, OLD) for _ in range(3)]
    clerk = await made.worker(world, TOWN)
    await split(world)
    assert (await regions.get(world, OLD)).valid_to == clock.today()
    assert await regions.successors(world, OLD) == list(PARTS)
    assert await lives(world, families[0]) == {OLD}
    waiting = await regions.unassigned(world, clerk, code=OLD, after=None, limit=9)
    assert [row["id"] for row in waiting] == sorted(one.household.id for one in families)
    assert {row["head"] for row in waiting} == {"王*军"}
    chosen = [families[0].household.id, families[2].household.id]
    families[0].wife.hukou_region_code = OLD
    assert await regions.assign(world, clerk, region_code=PARTS[0], ids=chosen) == 2
    assert await regions.assign(world, clerk, region_code=PARTS[0], ids=chosen) == 0, (
        "and again changes nothing"
    )
    assert await lives(world, families[0]) == await lives(world, families[2]) == {PARTS[0]}
    assert families[0].wife.hukou_region_code == PARTS[0]
    assert await lives(world, families[1]) == {OLD}
    assert await events(world, chosen[0]) == [("region_changed", f"甲村（{OLD}） → 11社区（{PARTS[0]}）")]
    families[1].husband.restricted_at = clock.now()
    await world.flush()
    rest = await regions.unassigned(world, clerk, code=OLD, after=None, limit=9)
    assert [(row["id"], row["head"]) for row in rest] == [(families[1].household.id, None)]


async def test_what_is_under_way_for_an_assigned_household_follows(world: AsyncSession) -> None:
    attended = await made.attended(world, region_code=OLD)
    follow_up = await a_follow_up(world, attended)
    await split(world)
    clerk = await made.worker(world, TOWN)
    await regions.assign(world, clerk, region_code=PARTS[1], ids=[attended.spouses.household.id])
    for row in (attended.appointment, follow_up):
        await world.refresh(row)
        assert row.region_code == PARTS[1]
    assert await region_of_report(world, follow_up) == PARTS[1]


async def a_correction(world: AsyncSession, family: made.Spouses) -> Correction:
    change = CHANGE.validate_python({"field": "address", "value": "新村 8 号"})
    asked = await corrections.request(
        world, family.wife_actor, key=Key(new_id(), b""), subject_id=family.household.id, change=change,
        evidence="户口本",
    )  # fmt: skip
    return await world.get_one(Correction, asked.id)


def a_move(home: Household, to: str, **more: Any) -> Move:
    return Move(
        id=new_id(), household_id=home.id, members=[], from_region_code=home.region_code, from_region_name="",
        to_region_code=to, to_region_name="", moved_on=clock.today(), status=MoveStatus.PROPOSED,
        begun_by=MoveSide.RELEASING, created_at=clock.now(), **more,
    )  # fmt: skip


async def test_what_is_proposed_or_asked_for_an_assigned_household_follows(world: AsyncSession) -> None:
    family, other, third = [await made.couple(world, code) for code in (OLD, NEIGHBOUR, OLD)]
    asked = await rights.request_own(
        world, family.wife_actor, key=Key(new_id(), b""), person_id=None, why=None
    )
    corrected = await a_correction(world, family)
    out = a_move(family.household, NEIGHBOUR)
    into = a_move(other.household, OLD, to_household_id=family.household.id)
    theirs = a_move(third.household, OLD)
    past = a_move(family.household, NEIGHBOUR)
    past.status = MoveStatus.WITHDRAWN
    world.add_all([out, into, theirs, past])
    await world.flush()
    await split(world)
    clerk = await made.worker(world, TOWN)
    await regions.assign(world, clerk, region_code=PARTS[0], ids=[family.household.id])
    request = await world.get_one(Erasure, asked.id)
    for row in (request, corrected, out, into, theirs, past, family.household):
        await world.refresh(row)
    assert (
        request.region_code
        == corrected.region_code
        == out.from_region_code
        == into.to_region_code
        == PARTS[0]
    )
    assert (out.to_region_code, into.from_region_code, out.version) == (NEIGHBOUR, NEIGHBOUR, 2)
    assert theirs.from_region_code == past.from_region_code == OLD
    assert family.household.family_type is not None, "the head's hukou may lie elsewhere now"


async def test_assigning_is_all_or_nothing_and_within_reach(world: AsyncSession) -> None:
    family, elsewhere = await made.couple(world, OLD), await made.couple(world, NEIGHBOUR)
    clerk, stranger = await made.worker(world, TOWN), await made.worker(world, "640105001000")
    await split(world)
    both = [family.household.id, elsewhere.household.id]
    with pytest.raises(Invalid) as refusal:
        await regions.assign(world, clerk, region_code=PARTS[0], ids=both)
    assert [wrong["pointer"] for wrong in refusal.value.errors or []] == ["/household_ids/1"]
    with pytest.raises(NotFound):
        await regions.assign(world, clerk, region_code=PARTS[0], ids=[family.household.id, new_id()])
    with pytest.raises(regions.RegionOutsideOwn):
        await regions.assign(world, stranger, region_code=PARTS[0], ids=both[:1])
    with pytest.raises(Invalid):  # no part of it
        await regions.assign(world, clerk, region_code=NEIGHBOUR, ids=both[:1])
    assert await lives(world, family) == {OLD}
    assert await regions.unassigned(world, clerk, code=NEIGHBOUR, after=None, limit=9) == []


async def test_a_part_that_was_forgotten_can_be_stated_afterwards(world: AsyncSession) -> None:
    await split(world)
    third = "640104001213"
    assert await change(world, f"{OLD},{third},丙社区,拆分,{today()},") == 1
    assert await regions.successors(world, OLD) == [*PARTS, third]


async def test_ten_thousand_people_follow_in_seconds(world: AsyncSession) -> None:
    family = await made.couple(world, OLD)
    await world.execute(
        text(
            "INSERT INTO household (id, region_code, status, created_at) "
            "SELECT gen_random_uuid(), :old, 'active', now() FROM generate_series(1, 5000)"
        ),
        {"old": OLD},
    )
    await world.execute(
        text(
            "INSERT INTO person (id, region_code, name, pinyin, initials, sex, birth_date, document_kind, "
            "document_number_sealed, document_index, created_at) SELECT gen_random_uuid(), :old, '无名', 'wu ming', "
            "'wm', 'male', '1990-01-01', 'passport', '', uuid_send(gen_random_uuid()), now() "
            "FROM generate_series(1, 10000)"
        ),
        {"old": OLD},
    )
    started = datetime.now(tz=clock.SHANGHAI)
    await change(world, f"{OLD},{NEW},甲社区,变更代码,{today()},")
    assert (datetime.now(tz=clock.SHANGHAI) - started).total_seconds() < 10
    assert await lives(world, family) == {NEW}
    left = select(Person.id).where(Person.region_code == OLD)
    assert not list(await world.scalars(left))
