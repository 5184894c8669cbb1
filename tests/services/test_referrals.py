"""Referrals in steps, what was begun and is no longer called for, rechecks that end by themselves."""

import uuid
from datetime import date, timedelta
from typing import Any

import pytest
import time_machine
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import Conflict, Invalid, NotFound, StaleVersion
from app.models.audit import AuditEvent
from app.models.consents import Consent
from app.models.follow_ups import (
    FollowUp,
    FollowUpAction,
    FollowUpEvent,
    FollowUpKind,
    FollowUpNote,
    FollowUpStatus,
    ReferralStep,
)
from app.models.identity import Role
from app.services import follow_ups
from app.services.follow_ups import (
    NotAReferral,
    NotDoubted,
    NotLive,
    ReferralRecord,
    StepNotAllowed,
    rechecks,
)
from app.services.results.foetal_sex import FoetalSexRefused
from tests.factories import appointments as given
from tests.factories.appointments import Attended
from tests.factories.follow_ups import one, said
from tests.factories.results import NORMAL_WIFE, body, post, with_value

A, K, S, R = FollowUpAction, FollowUpKind, FollowUpStatus, ReferralStep
SEVERE = with_value(NORMAL_WIFE, "severe_heart_disease", "yes")
HIGH_TSH = with_value(NORMAL_WIFE, "tsh", 9.8, unit="mIU/L", range_low=0.35, range_high=4.94)


async def referral(session: AsyncSession, attended: Attended, **changes: Any) -> FollowUp:
    issued = {"issued_at": (clock.now() - timedelta(days=20)).isoformat()}
    return await one(
        session, await post(session, attended, body(attended, wife=SEVERE, **issued | changes)), K.REFERRAL
    )


async def step(session: AsyncSession, actor: Actor, row: FollowUp, name: str, **said: Any) -> FollowUp:
    record = ReferralRecord.model_validate({"step": name, "on": clock.today(), **said})
    return await follow_ups.take_step(session, actor, follow_up_id=row.id, version=row.version, said=record)


async def actions(session: AsyncSession, row: FollowUp) -> list[FollowUpAction]:
    query = select(FollowUpEvent.action).where(FollowUpEvent.follow_up_id == row.id)
    return list(await session.scalars(query.order_by(FollowUpEvent.id)))


async def test_a_referral_goes_step_by_step_each_with_its_own_limit(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    row = await referral(session, attended)
    assert (row.step, row.due_on) == (R.FLAGGED, clock.today() - timedelta(days=13))

    first = clock.today() - timedelta(days=18)
    row = await step(session, worker, row, "informed", on=first, place="家中", note="愿意去医院")
    assert (row.status, row.due_on, row.assignee_id) == (S.IN_PROGRESS, first + timedelta(days=14), worker.id)
    for name, limit, more in (
        ("referred", 30, {}),
        ("seen", 30, {}),
        ("diagnosed", 90, {"diagnosis": "confirmed"}),
    ):
        row = await step(session, worker, row, name, **more)
        assert (row.step, row.due_on) == (R(name), clock.today() + timedelta(days=limit))
    row = await step(session, worker, row, "outcome", outcome="treated")

    assert (row.status, row.completed_by, row.step) == (S.DONE, worker.id, R.OUTCOME)
    assert row.outcome == {
        "kind": "referral",
        "reached": "outcome",
        "diagnosis": "confirmed",
        "outcome": "treated",
    }
    detail = await follow_ups.read(session, worker, follow_up_id=row.id, purpose="follow_up")
    told = [one for one in detail.events if one.step is R.INFORMED]
    assert [(one.place, one.note, one.happened_on) for one in told] == [("家中", "愿意去医院", first)]
    supervisor = await given.worker(session, role=Role.SUPERVISOR)
    detail = await follow_ups.read(session, supervisor, follow_up_id=row.id, purpose="audit")
    assert {one.note for one in detail.events} == {None}
    sealed = (await session.scalars(select(FollowUpNote.note_sealed))).one()
    assert "愿意" not in sealed.decode("utf-8", "ignore")
    with pytest.raises(NotLive):
        await step(session, worker, row, "outcome", outcome="treated")


@pytest.mark.parametrize(
    ("way", "refused"),
    [
        ((), ("seen", "diagnosed", "outcome", "declined")),
        (("informed",), ("informed", "diagnosed", "outcome")),
        (("informed", "referred", "seen"), ("outcome", "referred")),
    ],
)
async def test_only_the_next_step_or_one_that_the_rule_lets_skip_is_taken(
    session: AsyncSession, way: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    row, worker = await referral(session, await given.attended(session)), await given.worker(session)
    needs = {
        "diagnosed": {"diagnosis": "excluded"},
        "outcome": {"outcome": "other"},
        "declined": {"reason": "cost"},
    }
    for name in way:
        row = await step(session, worker, row, name)
    for name in refused:
        with pytest.raises(StepNotAllowed):
            await step(session, worker, row, name, **needs.get(name, {}))


@pytest.mark.parametrize("way", [("informed",), ("informed", "referred", "seen")])
async def test_who_declines_says_why_and_is_left_alone(session: AsyncSession, way: tuple[str, ...]) -> None:
    """Also the diagnosis, when she was seen."""
    row, worker = await referral(session, await given.attended(session)), await given.worker(session)
    for name in way:
        row = await step(session, worker, row, name)
    row = await step(session, worker, row, "declined", reason="goes_elsewhere")
    assert (row.status, (row.outcome or {})["reason"]) == (S.DONE, "goes_elsewhere")


async def test_a_step_lies_between_the_one_before_and_today_and_says_no_sex(session: AsyncSession) -> None:
    row, worker = await referral(session, await given.attended(session)), await given.worker(session)
    for day in (clock.today() + timedelta(days=1), clock.today() - timedelta(days=21)):
        with pytest.raises(Invalid):
            await step(session, worker, row, "informed", on=day)
    for words in ({"note": "B 超提示男胎"}, {"place": "市医院，怀女胎"}):
        with pytest.raises(FoetalSexRefused):
            await step(session, worker, row, "informed", **words)
    seen = row.version
    await step(session, worker, row, "informed")
    record = ReferralRecord(step="referred", on=clock.today())
    with pytest.raises(StaleVersion):
        await follow_ups.take_step(session, worker, follow_up_id=row.id, version=seen, said=record)


@pytest.mark.parametrize(
    "said",
    [
        {"step": "diagnosed"},
        {"step": "outcome"},
        {"step": "declined"},
        {"step": "informed", "diagnosis": "excluded"},
        {"step": "seen", "organization_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08"},
        {"step": "flagged"},
    ],
)
def test_a_step_says_all_that_belongs_to_it_and_nothing_else(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReferralRecord.model_validate({"on": date(2026, 5, 1), **said})


async def test_another_kind_has_no_steps(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    row = await one(session, await post(session, attended, body(attended)), K.EARLY_PREGNANCY)
    with pytest.raises(NotAReferral):
        await step(session, worker, row, "informed")


async def test_the_hospital_that_receives_a_referral_says_what_it_found(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    other = await given.clinic(session)
    row = await referral(session, attended)
    with pytest.raises(NotFound):
        await step(session, other.actor, row, "seen")
    row = await step(session, worker, row, "informed")
    row = await step(session, worker, row, "referred", organization_id=other.organization.id)

    (shown,) = await follow_ups.list_referred(session, other.actor, after=None, limit=10)
    assert (shown.id, shown.name, shown.risk_class) == (row.id, "李秀英", "X")
    looks = select(AuditEvent.actor_id).filter_by(entity="follow_up", action="read", person_id=row.person_id)
    assert list(await session.scalars(looks)) == [other.organization.id]
    assert await follow_ups.list_referred(session, attended.partner, after=None, limit=10) == []
    row = await step(session, other.actor, row, "seen")
    row = await step(session, other.actor, row, "diagnosed", diagnosis="excluded")
    with pytest.raises(StepNotAllowed):
        await step(session, other.actor, row, "outcome", outcome="no_action_needed")
    assert await actions(session, row) == [A.OPENED, *[A.STEPPED] * 4]


async def withdraw(session: AsyncSession, person_id: uuid.UUID) -> None:
    for consent in await session.scalars(select(Consent).where(Consent.person_id == person_id)):
        consent.withdrawn_at = clock.now()
    await session.flush()


async def test_without_her_consent_no_hospital_learns_of_her(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    row, wife = await referral(session, attended), attended.spouses.wife
    row = await step(session, worker, row, "informed")
    row = await step(session, worker, row, "referred", organization_id=attended.hospital.organization.id)
    assert len(await follow_ups.list_referred(session, attended.partner, after=None, limit=10)) == 1

    await withdraw(session, wife.id)
    assert await follow_ups.list_referred(session, attended.partner, after=None, limit=10) == []
    another = await given.attended(session)
    again = await step(session, worker, await referral(session, another), "informed")
    await withdraw(session, another.spouses.wife.id)
    with pytest.raises(Conflict) as refused:
        await step(session, worker, again, "referred", organization_id=attended.hospital.organization.id)
    assert refused.value.slug() == "consent-required"


@pytest.mark.parametrize("keep", [True, False])
async def test_what_was_begun_and_is_no_longer_called_for_is_for_people_to_decide(
    session: AsyncSession, keep: bool
) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    posted = body(attended, wife=SEVERE)
    accepted = await post(session, attended, posted)
    row = await step(session, worker, await one(session, accepted, K.REFERRAL), "informed")
    with pytest.raises(NotDoubted):
        await follow_ups.decide_doubt(session, worker, follow_up_id=row.id, version=row.version, keep=keep)

    await post(session, attended, posted | {"version": 2, "status": "corrected", "wife": NORMAL_WIFE})
    row = await one(session, accepted, K.REFERRAL)
    assert (row.status, row.step, row.doubted_at is not None) == (S.IN_PROGRESS, R.INFORMED, True)
    (listed,) = await follow_ups.list_due(
        session, worker, after=None, limit=10, wished=follow_ups.Wished(doubted=True)
    )
    assert (listed.id, listed.doubted) == (row.id, True)

    row = await follow_ups.decide_doubt(session, worker, follow_up_id=row.id, version=row.version, keep=keep)
    assert (row.status, row.doubted_at) == (S.IN_PROGRESS if keep else S.OBSOLETE, None)
    assert await actions(session, row) == [A.OPENED, A.STEPPED, A.DOUBTED, A.KEPT if keep else A.DROPPED]


async def test_what_is_called_for_again_is_no_longer_in_doubt(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    posted = body(attended, wife=SEVERE)
    accepted = await post(session, attended, posted)
    row = await step(session, worker, await one(session, accepted, K.REFERRAL), "informed")
    await post(session, attended, posted | {"version": 2, "status": "corrected", "wife": NORMAL_WIFE})
    await post(session, attended, posted | {"version": 3, "status": "corrected"})
    row = await one(session, accepted, K.REFERRAL)
    assert (row.status, row.doubted_at) == (S.IN_PROGRESS, None)


async def checked_again(session: AsyncSession, attended: Attended) -> Attended:
    """By another service, two months after the first."""
    row, long = attended.appointment, timedelta(days=60)
    row.starts_at, row.ends_at = row.starts_at - long, row.ends_at - long
    await session.flush()
    return await given.attended(session, spouses=attended.spouses, service_code=given.FERTILITY)


async def twice(session: AsyncSession, *, first_last: bool) -> tuple[FollowUp, Attended, dict[str, Any]]:
    """A report with a high TSH, and a later one of the same couple, in either order of arrival."""
    attended = await given.attended(session)
    again = await checked_again(session, attended)
    early = body(attended, wife=HIGH_TSH, issued_at=(clock.now() - timedelta(days=60)).isoformat())
    late = body(again, wife=[{"code": "tsh", "value": 2.2, "unit": "mIU/L"}], husband=[])
    order = [(again, late), (attended, early)] if first_last else [(attended, early), (again, late)]
    answers = {id(posted): await post(session, to, posted) for to, posted in order}
    return await one(session, answers[id(early)], K.RECHECK), again, late


@pytest.mark.parametrize("first_last", [False, True])
async def test_a_later_report_that_measures_the_item_ends_a_recheck_whichever_comes_first(
    session: AsyncSession, first_last: bool
) -> None:
    row, again, late = await twice(session, first_last=first_last)
    assert (row.status, row.topic, row.completed_by) == (S.DONE, "tsh", None)
    assert (await actions(session, row))[-1] is A.CLOSED_BY_REPORT

    await post(session, again, late | {"version": 2, "status": "entered_in_error"})
    await session.refresh(row)
    assert (row.status, row.closed_by_id, row.outcome) == (S.OPEN, None, None)
    assert (await actions(session, row))[-1] is A.REOPENED


async def test_a_person_s_word_about_a_recheck_stands(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    issued = (clock.now() - timedelta(days=60)).isoformat()
    row = await one(
        session, await post(session, attended, body(attended, wife=HIGH_TSH, issued_at=issued)), K.RECHECK
    )
    outcome: dict[str, Any] = {"kind": K.RECHECK, "result": "declined"}
    await follow_ups.complete(
        session, worker, follow_up_id=row.id, version=row.version, outcome=said(**outcome)
    )

    again = await checked_again(session, attended)
    await post(session, again, body(again, wife=[{"code": "tsh", "value": 2.2, "unit": "mIU/L"}], husband=[]))
    await session.refresh(row)
    assert (row.outcome, row.completed_by, row.closed_by_id) == (outcome, worker.id, None)


async def test_the_night_ends_what_two_reports_at_one_moment_left_open(session: AsyncSession) -> None:
    row, _, _ = await twice(session, first_last=False)
    row.status, row.closed_by_id, row.outcome, row.completed_at = S.OPEN, None, None, None
    await session.commit()
    assert await rechecks.sweep() == 1
    assert await rechecks.sweep() == 0
    await session.refresh(row)
    assert row.status is S.DONE


async def test_a_recheck_is_due_when_its_rule_says(session: AsyncSession) -> None:
    attended = await given.attended(session)
    with time_machine.travel(clock.now().replace(hour=4), tick=False):
        row = await one(session, await post(session, attended, body(attended, wife=HIGH_TSH)), K.RECHECK)
        assert (row.due_on, row.status) == (clock.today() + timedelta(days=90), S.OPEN)
