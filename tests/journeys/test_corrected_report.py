"""A hospital corrects its report: what nobody has touched follows the new version, what somebody began is for people to
decide, what somebody concluded stands. The couple reads the new version, and that it is one."""

import secrets
from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.callers import Caller, Refused
from app.journey import Story

PURPOSE = {"Purpose": "follow_up"}
#: Whose task, and which: "W" of the wife, "H" of the husband.
Tasks = dict[tuple[str, str], dict[str, Any]]


async def examined(story: Story) -> None:
    await story.sign_in_and_register()
    await story.verify("worker_ding")
    await story.consent_and_qualify()
    slot = await story.publish()
    story.appointment = await story.wife_caller.create("/appointments", {"slot_id": slot["id"]})
    await story.attend()


def report(story: Story, number: str, version: int, **more: Any) -> dict[str, Any]:
    return {
        "external_id": number, "version": version, "appointment_id": story.appointment["id"],
        "issued_at": clock.now().isoformat(), **more,
    }  # fmt: skip


def inherited(value: str) -> dict[str, Any]:
    return {"code": "genetic_disease_history", "value": value}


def thyroid(value: float) -> dict[str, Any]:
    return {"code": "tsh", "value": value, "unit": "mIU/L", "range_low": 0.35, "range_high": 4.94}


async def tasks(story: Story, report_id: str, query: str = "") -> Tasks:
    """Of this report; those to be done unless the query says otherwise."""
    listed = (await story.village_worker.call("GET", f"/follow-ups?limit=100{query}"))["items"]
    own = [task for task in listed if task["report_id"] == report_id]
    return {("W" if task["name"].startswith(story.wife.name[0]) else "H", task["kind"]): task for task in own}


async def read(worker: Caller, task: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = await worker.call("GET", f"/follow-ups/{task['id']}", headers=PURPOSE)
    return found


async def test_a_corrected_report_opens_and_closes_follow_ups(story: Story) -> None:
    # Given a couple whose report says that both have a hereditary disease in the family,
    await examined(story)
    worker, number = story.village_worker, f"LIS-{secrets.token_hex(6)}"
    first = report(story, number, 1, status="final", wife=[inherited("yes")], husband=[inherited("yes")])
    id = (await story.hospital.call("POST", "/reports", first, expect=201))["report_id"]
    due = await tasks(story, id)
    assert set(due) == {
        ("W", "result_told"), ("W", "counselling"), ("W", "referral"), ("W", "early_pregnancy"), ("W", "outcome"),
        ("H", "result_told"), ("H", "counselling"), ("H", "referral"),
    }  # fmt: skip
    sheet = await story.husband_caller.call("GET", f"/reports/{id}")
    assert (sheet["status"], sheet["version"], sheet["risk"]["risk_class"]) == ("final", 1, "D")

    # of which the worker has counselled the husband, and begun to refer him,
    advised = {"kind": "counselling", "attended": True, "advice": "prenatal_diagnosis"}
    path = f"/follow-ups/{due['H', 'counselling']['id']}/complete"
    await worker.call("POST", path, {"version": due["H", "counselling"]["version"], "outcome": advised})
    path = f"/follow-ups/{due['H', 'referral']['id']}"
    told = {"step": "informed", "on": clock.today().isoformat()}
    await worker.call("POST", f"{path}/steps", {"version": due["H", "referral"]["version"], "step": told})

    # when the hospital corrects it: that was another couple's history, and the wife's thyroid value was missing,
    second = report(
        story, number, 2, status="corrected", wife=[inherited("no"), thyroid(8.0)], husband=[inherited("no")]
    )
    answer = await story.hospital.call("POST", "/reports", second, expect=201)
    assert (answer["report_id"], answer["state"], answer["current_version"]) == (id, "accepted", 2)

    # then what nobody had touched is as the new version asks for: no referral of hers, and a recheck;
    now = await tasks(story, id)
    assert set(now) == {
        ("W", "result_told"), ("W", "counselling"), ("W", "recheck"), ("W", "early_pregnancy"), ("W", "outcome"),
        ("H", "result_told"), ("H", "referral"),
    }  # fmt: skip
    assert now["W", "recheck"]["due_on"] == (clock.today() + timedelta(days=90)).isoformat()
    assert set(await tasks(story, id, "&status=obsolete")) == {("W", "referral")}
    assert now["W", "counselling"]["id"] == due["W", "counselling"]["id"]

    # the worker's verdict stands as it was written,
    kept = await read(worker, due["H", "counselling"])
    assert (kept["follow_up"]["status"], kept["follow_up"]["outcome"]["advice"]) == (
        "done",
        "prenatal_diagnosis",
    )
    assert [event["action"] for event in kept["events"]] == ["opened", "completed"]

    # and what she had begun goes on until she says otherwise, and nothing else can be dropped.
    doubted = await tasks(story, id, "&doubted=true")
    assert set(doubted) == {("H", "referral")}
    assert doubted["H", "referral"]["status"] == "in_progress"
    drop = {"version": now["W", "recheck"]["version"], "keep": False}
    with pytest.raises(Refused, match="not-doubted"):
        await worker.call("POST", f"/follow-ups/{now['W', 'recheck']['id']}/doubt", drop)
    drop = {"version": doubted["H", "referral"]["version"], "keep": False}
    assert (await worker.call("POST", f"{path}/doubt", drop))["status"] == "obsolete"
    gone = await read(worker, due["H", "referral"])
    assert [event["action"] for event in gone["events"]] == ["opened", "stepped", "doubted", "dropped"]
    assert gone["events"][-1]["actor_role"] == "village_worker"
    assert set(await tasks(story, id, "&status=obsolete")) == {("W", "referral"), ("H", "referral")}

    # The first version, sent again, changes nothing;
    await story.hospital.call("POST", "/reports", first, expect=200)
    assert (await story.hospital.call("GET", f"/reports/{number}"))["current_version"] == 2
    # and both are told of the change, and read the corrected version, and that it is corrected.
    for caller in (story.wife_caller, story.husband_caller):
        about = [one for one in (await caller.call("GET", "/messages"))["items"] if one["entity_id"] == id]
        assert [one["kind"] for one in about] == ["report_changed", "report_released"]
        assert [one["status"] for one in (await caller.call("GET", "/reports"))["items"]] == ["corrected"]
        sheet = await caller.call("GET", f"/reports/{id}")
        assert (sheet["status"], sheet["version"], sheet["risk"]["risk_class"]) == ("corrected", 2, "C")
        assert [finding["code"] for finding in sheet["risk"]["findings"]] == ["tsh"]
    printed = await story.http.get(f"/citizen/v1/reports/{id}/page", headers=story.wife_caller.headers)
    assert "更正" in printed.text
    expected = {row["kind"] for row in (await story.husband_caller.call("GET", "/follow-ups"))["items"]}
    assert expected == {"result_told", "counselling"}
