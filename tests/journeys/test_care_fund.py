"""A campaign opens, many give in a minute, and WeChat's notices come as they like: repeated, late, forged, never. One
gift goes back, the bank's list has errors, a family is paid; then the bill comes, nothing is left to clear, and a
donor proves offline that the own gift is in the books.

NUANXIN_GIFTS=3000 makes it as many as the association hopes for.
"""

import json
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import create_async_engine

from app import clock, db
from app.models.payments import PaymentOrder
from app.services.payments import queries, sending
from app.services.proofs import sealing
from app.services.reconciliation import matching
from app.settings import settings
from tests import servers
from tests.database import clone, drop
from tests.factories import disbursements as made
from tests.factories.gifts import csv
from tests.journeys.fund_house import AT_ONCE, House, all_at_once, all_shown, opened, verified
from tests.paying import control

GIFTS = int(os.environ.get("NUANXIN_GIFTS", "60"))
#: What comes of a payment, in this order; nothing: the phone has to say so. One in as many pays too late besides.
NOTICES: tuple[tuple[str, ...], ...] = (
    ("genuine",), ("genuine", "genuine", "genuine"), ("stale", "genuine"), ("bad_signature", "genuine"),
    ("tampered", "genuine", "tampered"), ("signtest", "genuine"), ("unknown_serial", "genuine"), ("early", "genuine"),
    ("other_merchant", "genuine"), ("other_app", "genuine"), ("other_currency", "genuine"), (), ("genuine",),
)  # fmt: skip
NEVER, LATE = NOTICES.index(()), len(NOTICES) - 1
#: The gift that goes back, and its donor's; the gift that is proved.
RETURNED, PROVED = 1, 2


@pytest.fixture
async def house(
    server: str, worker_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    """A server with WeChat Pay beside it. The jobs run when the story says so."""
    name = f"care_fund_{worker_id}"
    database = await clone(server, name)
    with servers.fleet(database, tmp_path) as fleet:
        monkeypatch.setenv("NUANXIN_WECHAT_PAY_BASE_URL", f"{fleet.urls[0]}/sandbox/wechat_pay")
        monkeypatch.setenv("NUANXIN_PUBLIC_URL", fleet.urls[0])
        settings.cache_clear()
        engine = create_async_engine(db.driver(database))
        db.bind(engine)
        async with httpx.AsyncClient(
            base_url=fleet.urls[0], timeout=30, trust_env=False, limits=httpx.Limits(max_connections=AT_ONCE)
        ) as http:
            yield await opened(http, GIFTS)
        await engine.dispose()
    settings.cache_clear()
    await drop(server, name)


async def a_campaign(house: House) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its fund with it."""
    fund = await house.county.create("/funds", {
        "code": "CARE", "region_code": made.COUNTY, "zh": "生育关怀基金", "en": "Care fund",
        "purpose_zh": "帮扶困难家庭", "purpose_en": "Families in need", "restricted": True,
    })  # fmt: skip
    drafted = await house.county.create("/campaigns", {
        "fund_id": fund["id"], "zh": "暖心·好孕", "en": "A warm start", "story_zh": "为困难家庭",
        "story_en": "For families", "mode": "targeted", "in_app_payment": True, "goal_fen": 10_000_000,
        "starts_on": str(clock.today()), "ends_on": str(clock.today() + timedelta(days=30)),
    })  # fmt: skip
    campaign = await house.county.call(
        "POST", f"/campaigns/{drafted['id']}/open", {"version": drafted["version"]}
    )
    return fund, campaign


def amount_of(number: int) -> int:
    return 1_000 + number


async def give(house: House, campaign: dict[str, Any]) -> list[uuid.UUID]:
    """Every third wants to be named."""

    async def begin(number: int) -> uuid.UUID:
        gift = {"campaign_id": campaign["id"], "amount_fen": amount_of(number), "shown_as": "anonymous"}
        if number % 3 == PROVED:
            gift |= {"shown_as": "name", "donor_name": f"欧阳{number}"}
        asked = await house.donors[number].create("/donations", gift)
        assert asked["parameters"]["package"].startswith("prepay_id=")
        return uuid.UUID(asked["donation_id"])

    return await all_at_once(begin, range(GIFTS))


async def close_late_ones(gifts: list[uuid.UUID]) -> None:
    """Their two hours are over before they pay."""
    late = [id for number, id in enumerate(gifts) if number % len(NOTICES) == LATE]
    over = clock.now() - timedelta(minutes=1)
    async with db.begin() as session:
        await session.execute(
            update(PaymentOrder).where(PaymentOrder.id.in_(late)).values(expires_at=over, next_query_at=over)
        )
    await queries.sweep()
    async with db.begin() as session:
        closed = select(PaymentOrder.id).where(PaymentOrder.status == "closed")
        assert set(await session.scalars(closed)) == set(late)


async def pay(gifts: list[uuid.UUID], at: datetime) -> None:
    async def confirm(number: int) -> None:
        kind = number % len(NOTICES)
        await control("pay", {
            "out_trade_no": gifts[number].hex, "paid_at": at.isoformat(), "notices": list(NOTICES[kind]),
            "even_if_closed": kind == LATE,
        })  # fmt: skip

    await all_at_once(confirm, range(GIFTS))


async def check_notices(gifts: list[uuid.UUID]) -> None:
    """The genuine were taken, each time; of the others none."""
    answers = Counter((one["kind"] == "genuine", one["status"]) for one in await control("wait"))
    sent = [kind for number in range(GIFTS) for kind in NOTICES[number % len(NOTICES)]]
    genuine = sent.count("genuine")
    assert answers == {(True, 204): genuine, (False, 400): len(sent) - genuine}


async def check_payments(house: House, gifts: list[uuid.UUID]) -> None:
    """Where no notice came, the phone has WeChat asked."""

    async def paid(number: int) -> tuple[str, str]:
        path = f"/donations/{gifts[number]}/payment"
        before = await house.donors[number].call("GET", path)
        after = await house.donors[number].call("GET", f"{path}?paid=true")
        return before["status"], after["status"]

    for number, told in enumerate(await all_at_once(paid, range(GIFTS))):
        assert told == ("prepaid" if number % len(NOTICES) == NEVER else "paid", "paid")


async def money_back(house: House, gift: uuid.UUID, at: datetime) -> int:
    """Half of it, asked for by one and approved by another."""
    half = amount_of(RETURNED) // 2
    asked = await house.accountant.create(
        f"/donations/{gift}/refunds", {"amount_fen": half, "reason": "wrong_amount"}
    )
    where = f"/refunds/{asked['id']}/approve"
    await house.county.call("POST", where, {"version": asked["version"]})
    await sending.sweep()
    refunded = {
        "out_refund_no": uuid.UUID(asked["id"]).hex, "accepted_at": at.isoformat(), "notices": ["genuine"] * 2,
    }  # fmt: skip
    await control("refund", refunded)
    await control("wait")
    [row] = (await house.county.call("GET", "/refunds?status=succeeded"))["items"]
    assert row["id"] == asked["id"]
    return half


async def bank_list(house: House, fund: dict[str, Any]) -> int:
    """Of six lines three are good: they are taken once."""
    day = str(clock.today() - timedelta(days=1))
    lines = csv(
        ("B0001", day, "500.00", "马建国", "", "姓名"), ("B0002", day, "0.01", "", "", ""),
        ("B0003", day, "1.005", "", "", ""), ("B0004", "昨天", "5.00", "", "", ""),
        ("B0002", day, "0.01", "", "", ""), ("B0005", day, "1,200.50", "", "", ""),
    ).encode()  # fmt: skip
    where = f"/donation-files?fund_id={fund['id']}&channel=bank"
    for commit, verdict in (("false", "ready"), ("true", "ready"), ("true", "known")):
        answer = await house.http.post(
            f"/staff/v1{where}&commit={commit}", content=lines, headers=house.accountant.headers
        )
        assert answer.json()["counts"] == {verdict: 3, "refused": 3}, answer.text
    return 500_00 + 1 + 1_200_50


async def help_a_family(house: House, fund: dict[str, Any], amount: int) -> None:
    """Three decide; the bank pays by its file."""
    line = await house.county.create(f"/funds/{fund['id']}/budget-lines", {
        "year": clock.today().year, "code": "urgent_help", "zh": "紧急救助", "en": "Urgent help",
        "amount_fen": 1_000_000,
    })  # fmt: skip
    row = await house.officer.create("/disbursements", {
        "fund_id": fund["id"], "budget_line_id": line["id"], "amount_fen": amount, "purpose": "紧急救助金",
        "payee_kind": "person", "payee": "王小芳", "bank_name": "宁夏银行凤凰支行", "bank_account": made.CARD,
    })  # fmt: skip
    place = f"/disbursements/{row['id']}"
    row = await house.officer.call("POST", f"{place}/submit", {"version": row["version"]})
    await house.officer.call("POST", f"{place}/approve", {"version": row["version"]}, expect=403)
    row = await house.county.create(f"{place}/approve", {"version": row["version"]})
    file = await house.accountant.create(
        "/bank-files", {"fund_id": fund["id"], "disbursement_ids": [row["id"]]}
    )
    yuan = f"{amount // 100}.{amount % 100:02}"
    said = made.answer((row["number"], yuan, "成功", str(clock.today()), ""))
    answer = await house.http.post(
        f"/staff/v1/bank-files/{file['id']}/answer?commit=true",
        content=said,
        headers=house.accountant.headers,
    )
    assert answer.json()["paid_fen"] == amount, answer.text
    [row] = (await house.officer.call("GET", "/disbursements?status=paid"))["items"]
    signed = {"version": row["version"], "acknowledged_on": str(clock.today()), "note": "本人签收"}
    row = await house.officer.call("POST", f"{place}/acknowledge", signed)
    assert row["status"] == "acknowledged"


async def account(house: House, code: str) -> int:
    found = (await house.accountant.call("GET", "/ledger/accounts?limit=100"))["items"]
    return next(int(one["balance_fen"]) for one in found if one["code"] == code)


async def check_cleared(house: House, at: datetime, in_all: int, refunded: int) -> None:
    """The bills of the day that it was paid on, and of the next, when WeChat paid out."""
    assert await account(house, "100901") == in_all - refunded
    await control("bill", {"ready": True})
    for days in (0, 1):
        await matching.reconcile((at + timedelta(days=days)).astimezone(clock.SHANGHAI).date())
    fees = await account(house, "5301")
    assert fees > 0
    assert await account(house, "100901") == 0
    assert (await house.accountant.call("GET", "/reconciliation/differences"))["items"] == []
    told = await house.accountant.call("GET", f"/reconciliation/reports/{clock.today():%Y-%m}")
    assert (told["closing_fen"], told["suspense_fen"]) == (0, 0)
    if clock.today().month == at.astimezone(clock.SHANGHAI).month:
        moved = told["paid_fen"], told["refunded_fen"], told["fees_fen"], told["paid_out_fen"]
        assert moved == (in_all, refunded, fees, in_all - refunded - fees)


async def proves_it(house: House, gift: uuid.UUID, folder: Path) -> None:
    """With the key from the public door, and nothing but Python."""
    await sealing.seal_all()
    proof = await house.donors[PROVED].call("GET", f"/gifts/{gift}/proof.json")
    [key] = await house.public().call("GET", "/proofs/keys")
    forged = proof | {"name": "欧阳他人"}
    for name, content in (("certificate.json", proof), ("forged.json", forged)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    said = [verified(folder / name, key["public_key"]) for name in ("certificate.json", "forged.json")]
    assert [one.returncode for one in said] == [0, 1], said
    assert f"¥{amount_of(PROVED) / 100:.2f}" in said[0].stdout


@pytest.mark.timeout(180 + GIFTS // 5)
async def test_from_the_first_gift_to_the_last_fen(house: House, tmp_path: Path) -> None:
    # Given a campaign to which people give,
    fund, campaign = await a_campaign(house)
    gifts = await give(house, campaign)
    await close_late_ones(gifts)
    # when WeChat tells of it in every way that it can,
    noon = datetime.combine(clock.today() - timedelta(days=2), time(12), clock.SHANGHAI)
    await pay(gifts, noon)
    await check_notices(gifts)
    await check_payments(house, gifts)
    # then every gift is there, once, and shown as its donor wants.
    in_all = sum(map(amount_of, range(GIFTS)))
    shown = await house.public().call("GET", f"/campaigns/{campaign['id']}")
    assert (shown["received_fen"], shown["gifts"]) == (in_all, GIFTS)
    listed = await all_shown(house, f"/campaigns/{campaign['id']}/donations")
    named = [one["name"] for one in listed if not one["anonymous"]]
    assert Counter(named) == Counter(f"欧阳{number}" for number in range(PROVED, GIFTS, 3))
    assert {one["name"] for one in listed if one["anonymous"]} == {"爱心人士"}
    assert sum(one["amount_fen"] for one in listed) == in_all

    # When one goes back in part, the bank's list is taken in and a family is paid,
    refunded = await money_back(house, gifts[RETURNED], noon + timedelta(hours=1))
    banked = await bank_list(house, fund)
    await help_a_family(house, fund, 2_345)
    # then the fund has the rest.
    standing = await house.county.call("GET", f"/funds/{fund['id']}")
    assert (standing["available_fen"], standing["held_fen"]) == (in_all - refunded + banked - 2_345, 0)

    # And when the bill comes, nothing is left to clear, the books balance,
    await check_cleared(house, noon, in_all, refunded)
    balance = await house.accountant.call("GET", f"/ledger/months/{clock.today():%Y-%m}/trial-balance")
    assert balance["totals"]["closing_debit_fen"] == balance["totals"]["closing_credit_fen"] > 0
    # and a donor proves the own gift.
    await proves_it(house, gifts[PROVED], tmp_path)
