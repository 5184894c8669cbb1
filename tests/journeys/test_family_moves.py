"""A family moves to another village and back, grows and is mourned meanwhile; its handbook tells it all."""

from datetime import date

import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.callers import Caller, Refused
from app.db import new_id
from app.journey import Story
from app.models.households import Membership, Person
from app.models.regions import Region
from tests.journeys.conftest import village_worker

TOWN, EAST, WEST = "640104001000", "640104001961", "640104001962"
PURPOSE = {"Purpose": "registry_upkeep"}


async def villages(records: AsyncSession) -> tuple[str, str]:
    """Two villages of one town with a worker each: their usernames."""
    names = {EAST: "旅东村", WEST: "旅西村"}
    rows = [
        {
            "code": code, "level": 5, "parent_code": TOWN, "name": name, "valid_from": date(2020, 1, 1),
            "source": "test",
        }
        for code, name in names.items()
    ]  # fmt: skip
    await records.execute(insert(Region).on_conflict_do_nothing(), rows)
    usernames = []
    for code in names:
        account = village_worker(f"mover_{new_id().hex}")
        account.region_code = code
        records.add(account)
        usernames.append(account.username)
    await records.commit()
    return usernames[0], usernames[1]


async def version(worker: Caller, id: str) -> int:
    seen: int = (await worker.call("GET", f"/households/{id}", headers=PURPOSE))["version"]
    return seen


async def registered(story: Story, caller: Caller, worker: Caller) -> tuple[str, str]:
    """The household's id and path."""
    form = {
        "region_code": EAST, "address": "旅东村 1 号", "categories": [],
        "members": [story.member(story.wife, "spouse"), story.member(story.husband, "head")],
        "marriage": {"wife": 0, "husband": 1, "since": "2024-05-20", "plans_pregnancy": True},
    }  # fmt: skip
    draft = await caller.create("/households", form)
    path = f"/households/{draft['id']}"
    sent = await caller.call("POST", f"{path}/submit", {"version": draft["version"]})
    await worker.call("POST", f"{path}/verify", {"version": sent["version"]})
    return draft["id"], path


async def test_a_family_moves_between_villages_and_back(story: Story, records: AsyncSession) -> None:
    # Given a family that the eastern village has verified,
    east_name, west_name = await villages(records)
    east, west = await story.worker(east_name), await story.worker(west_name)
    wife_caller, husband_caller = await story.resident(story.wife), await story.resident(story.husband)
    id, path = await registered(story, wife_caller, east)

    # when it moves to the western village, which sees nothing of it before it accepts,
    plan = {"to_region_code": WEST, "address": "旅西村 2 号", "moved_on": "2026-08-15"}
    move = await east.create("/moves", {"household_id": id, "version": await version(east, id), **plan})
    assert move["status"] == "proposed"
    with pytest.raises(Refused, match="not-found"):
        await west.call("GET", path, headers=PURPOSE)
    [listed] = (await west.call("GET", "/moves?status=proposed"))["items"]
    assert (listed["head"], listed["persons"], listed["from_region_name"]) == ("李*国", 2, "旅东村")
    with pytest.raises(Refused, match="other-side-decides"):
        await east.call("POST", f"/moves/{move['id']}/accept", {"version": move["version"]})
    done = await west.call("POST", f"/moves/{move['id']}/accept", {"version": move["version"]})
    assert done["status"] == "accepted"

    # then the family is the western village's, wholly,
    with pytest.raises(Refused, match="not-found"):
        await east.call("GET", path, headers=PURPOSE)
    members = select(Membership.person_id).filter_by(household_id=id, valid_to=None)
    places = select(Person.region_code).where(Person.id.in_(members))
    assert set(await records.scalars(places)) == {WEST}

    # where a child is born to it.
    child = {
        "name": "李安安", "document_kind": "household_book", "document_number": f"W{new_id().hex[:12]}",
        "birth_date": "2026-09-01", "sex": "female", "hukou_region_code": TOWN, "hukou_type": "urban",
    }  # fmt: skip
    birth = {"kind": "birth", "happened_on": "2026-09-01", "evidence": "出生医学证明", "child": child}
    await west.create(f"{path}/life-events", {"event": birth})
    await wife_caller.call("PUT", "/couple", {"plans_pregnancy": False})

    # When it has come back, and the eastern village asks for it with the wife's card,
    ask = {
        "name": story.wife.name, "document_number": story.wife.number, "to_region_code": EAST,
        "address": "旅东村 1 号", "moved_on": "2026-10-01",
    }  # fmt: skip
    asked = await east.create("/moves/requests", ask)
    with pytest.raises(Refused, match="move-under-way"):
        await east.create("/moves/requests", ask)
    await west.call("POST", f"/moves/{asked['id']}/accept", {"version": asked["version"]})
    records.expire_all()
    assert set(await records.scalars(places)) == {EAST}

    # then the handbook tells it all, to the family and to the village where it lives,
    kinds = [
        "drafted", "submitted", "verified", "move_proposed", "moved", "birth", "plans_changed",
        "move_proposed", "moved",
    ]  # fmt: skip
    own = (await husband_caller.call("GET", "/handbook?limit=100"))["items"]
    assert [step["kind"] for step in own] == kinds
    assert [step["note"] for step in own if step["kind"] == "moved"] == ["旅东村 → 旅西村", "旅西村 → 旅东村"]
    assert own[5]["name"] == "李安安"
    assert own[5]["detail"]["evidence"] == "出生医学证明"
    masked = await east.call("GET", f"{path}/handbook?limit=4", headers=PURPOSE)
    rest = await east.call("GET", f"{path}/handbook?limit=100&cursor={masked['next']}", headers=PURPOSE)
    assert [step["kind"] for step in masked["items"] + rest["items"]] == kinds
    assert rest["items"][1]["name"] == "李*安"
    assert {step["detail"] is None for step in masked["items"] + rest["items"]} == {True}
    opened = await east.call("POST", f"{path}/handbook/unmask?limit=100", headers=PURPOSE)
    assert opened["items"][5]["detail"]["evidence"] == "出生医学证明"
    with pytest.raises(Refused, match="not-found"):
        await west.call("GET", f"{path}/handbook", headers=PURPOSE)

    # and the wife reads who looked at it.
    looks = (await wife_caller.call("GET", "/me/access-log?limit=100"))["items"]
    assert {row["action"] for row in looks if row["entity"] == "household_handbook"} == {
        "read", "read_unmasked",
    }  # fmt: skip
