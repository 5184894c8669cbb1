"""A result at high risk, followed to its outcome: told, referred, seen, diagnosed, and what became of the pregnancy."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.callers import Caller, Refused
from app.journey import Story
from app.models.follow_ups import FollowUp, FollowUpStatus

TODAY = clock.today()


async def high_risk(story: Story) -> dict[str, Any]:
    body = {
        "external_id": f"LIS-{secrets.token_hex(6)}", "version": 1, "status": "final",
        "appointment_id": story.appointment["id"], "issued_at": clock.now().isoformat(),
        "wife": [{"code": "smoking", "value": "no"}],
        "husband": [{"code": "genetic_disease_history", "value": "yes"}],
    }  # fmt: skip
    posted: dict[str, Any] = await story.hospital.call("POST", "/reports", body, expect=201)
    return posted


async def tasks(worker: Caller, posted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the husband where there is one, else of the wife."""
    listed = (await worker.call("GET", "/follow-ups?limit=100"))["items"]
    own = [task for task in listed if task["report_id"] == posted["report_id"]]
    return {task["kind"]: task for task in sorted(own, key=lambda task: task["name"].startswith("李"))}


async def say(worker: Caller, task: dict[str, Any], **outcome: Any) -> dict[str, Any]:
    body = {"version": task["version"], "outcome": {"kind": task["kind"], **outcome}}
    said: dict[str, Any] = await worker.call("POST", f"/follow-ups/{task['id']}/complete", body)
    return said


async def step(caller: Caller, path: str, version: int, name: str, **more: Any) -> int:
    body = {"version": version, "step": {"step": name, "on": TODAY.isoformat(), **more}}
    seen: int = (await caller.call("POST", f"{path}/steps", body))["version"]
    return seen


async def test_a_high_risk_result_is_followed_to_its_outcome(story: Story, records: AsyncSession) -> None:
    # Given a couple that was examined,
    await story.sign_in_and_register()
    await story.verify("worker_gao")
    await story.consent_and_qualify()
    await story.book()
    await story.attend()
    worker = story.village_worker

    # when the report finds a hereditary risk in the husband,
    posted = await high_risk(story)

    # then he is to be told, counselled and referred, and each knows what to expect, in words that say no result;
    due = await tasks(worker, posted)
    assert set(due) == {"result_told", "counselling", "referral", "early_pregnancy", "outcome"}
    assert due["referral"]["step"] == "flagged"
    own = (await story.husband_caller.call("GET", "/follow-ups"))["items"]
    assert {row["kind"]: row["expect_zh"] for row in own}["referral"] == "工作人员会陪同您安排进一步检查"

    # when the worker tells and counsels him, and refers him to the hospital,
    await say(worker, due["result_told"], told=True, channel="home_visit")
    await say(worker, due["counselling"], attended=True, advice="prenatal_diagnosis")
    path = f"/follow-ups/{due['referral']['id']}"
    with pytest.raises(Refused, match="step-not-allowed"):
        await step(worker, path, due["referral"]["version"], "outcome", outcome="treated")
    version = await step(worker, path, due["referral"]["version"], "informed", note="夫妻二人愿意前往")
    ours = (await story.hospital.call("GET", "/ping"))["organization"]["id"]
    await step(worker, path, version, "referred", organization_id=ours, place="遗传咨询门诊")

    # then the hospital sees who is to come, and says what it found;
    referred = (await story.hospital.call("GET", "/referrals?limit=100"))["items"]
    [shown] = [one for one in referred if one["id"] == due["referral"]["id"]]
    assert (shown["name"], shown["step"]) == (story.husband.name, "referred")
    there = f"/referrals/{shown['id']}"
    version = await step(story.hospital, there, shown["version"], "seen")
    version = await step(story.hospital, there, version, "diagnosed", diagnosis="excluded")

    # when she is pregnant, and it ends early, all is concluded.
    await step(worker, path, version, "outcome", outcome="no_action_needed")
    period = TODAY - timedelta(days=60)
    said = {"last_menstrual_period": period.isoformat(), "folic_acid": 1, "period_certain": True}
    early = await say(worker, due["early_pregnancy"], result="pregnant", **said)
    assert early["status"] == "done"
    last = (await tasks(worker, posted))["outcome"]
    assert last["due_on"] == (period + timedelta(days=280 + 42)).isoformat()
    ended = {"result": "other_outcome", "other_outcome": "miscarriage", "ended_on": TODAY.isoformat()}
    assert (await say(worker, last, **ended, gestation_weeks=8))["status"] == "done"
    rows = await records.scalars(select(FollowUp).where(FollowUp.report_id == posted["report_id"]))
    left = [row for row in rows if row.status is not FollowUpStatus.DONE]
    assert [row.kind for row in left] == ["result_told"], "the wife is still to be told"

    # He reads who wrote what, and that the hospital looked.
    log = (await story.husband_caller.call("GET", "/me/access-log?limit=50"))["items"]
    assert ("partner", "read", "follow_up") in {(r["actor_role"], r["action"], r["entity"]) for r in log}
    steps = (await worker.call("GET", path, headers={"Purpose": "follow_up"}))["events"]
    assert [one["step"] for one in steps if one["step"]] == [
        "informed",
        "referred",
        "seen",
        "diagnosed",
        "outcome",
    ]
    assert {one["note"] for one in steps if one["note"]} == {"夫妻二人愿意前往"}
