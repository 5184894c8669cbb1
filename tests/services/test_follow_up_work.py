"""Whose follow-ups are whose, what happens to those that are overdue, and how long people wait for a first contact."""

import uuid
from datetime import date, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid
from app.models.follow_ups import (
    FirstContact,
    FollowUp,
    FollowUpAction,
    FollowUpEvent,
    FollowUpKind,
    FollowUpStatus,
)
from app.models.identity import Role
from app.models.messages import InboxMessage, NoticeKind
from app.models.staff import StaffAccount
from app.services import follow_ups
from app.services.follow_ups import AlreadyAssigned, Wished, assignment, escalation, first_contact
from app.services.follow_ups.reading import in_order
from app.services.moves import following
from app.services.results.foetal_sex import FoetalSexRefused
from tests import clients
from tests.explain import Explain
from tests.factories import appointments as given
from tests.factories import registry
from tests.factories.appointments import Attended
from tests.factories.families import annulled, happens, newcomer
from tests.factories.follow_ups import TOLD, one, said
from tests.factories.registry import NEXT_VILLAGE, TOWN, VILLAGE
from tests.factories.results import NORMAL_WIFE, body, post, with_value

K, S = FollowUpKind, FollowUpStatus
HBSAG = with_value(NORMAL_WIFE, "hbsag", "positive")


@pytest.fixture
async def village(session: AsyncSession) -> Actor:
    """The one worker of a village."""
    await registry.villages(session)
    return await given.worker(session, VILLAGE, Role.VILLAGE_WORKER)


async def report(
    session: AsyncSession, region: str = VILLAGE, *, days: int = 0, **changes: Any
) -> tuple[Attended, Any]:
    attended = await given.attended(session, region_code=region)
    issued = (clock.now() - timedelta(days=days, hours=1)).isoformat()
    return attended, await post(session, attended, body(attended, issued_at=issued, **changes))


async def early(session: AsyncSession, region: str = VILLAGE, **changes: Any) -> FollowUp:
    _, accepted = await report(session, region, **changes)
    return await one(session, accepted, K.EARLY_PREGNANCY)


async def mine(session: AsyncSession, actor: Actor, **wished: Any) -> set[uuid.UUID]:
    rows = await follow_ups.list_due(session, actor, after=None, limit=100, wished=Wished(**wished))
    return {row.id for row in rows}


async def test_the_one_worker_of_a_village_does_what_comes_up_there(
    session: AsyncSession, village: Actor
) -> None:
    row = await early(session)
    assert row.assignee_id == village.id
    assert row.id in await mine(session, village, assignee_id=village.id)
    assert await mine(session, village, unassigned=True) == set()
    (listed, *_) = await follow_ups.list_due(session, village, after=None, limit=9)
    assert listed.assignee == "马建国"

    await given.worker(session, VILLAGE, Role.VILLAGE_WORKER)
    assert (await early(session)).assignee_id is None, "of two nobody knows which"


async def test_who_takes_it_or_starts_it_does_it(session: AsyncSession, village: Actor) -> None:
    colleague = await given.worker(session, VILLAGE, Role.VILLAGE_WORKER)
    officer = await given.worker(session, TOWN)
    row, other = await early(session), await early(session)
    row = await follow_ups.take(session, village, follow_up_id=row.id, version=row.version)
    assert row.assignee_id == village.id
    with pytest.raises(AlreadyAssigned):
        await follow_ups.take(session, colleague, follow_up_id=row.id, version=row.version)
    row = await follow_ups.take(session, officer, follow_up_id=row.id, version=row.version)
    assert row.assignee_id == officer.id
    other = await follow_ups.start(session, colleague, follow_up_id=other.id, version=other.version)
    assert other.assignee_id == colleague.id


async def test_it_is_handed_over_with_a_note_to_who_sees_it(session: AsyncSession, village: Actor) -> None:
    officer, elsewhere = await given.worker(session, TOWN), await given.worker(session, NEXT_VILLAGE)
    supervisor = await given.worker(session, TOWN, Role.SUPERVISOR)
    row = await early(session)
    with pytest.raises(FoetalSexRefused):
        await follow_ups.hand_over(
            session, village, follow_up_id=row.id, version=row.version, to=officer.account_id, note="怀男胎"
        )

    async def over(actor: Actor, to: Actor) -> FollowUp:
        note = "两次上门无人"
        return await follow_ups.hand_over(
            session, actor, follow_up_id=row.id, version=row.version, to=to.account_id, note=note
        )

    for to in (elsewhere, supervisor):
        with pytest.raises(Invalid):
            await over(village, to)
    row = await over(village, officer)
    assert row.assignee_id == officer.id
    with pytest.raises(AlreadyAssigned):
        await over(village, village)
    row = await over(officer, village)
    detail = await follow_ups.read(session, village, follow_up_id=row.id, purpose="follow_up")
    handed = [(e.assignee_id, e.note) for e in detail.events if e.action is FollowUpAction.HANDED_OVER]
    assert handed == [(officer.id, "两次上门无人"), (village.id, "两次上门无人")]


async def test_who_moves_is_looked_after_by_the_other_village(session: AsyncSession, village: Actor) -> None:
    row, staying = await early(session), await early(session)
    there = await given.worker(session, NEXT_VILLAGE, Role.VILLAGE_WORKER)
    await following.follow(session, [row.person_id], NEXT_VILLAGE)
    await session.refresh(row)
    assert (row.region_code, row.assignee_id) == (NEXT_VILLAGE, there.id)
    await session.refresh(staying)
    assert staying.assignee_id == village.id


async def test_the_work_of_who_left_goes_to_who_is_there(session: AsyncSession, village: Actor) -> None:
    row = await early(session)
    officer = await given.worker(session, TOWN)
    kept = await early(session)
    await follow_ups.hand_over(
        session, village, follow_up_id=kept.id, version=kept.version, to=officer.account_id, note=None
    )
    await session.execute(
        update(StaffAccount).where(StaffAccount.id == village.id).values(disabled_at=clock.now())
    )
    await session.commit()
    await assignment.renew_all()
    await session.refresh(row)
    assert row.assignee_id is None
    new = await given.worker(session, VILLAGE, Role.VILLAGE_WORKER)
    await session.commit()
    await assignment.renew_all()
    for one_row, assignee in ((row, new.id), (kept, officer.id)):
        await session.refresh(one_row)
        assert one_row.assignee_id == assignee


async def test_colleagues_are_listed_with_what_is_theirs_to_do(session: AsyncSession, village: Actor) -> None:
    await given.worker(session, TOWN, Role.SUPERVISOR)
    far = await given.worker(session, "640200000000")
    officer = await given.worker(session, TOWN)
    await report(session, days=9)
    rows = await follow_ups.workers(session, officer, after=None, limit=100)
    found = {row["id"]: (row["live"], row["overdue"], row["escalated"]) for row in rows}
    assert found[village.id] == (4, 2, 0)
    assert found[officer.id] == (0, 0, 0)
    assert far.id not in found
    assert {row["role"] for row in rows}.isdisjoint({Role.SUPERVISOR})
    assert officer.id in {
        row["id"] for row in await follow_ups.workers(session, village, after=None, limit=100)
    }


async def test_what_is_overdue_for_too_long_goes_up_once_for_each_deadline(
    session: AsyncSession, village: Actor
) -> None:
    officer = await given.worker(session, TOWN)
    attended, _ = await report(session, days=13)
    assert await escalation.escalate(session, Actor.system("test")) == 0, (
        "six days late: the rule allows less than seven"
    )
    with time_machine.travel(clock.now() + timedelta(days=1), tick=False):
        assert await escalation.escalate(session, Actor.system("test")) == 2
        assert await escalation.escalate(session, Actor.system("test")) == 0
        seen = await mine(session, officer, escalated=True)
        assert seen == await mine(session, village, escalated=True)
        assert len(seen) == 2
        told = select(InboxMessage.person_id, InboxMessage.values).filter_by(
            kind=NoticeKind.CONTACT_REQUESTED
        )
        couple = {attended.spouses.wife.id, attended.spouses.husband.id}
        assert {(row.person_id, len(row.values)) for row in await session.execute(told)} == {
            (id, 0) for id in couple
        }

        (id, *_) = seen
        row = await session.get_one(FollowUp, id, populate_existing=True)
        said = TOLD.model_copy(update={"told": False})
        await follow_ups.complete(session, village, follow_up_id=id, version=row.version, outcome=said)
        assert await mine(session, officer, escalated=True) == seen - {id}, "there is a new deadline"
    with time_machine.travel(clock.now() + timedelta(days=16), tick=False):
        assert await escalation.escalate(session, Actor.system("test")) == 1
    events = await session.scalars(
        select(FollowUpEvent.follow_up_id).filter_by(action=FollowUpAction.ESCALATED, follow_up_id=id)
    )
    assert len(list(events)) == 2


async def measured(session: AsyncSession, actor: Actor, region: str = VILLAGE) -> dict[str, Any]:
    assert await first_contact.recompute(session)
    first = clock.today().replace(day=1) - timedelta(days=90)
    return await first_contact.measure(
        session, actor, region_code=region, from_month=first.replace(day=1), to_month=clock.today()
    )


async def told(session: AsyncSession, accepted: Any, actor: Actor, person: uuid.UUID, day: date) -> None:
    query = select(FollowUp).where(FollowUp.report_id == accepted.report_id, FollowUp.person_id == person)
    row = (await session.scalars(query.where(FollowUp.kind == K.RESULT_TOLD))).one()
    said = TOLD.model_copy(update={"told_on": day})
    await follow_ups.complete(session, actor, follow_up_id=row.id, version=row.version, outcome=said)


async def test_the_days_to_the_first_contact_are_measured_over_abnormal_results(
    session: AsyncSession, village: Actor
) -> None:
    with time_machine.travel(clock.now().replace(day=25, hour=4), tick=False):
        today = clock.today()
        await report(session, days=20)  # nothing found: not counted
        for waited in (1, 2, 3, 4, 12, None):
            attended, accepted = await report(session, days=20, wife=HBSAG)
            if waited is not None:
                day = today - timedelta(days=20 - waited)
                await told(session, accepted, village, attended.spouses.wife.id, day)
        found = await measured(session, village)
        assert found["total"] == {
            "people": 6, "waiting": 1, "median_days": 3, "p90_days": 12, "share_within": round(4 / 6, 3),
            "hidden": False,
        }  # fmt: skip
        (month,) = found["months"]
        assert (month["month"], month["people"]) == (today.replace(day=1), 6)
        elsewhere = await given.worker(session, NEXT_VILLAGE, Role.VILLAGE_WORKER)
        assert (await measured(session, elsewhere, NEXT_VILLAGE))["months"] == []
        town = await given.worker(session, TOWN)
        assert (await measured(session, town, TOWN))["total"]["people"] == 6


async def test_a_corrected_result_that_is_normal_is_no_longer_counted(
    session: AsyncSession, village: Actor
) -> None:
    attended = await given.attended(session, region_code=VILLAGE)
    posted = body(attended, wife=HBSAG)
    accepted = await post(session, attended, posted)
    row = await one(session, accepted, K.COUNSELLING)
    assert (row.flagged_on, row.contact_by) == (clock.today(), clock.today() + timedelta(days=7))
    await post(session, attended, posted | {"version": 2, "status": "corrected", "wife": NORMAL_WIFE})
    await first_contact.recompute(session)
    assert await session.scalar(select(FirstContact.people).limit(1)) is None


async def counts(session: AsyncSession, **people: int) -> None:
    rows = [
        {"region_code": VILLAGE, "month": date(2026, int(month[1:]), 1), "days": 3, "people": number,
         "within": number, "late": 0, "as_of": clock.now()}
        for month, number in people.items()
    ]  # fmt: skip
    await session.execute(insert(FirstContact), rows)


async def test_few_people_are_hidden_and_no_difference_tells_how_many(
    session: AsyncSession, village: Actor
) -> None:
    await counts(session, m1=20, m2=4, m3=9)
    span = {"region_code": VILLAGE, "from_month": date(2026, 1, 1), "to_month": date(2026, 12, 1)}
    found = await first_contact.measure(session, village, **span)
    assert [month["hidden"] for month in found["months"]] == [False, True, True]
    assert found["total"]["people"] == 33
    alone = await first_contact.measure(
        session, village, **span | {"from_month": date(2026, 2, 1), "to_month": date(2026, 2, 1)}
    )
    assert alone["total"] == {
        "people": None, "waiting": None, "median_days": None, "p90_days": None, "share_within": None, "hidden": True,
    }  # fmt: skip
    # Two who are few together: three people would follow from the sum.
    await counts(session, m5=20, m6=1, m7=2, m8=9)
    later = span | {"from_month": date(2026, 5, 1)}
    found = await first_contact.measure(session, village, **later)
    assert [month["hidden"] for month in found["months"]] == [False, True, True, True]


async def test_after_a_birth_the_visit_is_due_six_weeks_later_and_annulled_as_before(
    session: AsyncSession, village: Actor
) -> None:
    attended = await given.attended(session, region_code=VILLAGE)
    posted = body(attended, issued_at=(clock.now() - timedelta(hours=1)).isoformat())
    row, home = (
        await one(session, await post(session, attended, posted), K.OUTCOME),
        attended.spouses.household,
    )
    before = row.due_on
    await happens(session, village, home.id, "birth", child=newcomer())
    await session.refresh(row)
    assert row.due_on == before, "it was born before the report, and is recorded only now"

    today = clock.today().isoformat()
    event = await happens(session, village, home.id, "birth", today, child=newcomer("王平平", born=today))
    await session.refresh(row)
    assert row.due_on == event.happened_on + timedelta(days=42)
    await post(session, attended, posted | {"version": 2, "status": "corrected", "wife": HBSAG})
    visit = await session.scalar(select(FollowUp).filter_by(report_id=row.report_id, kind=K.EARLY_PREGNANCY))
    assert visit is not None
    found = said(
        K.EARLY_PREGNANCY, result="pregnant", last_menstrual_period=clock.today() - timedelta(days=250)
    )
    await follow_ups.complete(session, village, follow_up_id=visit.id, version=visit.version, outcome=found)
    await session.refresh(row)
    assert row.due_on == event.happened_on + timedelta(days=42), (
        "a correction or an older visit knows no better"
    )
    await annulled(session, village, event)
    await session.refresh(row)
    assert (row.due_on, row.status) == (before, S.OPEN)
    moves = select(FollowUpEvent.action).filter_by(follow_up_id=row.id).order_by(FollowUpEvent.id)
    assert list(await session.scalars(moves)) == ["opened", "moved", "changed"]


async def test_lists_colleagues_and_figures_are_read_at_the_door(
    session: AsyncSession, village: Actor
) -> None:
    await report(session)
    await first_contact.recompute(session)
    await session.commit()
    officer = await clients.staff_client(session, Role.TOWNSHIP_OFFICER, TOWN)
    for query, number in (
        ("", 4),
        ("?mine=true", 0),
        (f"?assignee_id={village.id}", 4),
        ("?unassigned=true", 0),
    ):
        listed = await officer.get(f"/staff/v1/follow-ups{query}")
        assert len(listed.json()["items"]) == number, query
    workers = (await officer.get("/staff/v1/follow-ups/workers")).json()["items"]
    assert {one["id"]: one["live"] for one in workers}[str(village.id)] == 4
    figures = await officer.get("/staff/v1/follow-ups/first-contact?from_month=2026-01&to_month=2026-12")
    assert (figures.status_code, figures.json()["total"]["hidden"]) == (200, True)
    assert (await officer.get("/staff/v1/follow-ups/first-contact?from_month=2026-13")).status_code == 422
    outside = await officer.get("/staff/v1/follow-ups/first-contact?region_code=640200000000")
    assert outside.status_code == 403


INDEXES = {
    "ix_follow_up_region_code", "ix_follow_up_due_on_live", "ix_follow_up_assignee_id_live", "ix_follow_up_kind_live",
    "ix_follow_up_due_on_unassigned", "ix_follow_up_due_on_escalated",
    "ix_follow_up_due_on_doubted", "ix_follow_up_due_on_finished",
}  # fmt: skip


@pytest.mark.parametrize(
    ("wished", "index"),
    [
        (Wished(), "ix_follow_up_due_on_live"),
        (Wished(kind=K.REFERRAL), "ix_follow_up_kind_live"),
        (Wished(overdue=True), "ix_follow_up_due_on_live"),
        (Wished(assignee_id=new_id()), "ix_follow_up_assignee_id_live"),
        (Wished(unassigned=True), "ix_follow_up_due_on_unassigned"),
        (Wished(escalated=True), "ix_follow_up_due_on_escalated"),
        (Wished(doubted=True), "ix_follow_up_due_on_doubted"),
        (Wished(status=S.DONE), "ix_follow_up_due_on_finished"),
    ],
)
async def test_each_list_reads_its_index_in_order(session: AsyncSession, wished: Wished, index: str) -> None:
    """With the others gone and no sorting: it can serve, whatever the statistics of an empty table say."""
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    await session.execute(text("SET LOCAL enable_sort = off"))
    await session.execute(text(f"DROP INDEX {', '.join(sorted(INDEXES - {index}))}"))
    query = select(FollowUp.id).where(*wished.conditions()).order_by(FollowUp.due_on, FollowUp.id).limit(21)
    plan = "\n".join(await session.scalars(Explain(query)))
    assert f"using {index}" in plan, plan
    assert "Sort" not in plan, plan


@pytest.mark.parametrize(("region", "sorts"), [(VILLAGE, True), (TOWN, True), (given.COUNTY, False)])
async def test_who_has_few_sorts_them_and_does_not_walk_past_everybody_s(
    session: AsyncSession, region: str, sorts: bool
) -> None:
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    await session.execute(text("SET LOCAL enable_sort = off"))
    order = (in_order(Actor(Role.TOWNSHIP_OFFICER, id=new_id(), region_code=region)), FollowUp.id)
    query = select(FollowUp.id).where(*Wished().conditions()).order_by(*order).limit(21)
    assert ("Sort" in "\n".join(await session.scalars(Explain(query)))) is sorts
