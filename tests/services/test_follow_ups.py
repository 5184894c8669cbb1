from datetime import date, timedelta
from typing import Any

import pytest
import time_machine
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Invalid, NotFound, StaleVersion
from app.models.audit import AuditEvent
from app.models.follow_ups import FollowUp, FollowUpEvent, FollowUpKind, FollowUpStatus
from app.models.identity import Role
from app.services import follow_ups
from app.services.follow_ups import AlreadyStarted, NotLive, Outcome, Wished
from app.services.follow_ups.rules import FollowUpRules
from tests import clients
from tests.factories import appointments as given
from tests.factories.appointments import Attended
from tests.factories.follow_ups import TOLD, of, one, said
from tests.factories.results import NORMAL_HUSBAND, NORMAL_WIFE, body, post, with_value

K, S = FollowUpKind, FollowUpStatus
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
HBSAG = with_value(NORMAL_WIFE, "hbsag", "positive")
RECHECK = {"kind": "recheck", "days": 90, "retry_days": 30, "when": ["C"], "who": "wife", "source": "约定"}
REFERRAL = RECHECK | {
    "kind": "referral", "steps": {"referred": 14, "seen": 30, "diagnosed": 30, "outcome": 90},
}  # fmt: skip


def called_for(rows: list[FollowUp], attended: Attended) -> dict[tuple[str, FollowUpKind], int]:
    """Who, what, and in how many days."""
    today = clock.today()
    names = {attended.spouses.wife.id: "wife", attended.spouses.husband.id: "husband"}
    return {
        (names[row.person_id], row.kind): (row.due_on - today).days
        for row in rows
        if row.status is not S.OBSOLETE
    }


EVERYONE = {
    ("wife", K.RESULT_TOLD): 7,
    ("husband", K.RESULT_TOLD): 7,
    ("wife", K.EARLY_PREGNANCY): 84,
    ("wife", K.OUTCOME): 322,
}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({}, {}),
        ({"husband": with_value(NORMAL_HUSBAND, "smoking", "yes")}, {}),
        ({"wife": HBSAG}, {("wife", K.COUNSELLING): 14}),
        (
            {"husband": with_value(NORMAL_HUSBAND, "genetic_disease_history", "yes")},
            {("husband", K.COUNSELLING): 14, ("husband", K.REFERRAL): 7},
        ),
        (
            {"stated_risk": "D"},
            {
                (who, kind): days
                for who in ("wife", "husband")
                for kind, days in ((K.COUNSELLING, 14), (K.REFERRAL, 7))
            },
        ),
    ],
    ids=["general", "A", "C", "D", "stated by the hospital alone"],
)
async def test_a_released_result_opens_what_its_class_calls_for(
    session: AsyncSession, changes: dict[str, Any], more: dict[tuple[str, FollowUpKind], int]
) -> None:
    attended = await given.attended(session)
    with time_machine.travel(clock.now().replace(hour=4), tick=False):
        accepted = await post(session, attended, body(attended, **changes))
        assert called_for(await of(session, accepted), attended) == EVERYONE | more


async def test_a_result_on_its_way_opens_nothing(session: AsyncSession) -> None:
    attended = await given.attended(session)
    for status in ("registered", "partial", "preliminary"):
        assert await of(session, await post(session, attended, body(attended, status=status))) == []


async def test_an_amended_result_takes_back_what_nobody_has_touched(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended, wife=HBSAG)
    accepted = await post(session, attended, posted)

    later = (clock.now() - timedelta(minutes=5)).isoformat()
    await post(
        session,
        attended,
        posted | {"version": 2, "status": "corrected", "wife": NORMAL_WIFE, "issued_at": later},
    )
    counselling = await one(session, accepted, K.COUNSELLING)
    assert counselling.status is S.OBSOLETE

    await post(session, attended, posted | {"version": 3, "status": "amended"})
    assert (await one(session, accepted, K.COUNSELLING)).status is S.OPEN
    events = await session.scalars(select(FollowUpEvent.status).filter_by(follow_up_id=counselling.id))
    assert list(events) == [S.OPEN, S.OBSOLETE, S.OPEN]


async def test_due_dates_move_with_the_date_of_issue(session: AsyncSession) -> None:
    attended = await given.attended(session)
    issued = clock.now() - timedelta(days=20)
    posted = body(attended, issued_at=issued.isoformat())
    accepted = await post(session, attended, posted)
    before = {row.kind: row.due_on for row in await of(session, accepted)}

    moved = (issued + timedelta(days=3)).isoformat()
    await post(session, attended, posted | {"version": 2, "status": "amended", "issued_at": moved})

    after = {row.kind: row.due_on for row in await of(session, accepted)}
    assert after == {kind: due_on + timedelta(days=3) for kind, due_on in before.items()}


async def test_a_human_verdict_is_never_overwritten(session: AsyncSession) -> None:
    attended = await given.attended(session)
    worker = await given.worker(session)
    posted = body(attended, wife=HBSAG)
    accepted = await post(session, attended, posted)
    begun = await one(session, accepted, K.COUNSELLING)
    await follow_ups.start(session, worker, follow_up_id=begun.id, version=begun.version)
    told = next(row for row in await of(session, accepted) if row.kind is K.RESULT_TOLD)
    await follow_ups.complete(session, worker, follow_up_id=told.id, version=told.version, outcome=TOLD)

    await post(session, attended, posted | {"version": 2, "status": "entered_in_error"})

    statuses = {row.id: row.status for row in await of(session, accepted)}
    assert (statuses.pop(begun.id), statuses.pop(told.id)) == (S.IN_PROGRESS, S.DONE)
    assert set(statuses.values()) == {S.OBSOLETE}


async def test_a_worker_completes_what_was_read_and_only_once(session: AsyncSession) -> None:
    attended = await given.attended(session)
    worker = await given.worker(session)
    accepted = await post(session, attended, body(attended))
    row = next(row for row in await of(session, accepted) if row.kind is K.RESULT_TOLD)
    seen = row.version
    started = await follow_ups.start(session, worker, follow_up_id=row.id, version=seen)
    assert (started.status, started.version) == (S.IN_PROGRESS, seen + 1)

    with pytest.raises(StaleVersion):
        await follow_ups.complete(session, worker, follow_up_id=row.id, version=seen, outcome=TOLD)
    with pytest.raises(AlreadyStarted):
        await follow_ups.start(session, worker, follow_up_id=row.id, version=seen + 1)
    done = await follow_ups.complete(session, worker, follow_up_id=row.id, version=seen + 1, outcome=TOLD)
    assert (done.status, done.completed_by) == (S.DONE, worker.id)
    assert done.outcome == {"kind": "result_told", "told": True, "channel": "phone"}
    with pytest.raises(NotLive):
        await follow_ups.complete(session, worker, follow_up_id=row.id, version=seen + 2, outcome=TOLD)


async def test_the_outcome_has_the_form_of_its_kind_and_lies_in_the_past(session: AsyncSession) -> None:
    attended = await given.attended(session)
    worker = await given.worker(session)
    row = await one(session, await post(session, attended, body(attended)), K.OUTCOME)
    tomorrow = clock.today() + timedelta(days=1)
    born = OUTCOME.validate_python({"kind": K.OUTCOME, "result": "delivered", "ended_on": tomorrow})

    for outcome, pointer in ((TOLD, "/outcome/kind"), (born, "/outcome/ended_on")):
        with pytest.raises(Invalid) as refused:
            await follow_ups.complete(
                session, worker, follow_up_id=row.id, version=row.version, outcome=outcome
            )
        assert refused.value.errors is not None
        assert refused.value.errors[0]["pointer"] == pointer


async def test_a_pregnancy_found_at_a_visit_began_in_the_43_weeks_before_it(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    row = await one(session, await post(session, attended, body(attended)), K.EARLY_PREGNANCY)
    period = clock.today() - timedelta(days=302)

    async def complete(**visit: Any) -> FollowUp:
        found = said(K.EARLY_PREGNANCY, result="pregnant", last_menstrual_period=period, **visit)
        seen = {"follow_up_id": row.id, "version": row.version}
        return await follow_ups.complete(session, worker, outcome=found, **seen)

    for visit in ({}, {"visited_on": period - timedelta(days=1)}):
        with pytest.raises(Invalid):
            await complete(**visit)
    assert (await complete(visited_on=period + timedelta(days=60))).status is S.DONE


@pytest.mark.parametrize(
    "changes",
    [
        {"follow_ups": [RECHECK, RECHECK]},
        {"follow_ups": [REFERRAL | {"skips": [["seen", "informed"]]}]},
        {"follow_ups": [REFERRAL | {"skips": [["outcome", "lost"]]}]},
        {"follow_ups": [REFERRAL | {"steps": {"seen": 7}}]},
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FollowUpRules.model_validate(changes)


@pytest.mark.parametrize(
    "outcome",
    [
        {"kind": "outcome", "result": "delivered"},
        {"kind": "outcome", "result": "lost_to_follow_up", "ended_on": "2026-05-01"},
        {"kind": "outcome", "result": "lost"},
        {"kind": "outcome", "result": "other_outcome", "ended_on": "2026-05-01"},
        {"kind": "outcome", "result": "delivered", "ended_on": "2026-05-01", "other_outcome": "stillbirth"},
        {"kind": "outcome", "result": "delivered", "ended_on": "2026-05-01", "sex": "female"},
        {
            "kind": "outcome",
            "result": "delivered",
            "ended_on": "2026-05-01",
            "children": [{"born_alive": True, "sex": "f"}],
        },
        {"kind": "outcome", "result": "lost_to_follow_up", "children": [{"born_alive": True}]},
        {"kind": "outcome", "result": "delivered", "ended_on": "2026-05-01", "expected_on": "2026-06-01"},
        {"kind": "result_told", "told": True, "channel": "phone", "ended": "declined"},
        {"kind": "recheck", "result": "done_elsewhere"},
        {"kind": "early_pregnancy", "result": "ended"},
        {"kind": "early_pregnancy", "result": "pregnant"},
        {"kind": "early_pregnancy", "result": "pregnant", "foetal_sex": "male"},
        {"kind": "nothing"},
    ],
)
def test_no_outcome_is_half_said_or_says_the_sex(outcome: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OUTCOME.validate_python(outcome)


async def say(session: AsyncSession, row: FollowUp, **outcome: Any) -> FollowUp:
    """A worker says what came of it."""
    said = OUTCOME.validate_python({"kind": row.kind, **outcome})
    worker = await given.worker(session)
    return await follow_ups.complete(session, worker, follow_up_id=row.id, version=row.version, outcome=said)


SEVERE = with_value(NORMAL_WIFE, "severe_heart_disease", "yes")


@pytest.mark.parametrize(
    ("kind", "outcome", "again_in"),
    [
        (K.RESULT_TOLD, {"told": False, "channel": "phone"}, 7),
        (K.COUNSELLING, {"attended": False, "advice": "none"}, 14),
        (K.EARLY_PREGNANCY, {"result": "not_pregnant"}, 84),
        (K.OUTCOME, {"result": "not_yet"}, 14),
    ],
)
async def test_what_did_not_come_about_stays_open_with_a_new_due_date(
    session: AsyncSession, kind: FollowUpKind, outcome: dict[str, Any], again_in: int
) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended, wife=SEVERE))
    row = next(row for row in await of(session, accepted) if row.kind is kind)

    with time_machine.travel(clock.now() + timedelta(days=330), tick=False):
        tried = await say(session, row, **outcome)
        assert (tried.status, tried.completed_at) == (S.IN_PROGRESS, None)
        in_a_year = tried.created_at.astimezone(clock.SHANGHAI).date() + timedelta(days=365)
        expected = clock.today() + timedelta(days=again_in)
        assert tried.due_on == (min(expected, in_a_year) if kind is K.EARLY_PREGNANCY else expected)
    events = await session.scalars(select(FollowUpEvent.status).filter_by(follow_up_id=row.id))
    assert list(events) == [S.OPEN, S.IN_PROGRESS]


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (K.COUNSELLING, {"attended": True, "advice": "not_advised"}),
        (K.COUNSELLING, {"attended": False, "advice": "none", "ended": "declined"}),
        (K.RESULT_TOLD, {"told": False, "channel": "phone", "ended": "lost_to_follow_up"}),
        (K.EARLY_PREGNANCY, {"result": "lost_to_follow_up"}),
        (K.OUTCOME, {"result": "delivered", "ended_on": date(2026, 1, 5)}),
        (
            K.OUTCOME,
            {"result": "other_outcome", "other_outcome": "miscarriage", "ended_on": date(2026, 1, 5)},
        ),
        (K.OUTCOME, {"result": "lost_to_follow_up"}),
    ],
)
async def test_what_came_about_or_cannot_is_done(
    session: AsyncSession, kind: FollowUpKind, outcome: dict[str, Any]
) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended, wife=SEVERE))
    row = next(row for row in await of(session, accepted) if row.kind is kind)
    assert (await say(session, row, **outcome)).status is S.DONE


async def test_the_outcome_is_due_six_weeks_after_the_expected_birth(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended, issued_at=(clock.now() - timedelta(days=90)).isoformat())
    accepted = await post(session, attended, posted)
    period = clock.today() - timedelta(days=60)

    await say(
        session,
        await one(session, accepted, K.EARLY_PREGNANCY),
        result="pregnant",
        last_menstrual_period=period,
    )
    assert (await one(session, accepted, K.OUTCOME)).due_on == period + timedelta(days=280 + 42)

    moved = (clock.now() - timedelta(days=80)).isoformat()
    await post(session, attended, posted | {"version": 2, "status": "amended", "issued_at": moved})
    outcome = await one(session, accepted, K.OUTCOME)
    assert (outcome.status, outcome.due_on) == (S.OPEN, period + timedelta(days=280 + 42))


async def test_who_is_not_pregnant_is_asked_again_for_a_year_and_then_no_outcome_is_awaited(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    issued = clock.now()
    accepted = await post(session, attended, body(attended))

    with time_machine.travel(issued + timedelta(days=80), tick=False):
        early = await say(session, await one(session, accepted, K.EARLY_PREGNANCY), result="not_pregnant")
        assert early.due_on == clock.today() + timedelta(days=84)
        assert (await one(session, accepted, K.OUTCOME)).due_on == clock.today() + timedelta(days=322)
    with time_machine.travel(issued + timedelta(days=366), tick=False):
        early = await say(session, await one(session, accepted, K.EARLY_PREGNANCY), result="not_pregnant")
        assert early.status is S.DONE
        assert (await one(session, accepted, K.OUTCOME)).status is S.OBSOLETE


async def test_the_list_shows_the_most_urgent_first_with_masked_names(session: AsyncSession) -> None:
    attended = await given.attended(session)
    worker = await given.worker(session, given.REGION)
    issued = (clock.now() - timedelta(days=10)).isoformat()
    await post(session, attended, body(attended, issued_at=issued))

    first = await follow_ups.list_due(session, worker, after=None, limit=2)
    assert {row.name for row in first} == {"李*英", "王*军"}
    assert all(row.overdue for row in first)
    last = first[-1]
    rest = await follow_ups.list_due(session, worker, after=(last.due_on, last.id), limit=10)
    assert [row.kind for row in rest] == [K.EARLY_PREGNANCY, K.OUTCOME]
    assert (
        len(await follow_ups.list_due(session, worker, after=None, limit=10, wished=Wished(overdue=True)))
        == 2
    )
    assert (
        len(await follow_ups.list_due(session, worker, after=None, limit=10, wished=Wished(overdue=False)))
        == 2
    )
    assert (
        await follow_ups.list_due(session, worker, after=None, limit=10, wished=Wished(status=S.DONE)) == []
    )


async def test_another_region_and_the_other_spouse_see_none_of_it(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    row = await one(session, accepted, K.OUTCOME)
    elsewhere = await given.worker(session, "640200000000")
    assert await follow_ups.list_due(session, elsewhere, after=None, limit=10) == []
    with pytest.raises(NotFound):
        await follow_ups.start(session, elsewhere, follow_up_id=row.id, version=1)

    own = await follow_ups.list_own(session, attended.husband, after=None, limit=10)
    assert [row.kind for row in own] == [K.RESULT_TOLD]


async def test_a_worker_takes_one_on_and_completes_it_at_the_door(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    row = await one(session, accepted, K.EARLY_PREGNANCY)
    await session.commit()
    worker = await clients.staff_client(session, Role.VILLAGE_WORKER)
    path = f"/staff/v1/follow-ups/{row.id}"

    listed = await worker.get("/staff/v1/follow-ups", params={"limit": 1})
    assert listed.json()["next"] is not None
    started = await worker.post(f"{path}/start", json={"version": row.version})
    period = (clock.today() - timedelta(days=60)).isoformat()
    outcome = {
        "kind": "early_pregnancy",
        "result": "pregnant",
        "last_menstrual_period": period,
        "folic_acid": 1,
    }
    done = await worker.post(
        f"{path}/complete", json={"version": started.json()["version"], "outcome": outcome}
    )
    assert done.status_code == 200, done.text
    detail = await worker.get(path, headers={"Purpose": "follow_up"})
    assert [event["status"] for event in detail.json()["events"]] == ["open", "in_progress", "done"]
    assert date.fromisoformat(detail.json()["follow_up"]["outcome"]["last_menstrual_period"])


async def test_a_worker_learns_how_to_reach_the_person_for_a_purpose_and_the_file_says_so(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    wife, household = attended.spouses.wife, attended.spouses.household
    wife.phone, household.address = "13912345678", "凤凰北街 8 号"
    row = await one(session, await post(session, attended, body(attended)), K.EARLY_PREGNANCY)
    await session.commit()
    worker = await clients.staff_client(session, Role.VILLAGE_WORKER)
    path, purpose = f"/staff/v1/follow-ups/{row.id}", {"Purpose": "follow_up"}

    detail = (await worker.get(path, headers=purpose)).json()
    assert (detail["name"], detail["household_id"]) == ("李*英", str(household.id))
    assert (await worker.post(f"{path}/contact")).status_code == 422
    contact = await worker.post(f"{path}/contact", headers=purpose)
    assert contact.json() == {"name": "李秀英", "phone": "13912345678", "address": "凤凰北街 8 号"}

    looks = select(AuditEvent.purpose).filter_by(action="read_unmasked", person_id=wife.id, entity_id=row.id)
    assert list(await session.scalars(looks)) == ["follow_up"]
    supervisor = await clients.staff_client(session, Role.SUPERVISOR)
    assert (await supervisor.post(f"{path}/contact", headers=purpose)).status_code == 403
    elsewhere = await clients.staff_client(session, Role.VILLAGE_WORKER, "640200000000")
    assert (await elsewhere.post(f"{path}/contact", headers=purpose)).status_code == 404
