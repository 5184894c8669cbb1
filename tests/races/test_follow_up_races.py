"""Follow-ups on real commits: one of two wins, and nothing that a person has begun is lost to a report."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app import clock, db, errors
from app.access import Actor
from app.models.follow_ups import FollowUp, FollowUpAction, FollowUpEvent, FollowUpKind, FollowUpStatus
from app.models.messages import InboxMessage, NoticeKind
from app.services import follow_ups
from app.services.follow_ups import escalation, rechecks
from tests.factories import appointments as made
from tests.factories.follow_ups import one
from tests.factories.results import NORMAL_WIFE, body, post, with_value

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS, K, S = 4, FollowUpKind, FollowUpStatus
SEVERE = with_value(NORMAL_WIFE, "severe_heart_disease", "yes")
HIGH_TSH = with_value(NORMAL_WIFE, "tsh", 9.8, unit="mIU/L", range_low=0.35, range_high=4.94)


async def outcomes(*calls):
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(
        errors.to_problem(answer).slug() if isinstance(answer, Exception) else "done" for answer in answers
    )


async def alone(call, *args, **named):
    async with db.begin() as session:
        return await call(session, *args, **named)


async def reported(**changes):
    async with db.begin() as session:
        attended = await made.attended(session)
        posted = body(attended, **changes)
        return attended, posted, await post(session, attended, posted)


async def test_of_two_who_take_the_same_one_has_it():
    async with db.begin() as session:
        workers = [await made.worker(session, made.REGION) for _ in range(2)]
    for _ in range(ROUNDS):
        _, _, accepted = await reported()
        row = await alone(one, accepted, K.EARLY_PREGNANCY)
        took = [
            alone(follow_ups.take, worker, follow_up_id=row.id, version=row.version) for worker in workers
        ]
        assert await outcomes(*took) == {"done": 1, "stale-version": 1}
        row = await alone(one, accepted, K.EARLY_PREGNANCY)
        assert row.assignee_id in {worker.id for worker in workers}


async def test_a_correction_takes_back_what_nobody_began_or_marks_what_somebody_did():
    async with db.begin() as session:
        worker = await made.worker(session, made.REGION)
    for _ in range(ROUNDS):
        attended, posted, accepted = await reported(wife=SEVERE)
        row = await alone(one, accepted, K.COUNSELLING)
        normal = posted | {"version": 2, "status": "corrected", "wife": NORMAL_WIFE}
        answers = await asyncio.gather(
            alone(follow_ups.start, worker, follow_up_id=row.id, version=row.version),
            alone(post, attended, normal),
            return_exceptions=True,
        )
        row = await alone(one, accepted, K.COUNSELLING)
        if isinstance(answers[0], Exception):
            assert errors.to_problem(answers[0]).slug() == "stale-version"
            assert (row.status, row.doubted_at) == (S.OBSOLETE, None)
        else:
            assert (row.status, row.doubted_at is None) == (S.IN_PROGRESS, False)


async def test_two_jobs_escalate_each_deadline_once():
    system = Actor.system("test")
    issued = (clock.now() - timedelta(days=30)).isoformat()
    for _ in range(3):
        await reported(issued_at=issued)
    done = await asyncio.gather(*(alone(escalation.escalate, system) for _ in range(3)))
    async with db.begin() as session:
        per_row = select(func.count()).where(FollowUpEvent.action == FollowUpAction.ESCALATED)
        counts = list(await session.scalars(per_row.group_by(FollowUpEvent.follow_up_id)))
        notices = select(func.count()).where(InboxMessage.kind == NoticeKind.CONTACT_REQUESTED)
        told = await session.scalar(notices)
    assert (sum(done), counts, told) == (6, [1] * 6, 6)


async def test_two_reports_of_one_woman_at_one_moment_end_the_recheck_after_all():
    for _ in range(ROUNDS):
        async with db.begin() as session:
            first = await made.attended(session)
            row, long = first.appointment, timedelta(days=60)
            row.starts_at, row.ends_at = row.starts_at - long, row.ends_at - long
            await session.flush()
            again = await made.attended(session, spouses=first.spouses, service_code=made.FERTILITY)
        early = body(first, wife=HIGH_TSH, issued_at=(clock.now() - long).isoformat())
        late = body(again, wife=[{"code": "tsh", "value": 2.2, "unit": "mIU/L"}], husband=[])
        accepted, _ = await asyncio.gather(alone(post, first, early), alone(post, again, late))
        await rechecks.sweep()
        assert (await alone(one, accepted, K.RECHECK)).status is S.DONE
        async with db.begin() as session:
            await session.execute(update(FollowUp).values(status=S.OBSOLETE))
