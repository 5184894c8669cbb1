"""Bills, differences and reports over the door."""

import io
from datetime import date, datetime, timedelta

import pytest

from app import clock
from app.db import new_id
from app.models.identity import Role
from app.services.imports.xlsx import read_xlsx
from app.services.reconciliation import matching
from tests.clients import staff_client
from tests.factories import bills as made

pytestmark = pytest.mark.usefixtures("connection")
DOOR = "/staff/v1/reconciliation"
DAY = clock.today() - timedelta(days=3)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=clock.SHANGHAI)


@pytest.fixture
async def accountant(session):
    return await staff_client(session, Role.ACCOUNTANT)


@pytest.fixture
def wechat():
    wechat = made.Wechat()
    wechat.paid("S-1", 500, NOON)
    return wechat


async def upload(caller, content, kind="trade", day=DAY):
    return await caller.post(f"{DOOR}/bills", params={"day": str(day), "type": kind}, content=content)


async def test_a_bill_is_uploaded_and_listed(accountant, wechat):
    answer = await upload(accountant, wechat.trade(DAY, bom=True, newline="\r\n"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["lines"], answer.json()["paid_fen"], answer.json()["reconciled_at"]) == (
        1,
        500,
        None,
    )
    again = await upload(accountant, wechat.trade(DAY, bom=True, newline="\r\n"))
    assert again.json()["id"] == answer.json()["id"]
    assert (await upload(accountant, wechat.trade(DAY))).status_code == 409
    await upload(accountant, wechat.flow(DAY), "fund_flow")
    page = (await accountant.get(f"{DOOR}/bills", params={"limit": 1})).json()
    assert page["items"][0]["bill_type"] == "trade"
    rest = (await accountant.get(f"{DOOR}/bills", params={"limit": 1, "cursor": page["next"]})).json()
    assert ([one["bill_type"] for one in rest["items"]], rest["next"]) == (["fund_flow"], None)


async def test_a_changed_bill_is_refused_with_its_place(accountant, wechat):
    answer = await upload(accountant, wechat.trade(DAY).replace(b"5.00", b"6.00", 1))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:nuanxin:problem:bill-refused")
    assert answer.json()["errors"][0]["pointer"].startswith("#totals/")


@pytest.mark.parametrize(("content", "day"), [
    (b"", DAY), (b"\xff\xfe", DAY), (b"<html>", DAY), (b"`1,`2", DAY), (b"\x00" * 100, DAY),
    (b"", clock.today()), (b"", date(1999, 1, 1)),
])  # fmt: skip
async def test_what_is_no_bill_is_refused(accountant, content, day):
    for kind in ("trade", "fund_flow"):
        assert (await upload(accountant, content, kind, day)).status_code == 422


async def test_a_difference_from_the_list_to_its_end(session, accountant, wechat):
    await upload(accountant, wechat.trade(DAY))
    await matching.match_due()
    [row] = (await accountant.get(f"{DOOR}/differences", params={"status": "open"})).json()["items"]
    assert (row["kind"], row["theirs_fen"], row["in_suspense"]) == ("missing_here", 500, True)
    path = f"{DOOR}/differences/{row['id']}"
    detail = (await accountant.get(path)).json()
    assert [(one["bill_date"], one["out_trade_no"]) for one in detail["lines"]] == [(str(DAY), "S-1")]
    early = await accountant.post(f"{path}/propose", json={"version": 1, "note": "查无结果"})
    assert early.json()["type"] == "urn:nuanxin:problem:wrong-state"
    seen = (await accountant.post(f"{path}/investigate", json={"version": 1})).json()
    stale = await accountant.post(f"{path}/investigate", json={"version": 1})
    assert stale.json()["current_version"] == seen["version"]
    body = {"version": seen["version"], "note": "查无结果"}
    unnamed = await accountant.post(f"{path}/resolve", json={**body, "action": "fund"})
    assert unnamed.status_code == 422
    seen = (await accountant.post(f"{path}/propose", json=body)).json()
    assert (await accountant.post(f"{path}/approve", json={"version": seen["version"]})).status_code == 403
    county = await staff_client(session, Role.COUNTY_ADMINISTRATOR)
    ended = (await county.post(f"{path}/approve", json={"version": seen["version"]})).json()
    assert (ended["status"], ended["in_suspense"]) == ("written_off", False)


async def test_a_stranger_s_money_is_asked_back_and_approved_by_another(session, accountant, wechat):
    await upload(accountant, wechat.trade(DAY))
    await matching.match_due()
    [row] = (await accountant.get(f"{DOOR}/differences")).json()["items"]
    path = f"{DOOR}/differences/{row['id']}"
    seen = (await accountant.post(f"{path}/investigate", json={"version": 1})).json()
    body, key = {"version": seen["version"], "reason": "not_acceptable"}, {"Idempotency-Key": str(new_id())}
    asked, again = [await accountant.post(f"{path}/refunds", json=body, headers=key) for _ in range(2)]
    assert (asked.status_code, asked.json()) == (201, again.json())
    refund = asked.json()
    assert (refund["difference_id"], refund["donation_id"], refund["amount_fen"]) == (row["id"], None, 500)
    now = (await accountant.get(path)).json()
    assert (now["status"], now["in_suspense"]) == ("refunding", True)
    where, seen = f"/staff/v1/refunds/{refund['id']}", {"version": refund["version"]}
    assert (await accountant.post(f"{where}/approve", json=seen)).status_code == 403
    county = await staff_client(session, Role.COUNTY_ADMINISTRATOR)
    answer = await county.post(f"{where}/approve", json=seen)
    assert (answer.status_code, answer.json()["status"]) == (200, "approved"), answer.text


async def test_an_accountant_of_a_county_reads_and_does_nothing(session, wechat):
    elsewhere = await staff_client(session, Role.ACCOUNTANT, "640104000000")
    answer = await upload(elsewhere, wechat.trade(DAY))
    assert answer.json()["type"] == "urn:nuanxin:problem:books-of-whole-association"
    assert (await elsewhere.get(f"{DOOR}/bills")).status_code == 200


async def test_the_report_as_figures_and_as_a_sheet(accountant, wechat):
    await upload(accountant, wechat.trade(DAY))
    await upload(accountant, wechat.flow(DAY), "fund_flow")
    await matching.match_due()
    told = (await accountant.get(f"{DOOR}/reports/{DAY}")).json()
    assert (told["paid_fen"], told["fees_fen"], told["closing_fen"], told["suspense_fen"]) == (
        500,
        3,
        497,
        500,
    )
    assert told["at_wechat"]["unexplained_fen"] == 0
    month = (await accountant.get(f"{DOOR}/reports/{DAY:%Y-%m}")).json()
    assert (month["first"], month["closing_fen"]) == (f"{DAY:%Y-%m}-01", 497)
    file = await accountant.get(f"{DOOR}/reports/{DAY}/workbook")
    figures = {line.cells[0]: line.cells[1:] for line in read_xlsx(io.BytesIO(file.content), "a.xlsx")}
    assert figures["100901 期末余额 Closing balance"] == ["4.97"]
    assert figures["无法解释 Unexplained"] == ["0"]


@pytest.mark.parametrize("period", ["2026-13", "2026-02-30", "0000-01", "2026", "x", "9999-12"])
async def test_no_such_period(accountant, period):
    assert (await accountant.get(f"{DOOR}/reports/{period}")).status_code == 422
