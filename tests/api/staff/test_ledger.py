"""The books at the staff door: read in pages and as sheets, months closed, what was posted wrongly reversed."""

import io
import tracemalloc
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.api import sheets
from app.api.deps import Cursor
from app.db import new_id
from app.models.audit import AuditEvent
from app.models.funds import Fund
from app.models.identity import Role
from app.services.imports.xlsx import read_xlsx
from app.services.ledger import posting, workbooks
from tests.factories import ledger as given
from tests.guards.cast import STAFF, caller, worker
from tests.residents import key

LEDGER = f"{STAFF}/ledger"
LAST = clock.today().replace(day=1) - timedelta(days=1)
BEFORE = LAST.replace(day=1) - timedelta(days=1)
MONTH = f"{LAST:%Y-%m}"
DAYS = {"from": f"{LAST.replace(day=1)}", "to": f"{LAST}"}


@pytest.fixture
async def accountant(session: AsyncSession) -> AsyncClient:
    return await caller(session, STAFF, await worker(session, Role.ACCOUNTANT, "640100000000"))


@pytest.fixture
async def fund(session: AsyncSession) -> Fund:
    """With what came before the month, and in it."""
    row = await given.fund(session)
    await given.give(session, row, 1_000_000_000_001, on=BEFORE)
    await given.give(session, row, 10, on=LAST)
    await given.spend(session, row, 33, on=LAST)
    await posting.record(session, given.fee(7, on=LAST))
    await session.commit()
    return row


async def get(who: AsyncClient, path: str, **params: Any) -> Any:
    answer = await who.get(f"{LEDGER}{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def sheet(who: AsyncClient, path: str, **params: Any) -> list[list[str]]:
    answer = await who.get(f"{LEDGER}{path}", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == sheets.MEDIA_TYPE
    return [line.cells for line in read_xlsx(io.BytesIO(answer.content), "a.xlsx")]


async def test_the_chart_in_pages(accountant: AsyncClient, fund: Fund) -> None:
    first = await get(accountant, "/accounts", limit=3)
    rest = await get(accountant, "/accounts", limit=100, cursor=first["next"])
    shown = {row["code"]: row for row in first["items"] + rest["items"]}
    assert list(shown) == sorted(shown)
    assert (shown["100901"]["zh"], shown["100901"]["balance_fen"]) == (
        "其他货币资金—微信支付待结算",
        1_000_000_000_004,
    )
    assert shown["5101-CARE"]["balance_fen"] == 33


async def test_the_journal_in_pages(accountant: AsyncClient, fund: Fund) -> None:
    lines, cursor = [], {}
    for _ in range(3):
        page = await get(accountant, "/journal", limit=1, **DAYS, **cursor)
        lines += page["items"]
        cursor = {"cursor": page["next"]}
    assert page["next"] is None
    assert sorted(line["amount_fen"] for line in lines) == [7, 10, 33]
    assert [
        line["amount_fen"] for line in (await get(accountant, "/journal", **DAYS, account="5301"))["items"]
    ] == [7]


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": "2020-01-01"},
        {"to": "2999-01-01"},
        {"from": "x"},
        {"account": "a b"},
        {"cursor": "x"},
        {"cursor": "WzFd"},
    ],
)
async def test_a_journal_of_nonsense_is_refused(accountant: AsyncClient, wrong: dict[str, str]) -> None:
    answer = await accountant.get(f"{LEDGER}/journal", params=DAYS | wrong)
    assert answer.status_code == 422, answer.text


async def test_a_forged_place_in_the_journal_is_refused_or_read(accountant: AsyncClient, fund: Fund) -> None:
    for moment, expected in (("2026-01-01T00:00:00", (200, 422)), ("2026-01-01T00:00:00+08:00", (200,))):
        cursor = Cursor.encode("2026-01-01", moment, new_id())
        answer = await accountant.get(f"{LEDGER}/journal", params=DAYS | {"cursor": cursor})
        assert answer.status_code in expected, answer.text


async def test_an_account_that_is_not_there(accountant: AsyncClient) -> None:
    assert (await accountant.get(f"{LEDGER}/journal", params=DAYS | {"account": "9999"})).status_code == 404


async def test_the_trial_balance_as_a_sheet_is_exact_to_the_fen(accountant: AsyncClient, fund: Fund) -> None:
    read = await get(accountant, f"/months/{MONTH}/trial-balance")
    assert read["totals"]["debits_fen"] == read["totals"]["credits_fen"] == 50
    lines = await sheet(accountant, f"/months/{MONTH}/trial-balance/workbook")
    assert lines[0][0].startswith("演示计划生育协会　科目余额表 Trial balance")
    assert lines[1][:3] == ["科目编码 Code", "科目名称 Account", "期初借方 Opening debit"]
    by_code = {line[0] or line[1]: [Decimal(yuan) for yuan in line[2:8]] for line in lines[2:]}
    much = Decimal("10000000000.01")
    for name, moved in (
        ("100901", [much, 0, Decimal("0.1"), Decimal("0.07"), much + Decimal("0.03"), 0]),
        (
            "资产类 Assets　小计 Subtotal",
            [much, 0, Decimal("0.1"), Decimal("0.4"), much + Decimal("0.03"), Decimal("0.33")],
        ),
        (
            "合计 Total",
            [much, much, Decimal("0.5"), Decimal("0.5"), much + Decimal("0.43"), much + Decimal("0.43")],
        ),
    ):
        assert by_code[name] == moved


async def test_the_journal_as_a_sheet(accountant: AsyncClient, fund: Fund, session: AsyncSession) -> None:
    lines = await sheet(accountant, "/journal/workbook", **DAYS)
    assert lines[1][6] == "金额（元）Amount, CNY"
    assert sorted((line[0], line[1], line[6]) for line in lines[2:]) == [
        (str(LAST), "手续费 Fee", "0.07"), (str(LAST), "支出 Disbursement", "0.33"),
        (str(LAST), "收到捐款 Donation", "0.10"),
    ]  # fmt: skip
    events = await session.scalars(select(AuditEvent.entity).where(AuditEvent.action == "download"))
    assert list(events) == ["journal"]


async def test_a_journal_too_long_for_a_sheet(
    accountant: AsyncClient, fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbooks, "MOST", 2)
    answer = await accountant.get(f"{LEDGER}/journal/workbook", params=DAYS)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:nuanxin:problem:journal-too-long")


async def test_a_fund_s_statement(accountant: AsyncClient, fund: Fund) -> None:
    statement = await get(accountant, f"/funds/{fund.id}/statement", **{"from": MONTH, "to": MONTH})
    assert statement["money"] == {
        "opening_fen": 1_000_000_000_001, "given_fen": 10, "refunded_fen": 0, "transferred_fen": 0, "spent_fen": 33,
        "closing_fen": 999_999_999_978, "held_fen": 0, "available_fen": 999_999_999_978,
    }  # fmt: skip
    assert (await get(accountant, f"/funds/{fund.id}/statement"))["money"]["opening_fen"] == 0
    turned = {"from": MONTH, "to": f"{BEFORE:%Y-%m}"}
    answer = await accountant.get(f"{LEDGER}/funds/{fund.id}/statement", params=turned)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#query/from")


async def test_a_month_is_closed_once_and_listed(accountant: AsyncClient, fund: Fund) -> None:
    for month, expected in (
        (f"{BEFORE:%Y-%m}", 201),
        (MONTH, 201),
        (MONTH, 409),
        ("2199-12", 422),
        ("2020-13", 422),
    ):
        answer = await accountant.post(f"{LEDGER}/periods", json={"month": month}, headers=key())
        assert answer.status_code == expected, answer.text
    listed = await get(accountant, "/periods", limit=1)
    assert [row["month"] for row in listed["items"]] == [MONTH]
    earlier = await get(accountant, "/periods", cursor=listed["next"])
    assert [row["month"] for row in earlier["items"]] == [f"{BEFORE:%Y-%m}"]
    assert (await get(accountant, f"/months/{MONTH}/trial-balance"))["closed"] is True


async def test_a_fee_is_reversed_and_a_gift_is_not(
    accountant: AsyncClient, session: AsyncSession, fund: Fund
) -> None:
    wrong = given.fee(60)
    gift = given.gift(fund, 5)
    for entry in (wrong, gift):
        await posting.record(session, entry)
    await session.commit()
    body, one_key = {"reason": "entered_twice"}, key()
    first = await accountant.post(f"{LEDGER}/transfers/{wrong.id}/reverse", json=body, headers=one_key)
    assert (first.status_code, first.json()["reverses_id"]) == (201, str(wrong.id))
    again = await accountant.post(f"{LEDGER}/transfers/{wrong.id}/reverse", json=body, headers=one_key)
    assert again.json() == first.json()
    for id, headers, expected in (
        (wrong.id, key(), "already-reversed"), (gift.id, key(), "reversed-elsewhere"), (new_id(), key(), "not-found"),
    ):  # fmt: skip
        answer = await accountant.post(f"{LEDGER}/transfers/{id}/reverse", json=body, headers=headers)
        assert answer.json()["type"] == f"urn:nuanxin:problem:{expected}"


@pytest.mark.parametrize("role", [Role.COUNTY_ADMINISTRATOR, Role.SUPERVISOR, Role.AUDITOR])
async def test_who_reads_the_books_does_not_close_them(session: AsyncSession, role: Role) -> None:
    reader = await caller(session, STAFF, await worker(session, role, "640100000000"))
    assert (await reader.get(f"{LEDGER}/accounts")).status_code == 200
    answer = await reader.post(f"{LEDGER}/periods", json={"month": MONTH}, headers=key())
    assert answer.status_code == 403


async def test_a_village_worker_reads_no_books(session: AsyncSession) -> None:
    reader = await caller(session, STAFF, await worker(session, Role.VILLAGE_WORKER, "640104001000"))
    for path in ("/accounts", "/periods", f"/months/{MONTH}/trial-balance"):
        assert (await reader.get(f"{LEDGER}{path}")).status_code == 403


async def test_a_long_journal_is_written_in_flat_memory(
    accountant: AsyncClient, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbooks, "CHUNK", 250)
    fund = await given.fund(session, "LONG")
    many = 3_000
    await session.execute(
        given.MANY, {"credit": f"410102-{fund.code}", "many": many, "first": date(2020, 1, 1), "days": 1}
    )
    await session.commit()
    params = {"from": "2020-01-01", "to": "2020-01-31"}
    tracemalloc.start()
    try:
        answer = await accountant.get(f"{LEDGER}/journal/workbook", params=params)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200
    assert most < 4 << 20, f"{most / 2**20} MiB"
