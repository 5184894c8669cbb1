"""What everybody may know of the fund: right to the fen, and nobody in it who does not want to be."""

from datetime import date
from types import SimpleNamespace

import pytest

from app.api.deps import Cursor
from app.db import new_id
from app.models.disbursements import PayeeKind
from app.models.donations import DonationStatus
from app.models.funds import CampaignMode, CampaignStatus
from app.models.ledger import ReversalReason
from app.services.funds import campaigns
from app.services.ledger import posting, reversals
from tests.clients import client
from tests.factories import giving as appeals
from tests.factories import ledger
from tests.factories.transparency import accountant, close, gift, line, paid

GOODS = {
    "channel": "in_kind",
    "goods": {"what": "奶粉", "quantity": 20, "unit": "罐", "valued_by": "李会计", "basis": "发票"},
}  # fmt: skip
D = date(2025, 12, 5)


@pytest.fixture
async def http():
    async with client() as http:
        http.base_url = "http://nuanxin.test/public/v1/"
        yield http


async def told(http, path, expect=200, **query):
    answer = await http.get(path, params=query)
    assert answer.status_code == expect, answer.text
    return answer.json()


async def test_a_fund_tells_what_it_received_and_spent_whether_or_not_a_year_was_closed(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    care = await line(session, fund, "care", 2025)
    await gift(session, by, fund, 70_000, on=D)
    await gift(session, by, fund, 30_000, on=D, channel="cash")
    await gift(session, by, fund, 8_000, on=D, **GOODS)
    await paid(session, fund, care, 25_000, on=D)
    await close(session, by, date(2025, 12, 1))
    await gift(session, by, fund, 1)
    await session.commit()
    said = await told(http, f"funds/{fund.id}")
    assert {name: said[name] for name in said if name.endswith(("_fen", "gifts"))} == {
        "received_fen": 100_001, "spent_fen": 25_000, "balance_fen": 75_001, "goods_received_fen": 8_000,
        "goods_handed_out_fen": 0, "gifts": 4,
    }  # fmt: skip
    assert said in (await told(http, "funds", limit=100))["items"]
    await told(http, said["tree_head"].removeprefix("/public/v1/"), 404)  # nothing is sealed
    assert (await told(http, f"funds/{new_id()}", 404))["type"].endswith("not-found")


async def test_gifts_are_shown_as_their_donors_agreed_newest_first_page_by_page(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    appeal = await appeals.campaign(session, fund)
    first = await gift(
        session, by, fund, 100, on=date(2026, 1, 1), donor_name="王建国", campaign_id=appeal.id
    )
    await gift(session, by, fund, 200, on=date(2026, 1, 2), donor_name="李明霞", shown_as="initial")
    await gift(session, by, fund, 300, on=date(2026, 1, 2), donor_name="欧阳修", shown_as="name")
    back = await gift(session, by, fund, 400, on=date(2026, 1, 3))
    wrong = await gift(session, by, fund, 500, on=date(2026, 1, 4), donor_name="赵六", shown_as="name")
    back.refunded_fen, back.status = 150, DonationStatus.PART_REFUNDED
    wrong.status = DonationStatus.REVERSED
    await session.commit()
    seen, cursor = [], None
    for _ in range(4):
        page = await told(
            http, f"funds/{fund.id}/donations", limit=1, **({"cursor": cursor} if cursor else {})
        )
        seen += page["items"]
        cursor = page["next"]
    assert cursor is None
    shown = {(one["given_on"], one["name"], one["amount_fen"], one["anonymous"]) for one in seen}
    assert shown == {
        ("2026-01-03", "爱心人士", 250, True), ("2026-01-02", "欧阳修", 300, False), ("2026-01-02", "李某", 200, False),
        ("2026-01-01", "爱心人士", 100, True),
    }  # fmt: skip
    assert [one["given_on"] for one in seen] == sorted((one["given_on"] for one in seen), reverse=True)
    of_appeal = await http.get(f"campaigns/{appeal.id}/donations")
    assert [one["amount_fen"] for one in of_appeal.json()["items"]] == [100]
    for secret in ("王建国", first.number, str(first.id)):
        assert secret not in of_appeal.text
    assert (await told(http, f"campaigns/{appeal.id}"))["received_fen"] == 100


async def test_no_cursor_but_its_own_and_no_huge_page(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    other = await ledger.fund(session, "OTHER")
    foreign = await gift(session, by, other, 100)
    await gift(session, by, fund, 100)
    await session.commit()
    forged = (
        Cursor.encode(new_id()), Cursor.encode(foreign.transfer_id), "W10", "'; DROP TABLE donation", "x" * 301,
        Cursor.encode("2026-01-01"), Cursor.encode(foreign.transfer_id, foreign.transfer_id),
    )  # fmt: skip
    for cursor in forged:
        said = await told(http, f"funds/{fund.id}/donations", 422, cursor=cursor)
        assert said["errors"][0]["pointer"] == "#query/cursor"
    for limit in (0, -1, 101, 10**20, "all"):
        await told(http, f"funds/{fund.id}/donations", 422, limit=limit)
    await told(http, f"funds/{new_id()}/donations", 404)
    await told(http, "funds", 422, cursor=Cursor.encode("A\0"))


async def test_an_appeal_to_a_known_circle_is_not_advertised_and_a_draft_is_nobodys(
    http, session, monkeypatch
):
    fund = await ledger.fund(session)
    public = await appeals.campaign(
        session, fund, mode=CampaignMode.OWN_SITE_MIRROR, certificate_number="宁慈募证001",
        filing_number="5364-2026-01", platform_name="某平台", platform_url="https://example.org/appeal",
    )  # fmt: skip
    circle = await appeals.campaign(session, fund)
    draft = await appeals.campaign(session, fund, status=CampaignStatus.DRAFT)
    await session.commit()
    listed = (await told(http, "campaigns", fund_id=str(fund.id)))["items"]
    assert [one["id"] for one in listed] == [str(public.id)]
    assert (listed[0]["certificate_number"], listed[0]["takes_gifts"]) == ("宁慈募证001", True)
    assert (await told(http, f"campaigns/{circle.id}"))["mode"] == "targeted"
    for path in ("", "/donations", "/quarters"):
        await told(http, f"campaigns/{draft.id}{path}", 404)
    monkeypatch.setattr(campaigns, "settings", lambda: SimpleNamespace(in_app_payment=False))
    assert (await told(http, f"campaigns/{public.id}"))["takes_gifts"] is False


async def test_spending_is_told_when_five_are_together_and_never_a_payee(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    urgent, books = await line(session, fund, "urgent"), await line(session, fund, "books")
    await gift(session, by, fund, 1_000_000, on=date(2026, 1, 1))
    for month, count in ((1, 3), (2, 3), (3, 4)):
        for n in range(count):
            purpose = "紧急救助金" if n else "丧葬补助"
            await paid(session, fund, urgent, 1_000 + n, on=date(2026, month, 9), purpose=purpose)
    await paid(session, fund, books, 77, on=date(2026, 1, 9), kind=PayeeKind.ORGANIZATION, purpose="图书")
    for month in (1, 2, 3):
        await close(session, by, date(2026, month, 1))
    await session.commit()

    answer = await http.get(f"funds/{fund.id}/spending")
    said = answer.json()
    assert said["spent_fen"] == 10_089
    lines = {one["code"]: one for one in said["lines"]}
    assert (lines["books"]["spent_fen"], lines["books"]["purposes"]) == (77, [])
    # January waited for February; March waits.
    assert (lines["urgent"]["payments"], lines["urgent"]["spent_fen"], said["other_fen"]) == (6, 6_006, 4_006)
    assert lines["urgent"]["purposes"] == [{"purpose": None, "payments": 6, "spent_fen": 6_006}]
    for secret in ("王小芳", "6222", "丧葬"):
        assert secret not in answer.text

    january = await told(http, f"funds/{fund.id}/statements/2026-01")
    assert ([one["code"] for one in january["lines"]], january["other_fen"]) == (["books"], 3_003)
    february = await told(http, f"funds/{fund.id}/statements/2026-02")
    assert (february["spent_fen"], february["other_fen"]) == (3_003, -3_003)
    quarter = await told(http, f"funds/{fund.id}/statements/2026-Q1")
    assert (quarter["spent_fen"], quarter["other_fen"], quarter["provisional"]) == (10_089, 4_006, False)


async def test_a_payment_of_an_open_month_is_told_by_no_line_and_one_that_came_back_is_taken_off(
    http, session
):
    fund, by = await ledger.fund(session), await accountant(session)
    urgent = await line(session, fund, "urgent")
    await gift(session, by, fund, 1_000_000, on=date(2026, 1, 1))
    posts = [await paid(session, fund, urgent, 1_000, on=date(2026, 1, 9)) for _ in range(6)]
    said = await told(http, f"funds/{fund.id}/spending")
    assert (said["lines"], said["other_fen"]) == ([], 6_000)
    reason = ReversalReason.RETURNED
    await reversals.reverse(session, by, attempt=new_id(), transfer_id=posts[0].id, reason=reason)
    await close(session, by, date(2026, 1, 1))
    await session.commit()
    statement = await told(http, f"funds/{fund.id}/statements/2026-01")
    assert statement["lines"][0]["spent_fen"] == 6_000
    assert (await told(http, f"funds/{fund.id}"))["spent_fen"] == 5_000


async def test_a_statement_adds_up_and_says_whether_its_books_are_closed(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    other = await ledger.fund(session, "OTHER")
    await gift(session, by, other, 999, on=date(2026, 1, 5))
    await gift(session, by, fund, 50_000, on=date(2026, 1, 5))
    await gift(session, by, fund, 20_000, on=date(2026, 2, 5), channel="cash")
    await ledger.give(session, fund, 3_000, on=date(2026, 2, 6))
    await gift(session, by, fund, 900, on=date(2026, 2, 6), **GOODS)
    await ledger.spend(session, fund, 11_000, on=date(2026, 2, 7))
    await posting.record(session, ledger.fee(18, on=date(2026, 2, 7)))
    await close(session, by, date(2026, 1, 1))
    await session.commit()
    said = await told(http, f"funds/{fund.id}/statements/2026-02")
    assert {one["channel"]: one["amount_fen"] for one in said["given"]} == {
        "wechat": 3_000, "cash": 20_000, "in_kind": 900,
    }  # fmt: skip
    flows = [
        said[f"{name}_fen"] for name in ("opening", "given", "refunded", "transferred", "spent", "closing")
    ]
    assert flows == [50_000, 23_000, 0, 0, 11_000, 62_000]
    assert (said["goods_given_fen"], said["association_fees_fen"], said["provisional"]) == (900, 18, True)
    assert (await told(http, f"funds/{fund.id}/statements/2026-01"))["provisional"] is False
    assert (await told(http, f"funds/{fund.id}/statements/2026"))["closing_fen"] == 62_000
    for period, status in (("2026-13", 422), ("2026-Q5", 422), ("1999", 422), ("2026-1", 422), ("2099", 404)):
        await told(http, f"funds/{fund.id}/statements/{period}", status)
    await told(http, f"funds/{new_id()}/statements/2026", 404)


async def test_a_campaign_is_told_quarter_by_quarter(http, session):
    fund, by = await ledger.fund(session), await accountant(session)
    appeal = await appeals.campaign(session, fund, starts_on=date(2026, 2, 1))
    care = await line(session, fund, "care")
    await gift(session, by, fund, 60_000, on=date(2026, 3, 31), campaign_id=appeal.id)
    await gift(session, by, fund, 40_000, on=date(2026, 4, 1), campaign_id=appeal.id)
    for _ in range(5):
        await paid(session, fund, care, 1_000, on=date(2026, 4, 2), campaign_id=appeal.id)
    await paid(session, fund, care, 7, on=date(2026, 4, 2))
    for month in (3, 4):
        await close(session, by, date(2026, month, 1))
    await session.commit()
    said = (await told(http, f"campaigns/{appeal.id}/quarters"))[::-1]
    assert [(one["quarter"], one["received_fen"], one["told_spent_fen"]) for one in said[:2]] == [
        ("2026-Q1", 60_000, 0), ("2026-Q2", 40_000, 5_000),
    ]  # fmt: skip
    assert said[-1]["received_until_then_fen"] == 100_000
    assert [one["over"] for one in said] == [True] * (len(said) - 1) + [False]
    assert (await told(http, f"campaigns/{appeal.id}"))["told_spent_fen"] == 5_000
