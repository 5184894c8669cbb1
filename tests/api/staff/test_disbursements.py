"""Spending at the staff door: from a draft to the payee's signature, by hand and through the bank's files."""

from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.api.sheets import MEDIA_TYPE
from app.db import new_id
from app.models.audit import AuditEvent
from app.models.identity import Role
from tests.factories import disbursements as made
from tests.factories.disbursements import CARD, COUNTY, TOWN, House
from tests.guards.cast import STAFF, caller, worker
from tests.residents import key

PURPOSE = {"Purpose": "payment"}
PLACES = "/disbursements"


class Office:
    """Everybody signed in."""

    def __init__(self, house: House, clients: dict[str, AsyncClient]) -> None:
        self.house, self.clients = house, clients

    async def call(
        self, who: str, method: str, path: str, body: Any = None, expected: int = 200, **given: Any
    ) -> Any:
        answer = await self.clients[who].request(method, f"{STAFF}{path}", json=body, **given)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.headers["content-type"] != MEDIA_TYPE else answer.content

    async def refused(
        self, who: str, path: str, body: Any, problem: str, method: str = "POST"
    ) -> dict[str, Any]:
        answer = await self.clients[who].request(method, f"{STAFF}{path}", json=body, headers=key())
        assert answer.json()["type"] == f"urn:nuanxin:problem:{problem}", answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def create(self, who: str, path: str, body: Any) -> Any:
        return await self.call(who, "POST", path, body, 201, headers=key())

    async def submitted(self, amount: int = 1_000, **others: Any) -> Any:
        new = self.house.new(amount, **others).model_dump(mode="json")
        row = await self.create("officer", PLACES, new)
        return await self.step("officer", row, "submit")

    async def step(self, who: str, row: Any, step: str, **body: Any) -> Any:
        path = f"{PLACES}/{row['id']}/{step}"
        return await self.call(who, "POST", path, {"version": row["version"], **body}, headers=key())

    async def approved(self, amount: int = 1_000) -> Any:
        return await self.step("county", await self.submitted(amount), "approve")


@pytest.fixture
async def office(session: AsyncSession) -> Office:
    house = await made.house(session)
    who = {
        "officer": (Role.TOWNSHIP_OFFICER, TOWN), "colleague": (Role.TOWNSHIP_OFFICER, TOWN),
        "county": (Role.COUNTY_ADMINISTRATOR, COUNTY), "supervisor": (Role.SUPERVISOR, COUNTY),
        "accountant": (Role.ACCOUNTANT, COUNTY),
    }  # fmt: skip
    actors = {name: await worker(session, *given) for name, given in who.items()}
    clients = {name: await caller(session, STAFF, actor) for name, actor in actors.items()}
    return Office(replace(house, **actors), clients)


async def test_from_a_draft_to_a_signature(office: Office, session: AsyncSession) -> None:
    new = office.house.new(2_000).model_dump(mode="json")
    row = await office.create("officer", PLACES, new)
    assert (row["payee"], row["bank_account"], row["status"]) == ("王*芳", "****5702", "draft")
    changed = {
        "version": row["version"],
        "disbursement": new | {"amount_fen": 1_500, "bank_account": CARD[:-1] + "3"},
    }
    row = await office.call("officer", "PUT", f"{PLACES}/{row['id']}", changed)
    await office.step("officer", row, "submit")
    [row] = (await office.call("county", "GET", f"{PLACES}?work=to_approve"))["items"]
    detail = await office.call("county", "GET", f"{PLACES}/{row['id']}", headers=PURPOSE)
    assert detail["disbursement"]["payee"] == "王小芳"
    assert [one["pointer"] for one in detail["remarks"]] == ["/bank_account"]
    row = await office.step("county", row, "approve")
    assert [
        one["id"] for one in (await office.call("accountant", "GET", f"{PLACES}?work=to_pay"))["items"]
    ] == [row["id"]]
    row = await office.step("accountant", row, "pay", paid_fen=1_400, paid_on=str(clock.today()), note="网银")
    row = await office.step(
        "officer", row, "acknowledge", acknowledged_on=str(clock.today()), note="签收单第 12 号"
    )
    assert (row["status"], row["amount_fen"], row["paid_fen"]) == ("acknowledged", 1_500, 1_400)
    detail = await office.call("county", "GET", f"{PLACES}/{row['id']}", headers=PURPOSE)
    assert [(step["status"], step["reason"]) for step in detail["steps"]] == [
        ("draft", None), ("draft", None), ("submitted", None), ("approved", None), ("paid", "网银"),
        ("acknowledged", "签收单第 12 号"),
    ]  # fmt: skip
    reads = select(AuditEvent.purpose).where(AuditEvent.action == "read", AuditEvent.entity == "disbursement")
    assert list(await session.scalars(reads)) == ["payment", "payment"]
    assert (await office.clients["county"].get(f"{STAFF}{PLACES}/{row['id']}")).status_code == 422, (
        "without a purpose"
    )


async def test_each_refusal_is_a_problem_of_its_own(office: Office, session: AsyncSession) -> None:
    row = await office.submitted(2_000_01)
    path = f"{PLACES}/{row['id']}"
    now, old = {"version": row["version"]}, {"version": 1}
    await office.refused("officer", f"{path}/approve", now, "own-disbursement")
    beyond = await office.refused("colleague", f"{path}/approve", now, "beyond-limit")
    assert beyond["may_approve"] == ["县级管理员 County administrator", "督查人员 Supervisor"]
    await office.refused("county", f"{path}/approve", old, "stale-version")
    await office.refused("county", f"{path}/void", now | {"reason": "x"}, "wrong-state")
    await office.refused("accountant", f"{path}/pay", now, "wrong-state")
    await office.refused("accountant", f"{path}/approve", now, "forbidden")
    await office.refused("county", f"{path}/pay", now, "forbidden")
    over = await office.submitted(1_000_001)
    assert (
        await office.refused("county", f"{PLACES}/{over['id']}/approve", {"version": 2}, "budget-exceeded")
    )["left_fen"] == 1_000_000
    poor = await made.house(session, money=9, code="POOR")
    await session.commit()
    line = {"fund_id": str(poor.fund.id), "budget_line_id": str(poor.line.id)}
    row = await office.submitted(10, **line)
    await office.refused("county", f"{PLACES}/{row['id']}/approve", {"version": 2}, "fund-insufficient")
    listed = (await office.call("officer", "GET", f"{PLACES}?status=submitted"))["items"]
    assert len(listed) == 3, "refused, they wait as before"


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_fen": 0}, {"amount_fen": -1}, {"amount_fen": 1.5}, {"amount_fen": "100"}, {"amount_fen": True},
        {"amount_fen": 100_000_000_01}, {"bank_account": "12 34"}, {"bank_account": "622202100111624"}, {"payee": ""},
        {"purpose": "x" * 101}, {"budget_line_id": str(new_id())}, {"status": "approved"},
    ],
)  # fmt: skip
async def test_a_draft_of_nonsense_is_refused(office: Office, wrong: dict[str, Any]) -> None:
    new = office.house.new().model_dump(mode="json") | wrong
    await office.refused("officer", PLACES, new, "invalid")


async def test_through_the_bank_s_file(office: Office) -> None:
    rows = [await office.approved(100 + n) for n in range(3)]
    new = {"fund_id": str(office.house.fund.id), "disbursement_ids": [row["id"] for row in rows]}
    file = await office.create("accountant", "/bank-files", new)
    await office.refused("accountant", "/bank-files", new, "not-to-pay")
    await office.refused(
        "county", f"{PLACES}/{rows[0]['id']}/void", {"version": 4, "reason": "x"}, "in-bank-file"
    )
    path = f"/bank-files/{file['id']}"
    sheet = made.cells_of(await office.call("accountant", "GET", f"{path}/workbook", headers=PURPOSE))
    assert {line[2] for line in sheet[2:]} == {CARD}
    lines = [
        (row["number"], f"{row['amount_fen'] / 100:.2f}", said)
        for row, said in zip(rows, ("成功", "失败", ""), strict=True)
    ]
    data = made.answer(*lines)
    for query, waiting in (("", 1), ("?commit=true", 1), ("?commit=true", 1)):
        taken = await office.call("accountant", "POST", f"{path}/answer{query}", content=data)
        assert (taken["waiting"], taken["lines"][2]["verdict"]) == (waiting, "skipped")
    assert taken["counts"] == {"known": 2, "skipped": 1}
    shown = made.cells_of(await office.call("accountant", "POST", f"{path}/answer?answer=xlsx", content=data))
    assert "支付编号" in shown[1] or "支付编号" in shown[0]
    file = await office.call(
        "accountant", "POST", f"{path}/cancel", {"version": 2, "reason": "网银退回"}, 409
    )
    file = (await office.call("accountant", "GET", "/bank-files?status=open"))["items"][0]
    file = await office.call(
        "accountant", "POST", f"{path}/cancel", {"version": file["version"], "reason": "网银退回"}
    )
    assert file["status"] == "cancelled"
    states = {row["id"]: row["status"] for row in (await office.call("county", "GET", PLACES))["items"]}
    assert [states[row["id"]] for row in rows] == ["paid", "approved", "approved"]
    await office.refused("county", "/bank-files", new, "forbidden")


async def test_limits_are_set_by_a_supervisor(office: Office) -> None:
    new = {"region_code": COUNTY, "role": "township_officer", "limit_fen": 5}
    row = await office.call("supervisor", "PUT", "/approval-limits", new)
    assert (row["limit_fen"], row["version"]) == (5, 1)
    await office.refused("supervisor", "/approval-limits", new | {"role": "supervisor"}, "own-limit", "PUT")
    await office.refused("county", "/approval-limits", new, "forbidden", "PUT")
    first = await office.call("officer", "GET", "/approval-limits?limit=3")
    rest = await office.call("officer", "GET", f"/approval-limits?limit=3&cursor={first['next']}")
    shown = [(one["region_code"], one["role"], one["limit_fen"]) for one in first["items"] + rest["items"]]
    assert shown == [
        ("640100000000", "county_administrator", 50_000_00), ("640100000000", "supervisor", 500_000_00),
        ("640100000000", "township_officer", 2_000_00), (COUNTY, "township_officer", 5),
    ]  # fmt: skip


async def test_pages_and_a_sheet(office: Office) -> None:
    for amount in (1, 2, 3):
        await office.submitted(amount)
    first = await office.call("county", "GET", f"{PLACES}?limit=2")
    rest = await office.call("county", "GET", f"{PLACES}?limit=2&cursor={first['next']}")
    assert [row["amount_fen"] for row in first["items"] + rest["items"]] == [3, 2, 1]
    lines = made.cells_of(await office.call("county", "GET", f"{PLACES}/workbook?status=submitted"))
    assert len(lines) == 5
    assert not {"王小芳", CARD} & {cell for line in lines for cell in line}
    for wrong in ("cursor=x", "cursor=WzFd", "status=x", "region_code=1", "work=x", "limit=0"):
        await office.call("county", "GET", f"{PLACES}?{wrong}", expected=422)


async def test_neither_villages_nor_other_counties_see_it(office: Office, session: AsyncSession) -> None:
    row = await office.submitted()
    far = await caller(session, STAFF, await worker(session, Role.COUNTY_ADMINISTRATOR, "640105000000"))
    assert (await far.get(f"{STAFF}{PLACES}")).json()["items"] == []
    assert (await far.get(f"{STAFF}{PLACES}/{row['id']}", headers=PURPOSE)).status_code == 404
    village = await caller(session, STAFF, await worker(session, Role.VILLAGE_WORKER, "640104001000"))
    assert (await village.get(f"{STAFF}{PLACES}")).status_code == 403


async def test_a_copy_of_what_was_rejected(office: Office) -> None:
    row = await office.submitted(77)
    row = await office.step("county", row, "reject", reason="缺少申请材料")
    new = await office.create("officer", f"{PLACES}/{row['id']}/copy", None)
    assert (new["status"], new["amount_fen"]) == ("draft", 77)
    await office.refused("officer", f"{PLACES}/{new['id']}/copy", None, "wrong-state")
