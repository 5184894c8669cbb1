"""Two workers open the same household: the second to save is shown both versions (issue 3)."""

import secrets

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.callers import Refused
from app.journey import Story
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import Household

PURPOSE = {"Purpose": "registry_upkeep"}


async def test_the_second_of_two_workers_sees_both_versions(story: Story, records: AsyncSession) -> None:
    # Given a verified household that two workers have open in the same version,
    await story.sign_in_and_register()
    await story.verify("worker_xin")
    first = story.village_worker
    second = await story.worker("township_officer")
    path = f"/households/{story.household['id']}"
    seen = [await worker.call("GET", path, headers=PURPOSE) for worker in (first, second)]
    assert seen[0]["version"] == seen[1]["version"]

    # when the first saves a new address,
    number = secrets.randbelow(900) + 100
    theirs, mine = f"凤凰北街 {number} 号 3 单元 201", f"凤凰北街 {number} 号 4 单元 502"
    body = {"version": seen[0]["version"], "address": theirs}
    saved = await first.call("PATCH", path, body, headers=PURPOSE)
    assert saved["version"] == seen[0]["version"] + 1

    # then the second is refused and shown what it is now (masked), what was sent, who changed it and when;
    body = {"version": seen[1]["version"], "address": mine}
    with pytest.raises(Refused) as refusal:
        await second.call("PATCH", path, body, headers=PURPOSE)
    problem = refusal.value.problem
    assert (problem["status"], problem["type"].rpartition(":")[2]) == (409, "stale-version")
    assert problem["current_version"] == saved["version"]
    assert problem["current"]["address"] == "凤凰北街***"
    assert problem["current"]["status"] == "active"
    assert problem["yours"] == {"address": mine}
    assert problem["differs"] == ["address"]
    assert problem["changed_by_role"] == "village_worker"
    assert problem["changed_at"] > saved["submitted_at"]
    assert theirs not in refusal.value.answer.text

    # and nothing of the second is stored; who looks at the new version may save;
    row = await records.get_one(Household, story.household["id"])
    assert row.address == theirs
    again = {"version": problem["current_version"], "address": mine}
    await second.call("PATCH", path, again, headers=PURPOSE)

    # and the handbook holds both steps, with old and new value.
    edits = select(HouseholdEvent).where(
        HouseholdEvent.household_id == row.id, HouseholdEvent.kind == "edited"
    )
    steps = list(await records.scalars(edits.order_by(HouseholdEvent.id)))
    assert [step.actor_role for step in steps] == ["village_worker", "township_officer"]
    detail = await records.get_one(HandbookDetail, steps[1].detail_id)
    assert theirs in detail.content
    assert mine in detail.content
