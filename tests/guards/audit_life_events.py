"""A family's life, and its moves from town to town and back, for the story that makes each change there is."""

from typing import Any

from app import demo
from app.callers import Caller
from app.journey import couple
from tests.guards.playing import Played

NEXT_TOWN = "640104002000"


async def the_life_events(story: Played) -> None:
    """Married, a child, a death that was none, plans changed; then handed over, asked back, declined, withdrawn, gone
    and back again."""
    wife, husband = couple()
    caller = await story.resident(wife)
    members = [story.member(wife, "spouse"), story.member(husband, "head")]
    draft = await caller.create("/households", {**story.form, "members": members})
    path = f"/households/{draft['id']}"
    sent = await caller.call("POST", f"{path}/submit", {"version": draft["version"]})
    worker = story.village_worker
    await worker.call("POST", f"{path}/verify", {"version": sent["version"]})
    await caller.call("PUT", "/couple", {"plans_pregnancy": False})
    me = await caller.call("GET", "/me")
    happened = {"happened_on": "2026-08-01", "evidence": "死亡证明"}
    event = {"event": {"kind": "divorce", **happened, "person_id": me["id"]}}
    recorded = await worker.create(f"{path}/life-events", event)
    await worker.create(f"/life-events/{recorded['id']}/annul", {"reason": "登记错人"})
    await worker.call("POST", f"{path}/handbook/unmask", headers={"Purpose": "registry_upkeep"})
    county = await story.worker("county_administrator")
    await the_moves(worker, county, draft["id"], wife.name, wife.number)


async def the_moves(worker: Caller, county: Caller, id: str, name: str, number: str) -> None:
    async def version() -> int:
        seen = await county.call("GET", f"/households/{id}", headers={"Purpose": "registry_upkeep"})
        current: int = seen["version"]
        return current

    async def propose() -> Any:
        plan = {"to_region_code": NEXT_TOWN, "address": "解放西街 12 号", "moved_on": "2026-08-15"}
        return await worker.create("/moves", {"household_id": id, "version": await version(), **plan})

    move = await propose()
    await worker.call("POST", f"/moves/{move['id']}/withdraw", {"version": move["version"]})
    move = await propose()
    body = {"version": move["version"], "reason": "未到本街道"}
    await county.call("POST", f"/moves/{move['id']}/decline", body)
    move = await propose()
    await county.call("POST", f"/moves/{move['id']}/accept", {"version": move["version"]})
    back = {"to_region_code": demo.TOWN, "address": "凤凰北街 8 号", "moved_on": "2026-08-16"}
    await county.create("/moves/requests", {"name": name, "document_number": number, **back})
    body = {"version": await version(), "left_on": "2026-08-17"}
    await worker.call("POST", f"/households/{id}/move-out", body)
    body = {"version": await version(), "returned_on": "2026-08-18"}
    await worker.call("POST", f"/households/{id}/come-back", body)
