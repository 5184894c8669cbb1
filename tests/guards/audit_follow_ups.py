"""Follow-ups and supplies, played: every change leaves its trace."""

import secrets
from copy import copy
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.callers import Caller
from app.journey import couple
from app.models.identity import Role
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_follow_ups(story: Played, session: AsyncSession) -> None:
    """A couple at high risk: handed over and back, referred to the hospital, a doubt decided, folic acid."""
    story = copy(story)  # what follows is about others
    story.wife, story.husband = couple()
    await story.sign_in_and_register()
    seen = {"version": story.household["version"]}
    await story.village_worker.call("POST", f"/households/{story.household['id']}/verify", seen)
    await story.consent_and_qualify()
    await story.book()
    await story.attend()
    posted = await report(story)
    officer = await colleague(story, session, Role.TOWNSHIP_OFFICER)
    tasks = {task["kind"]: task for task in await due(story, posted)}

    task = await officer.call(
        "POST", path(tasks["referral"], "take"), {"version": tasks["referral"]["version"]}
    )
    workers = (await officer.call("GET", "/follow-ups/workers?limit=100"))["items"]
    to = next(one["id"] for one in workers if one["role"] == "village_worker")
    task = await officer.call("POST", path(task, "hand-over"), {"version": task["version"], "to": to})
    task = await step(officer, task, "informed", note="愿意就诊")
    ours = (await story.hospital.call("GET", "/ping"))["organization"]["id"]
    task = await step(officer, task, "referred", organization_id=ours)
    referred = (await story.hospital.call("GET", "/referrals"))["items"]
    shown = next(one for one in referred if one["id"] == task["id"])
    answer = {"version": shown["version"], "step": {"step": "seen", "on": clock.today().isoformat()}}
    await story.hospital.call("POST", f"/referrals/{shown['id']}/steps", answer)

    await correct(story, posted)
    doubted = (await officer.call("GET", "/follow-ups?doubted=true"))["items"]
    task = next(one for one in doubted if one["id"] == task["id"])
    await officer.call("POST", path(task, "doubt"), {"version": task["version"], "keep": False})
    await the_supplies(story, officer)


def path(task: dict[str, Any], verb: str) -> str:
    return f"/follow-ups/{task['id']}/{verb}"


async def due(story: Played, posted: dict[str, Any]) -> list[dict[str, Any]]:
    listed = (await story.village_worker.call("GET", "/follow-ups?limit=100"))["items"]
    return [task for task in listed if task["report_id"] == posted["report_id"]]


async def step(caller: Caller, task: dict[str, Any], name: str, **more: Any) -> Any:
    said = {"step": name, "on": clock.today().isoformat(), **more}
    return await caller.call("POST", path(task, "steps"), {"version": task["version"], "step": said})


def severe(story: Played, value: str, version: int, external_id: str) -> dict[str, Any]:
    return {
        "external_id": external_id, "version": version, "status": "final" if version == 1 else "corrected",
        "appointment_id": story.appointment["id"], "issued_at": clock.now().isoformat(),
        "wife": [{"code": "severe_heart_disease", "value": value}], "husband": [{"code": "smoking", "value": "no"}],
    }  # fmt: skip


async def report(story: Played) -> dict[str, Any]:
    body = severe(story, "yes", 1, f"LIS-{secrets.token_hex(6)}")
    posted: dict[str, Any] = await story.hospital.call("POST", "/reports", body)
    return posted


async def correct(story: Played, posted: dict[str, Any]) -> None:
    await story.hospital.call("POST", "/reports", severe(story, "no", 2, posted["external_id"]))


async def the_supplies(story: Played, officer: Caller) -> None:
    person = (await story.wife_caller.call("GET", "/me"))["id"]
    plan = await officer.create(
        "/supply-plans", {"person_id": person, "starts_on": clock.today().isoformat()}
    )
    given = {"given_on": clock.today().isoformat(), "months": 2, "quantity": 2, "batch": "YS2026"}
    made = await officer.create(
        f"/supply-plans/{plan['id']}/hand-outs", {"version": plan["version"], "given": given}
    )
    body = {"version": made["version"], "reason": "no_longer_needed"}
    await officer.call("POST", f"/supply-plans/{plan['id']}/end", body)
