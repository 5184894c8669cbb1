"""At the door: who may record, how a refusal reads, and that a repeated request records once."""

from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.identity import Role
from tests.factories.families import EAST, WEST, family, newcomer
from tests.guards.cast import CITIZEN, STAFF, caller, worker
from tests.residents import key

PURPOSE = {"Purpose": "registry_upkeep"}


async def at_the_desk(session: AsyncSession, role: Role, region_code: str = EAST) -> httpx.AsyncClient:
    return await caller(session, STAFF, await worker(session, role, region_code))


def birth(**changes: Any) -> dict[str, Any]:
    event = {"kind": "birth", "happened_on": "2026-08-01", "evidence": "出生医学证明", "child": newcomer()}
    return {"event": event | changes}


async def test_a_worker_records_once_however_often_it_is_sent(session: AsyncSession) -> None:
    home = await family(session)
    path, body, once = f"/staff/v1/households/{home.household.id}/life-events", birth(), key()
    async with await at_the_desk(session, Role.VILLAGE_WORKER) as http:
        first, again = [await http.post(path, json=body, headers=once) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 201), first.text
        assert first.json() == again.json()
        assert first.json()["id"] == once["Idempotency-Key"]
        reused = await http.post(path, json=birth(), headers=once)
        assert reused.json()["type"].endswith(":idempotency-key-reused")
        listed = (await http.get(path)).json()["items"]
        assert [row["kind"] for row in listed] == ["birth"]
        annul = f"/staff/v1/life-events/{listed[0]['id']}/annul"
        annulled = await http.post(annul, json={"reason": "登记错人"}, headers=key())
        assert annulled.json()["annuls_id"] == listed[0]["id"]
        undone = f"/staff/v1/life-events/{annulled.json()['id']}/annul"
        again = await http.post(undone, json={"reason": "登记错人"}, headers=key())
        assert again.json()["type"].endswith(":not-annullable")


async def test_a_wrong_place_is_named_and_an_unknown_kind_refused(session: AsyncSession) -> None:
    home = await family(session)
    path = f"/staff/v1/households/{home.household.id}/life-events"
    async with await at_the_desk(session, Role.VILLAGE_WORKER) as http:
        late = await http.post(path, json=birth(happened_on="2026-08-02"))
        assert [place["pointer"] for place in late.json()["errors"]] == ["/event/happened_on"]
        unknown = await http.post(path, json=birth(kind="miracle"))
        assert unknown.status_code == 422
        both = {"kind": "marriage", "happened_on": "2026-08-01", "evidence": "结婚证",
                "person_id": str(home.wife.id)}  # fmt: skip
        assert (await http.post(path, json={"event": both})).status_code == 422


async def test_a_supervisor_reads_the_handbook_but_records_nothing(session: AsyncSession) -> None:
    home = await family(session)
    path = f"/staff/v1/households/{home.household.id}"
    async with await at_the_desk(session, Role.SUPERVISOR) as http:
        assert (await http.post(f"{path}/life-events", json=birth())).status_code == 403
        assert (await http.get(f"{path}/handbook")).status_code == 422, "a purpose is needed"
        assert (await http.get(f"{path}/handbook", headers=PURPOSE)).status_code == 200
        assert (await http.post(f"{path}/handbook/unmask", headers=PURPOSE)).status_code == 403
        assert (await http.get("/staff/v1/moves")).status_code == 403
        assert (await http.get("/staff/v1/people-away")).status_code == 200


async def test_a_move_reads_masked_at_both_doors(session: AsyncSession) -> None:
    home = await family(session)
    await session.refresh(home.household)
    body = {
        "household_id": str(home.household.id), "version": home.household.version, "to_region_code": WEST,
        "address": "西村 5 号", "moved_on": "2026-08-15",
    }  # fmt: skip
    async with await at_the_desk(session, Role.VILLAGE_WORKER) as http:
        nowhere = await http.post("/staff/v1/moves", json=body | {"address": None})
        assert nowhere.status_code == 422
        made = await http.post("/staff/v1/moves", json=body, headers=key())
        assert made.status_code == 201, made.text
    async with await at_the_desk(session, Role.VILLAGE_WORKER, WEST) as http:
        listed = await http.get("/staff/v1/moves", params={"status": "proposed"})
        assert [row["head"] for row in listed.json()["items"]] == ["王*军"]
        assert "王建军" not in listed.text
        assert "5 号" not in listed.text
        decided = await http.post(
            f"/staff/v1/moves/{made.json()['id']}/accept", json={"version": made.json()["version"]}
        )
        assert decided.json()["status"] == "accepted", decided.text


async def test_the_couple_says_what_it_plans_and_reads_its_handbook(session: AsyncSession) -> None:
    home = await family(session)
    async with await caller(session, CITIZEN, home.wife_actor) as http:
        said = await http.put("/citizen/v1/couple", json={"plans_pregnancy": False})
        assert said.json()["plans_pregnancy"] is False, said.text
        steps = (await http.get("/citizen/v1/handbook")).json()["items"]
        assert [(step["kind"], step["zh"], step["name"]) for step in steps] == [
            ("plans_changed", "夫妻变更生育计划", "李秀英")
        ]
        assert steps[0]["detail"] == {"old": True, "new": False}
    async with await caller(session, CITIZEN, home.husband_actor) as http:
        told = (await http.get("/citizen/v1/handbook")).json()["items"]
        assert told[0]["detail"] is None, "what she said is hers to show"


async def test_a_cursor_of_another_list_is_refused(session: AsyncSession) -> None:
    home = await family(session)
    async with await at_the_desk(session, Role.VILLAGE_WORKER) as http:
        for path in (f"/households/{home.household.id}/life-events", "/moves", "/people-away"):
            refused = await http.get(f"/staff/v1{path}", params={"cursor": "eyJ9"})
            assert refused.status_code == 422, path
