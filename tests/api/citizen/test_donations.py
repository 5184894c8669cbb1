"""Giving at the citizen door, and what WeChat posts back."""

from types import SimpleNamespace

import pytest

from app.models.payments import OrderStatus
from app.services.donations.giving import MOST_FEN
from tests.clients import client
from tests.factories import giving as made
from tests.factories import ledger as given
from tests.factories.appointments import couple
from tests.guards.cast import CITIZEN, caller
from tests.paying import control, notice
from tests.residents import key

pytestmark = pytest.mark.usefixtures("wechat_pay")
DONATIONS = f"{CITIZEN}/donations"
NOTICES = "/callbacks/wechat_pay"


@pytest.fixture
async def scene(session):
    fund = await given.fund(session)
    campaign = await made.campaign(session, fund)
    home = await couple(session)
    await session.commit()
    return SimpleNamespace(
        goal={"campaign_id": str(campaign.id)}, fund=fund, campaign=campaign,
        donor=await caller(session, CITIZEN, home.wife_actor),
        other=await caller(session, CITIZEN, home.husband_actor),
    )  # fmt: skip


async def begin(scene, **body):
    answer = await scene.donor.post(DONATIONS, json=scene.goal | {"amount_fen": 100, **body}, headers=key())
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_gift_from_the_first_tap_to_paid(scene):
    gift = await begin(scene, shown_as="initial")
    assert set(gift["parameters"]) == {"timeStamp", "nonceStr", "package", "signType", "paySign"}
    path = f"{DONATIONS}/{gift['donation_id']}/payment"
    assert (await scene.donor.get(path)).json()["status"] == "prepaid"
    await control("pay", {"prepay_id": gift["parameters"]["package"][10:], "notices": []})
    paid = (await scene.donor.get(path, params={"paid": True})).json()
    assert (paid["status"], paid["amount_fen"]) == ("paid", 100)
    assert (await scene.other.get(path)).status_code == 404


async def test_the_same_key_again_is_the_same_gift_until_it_is_paid(scene):
    headers, body = key(), scene.goal | {"amount_fen": 100}
    one, two = [await scene.donor.post(DONATIONS, json=body, headers=headers) for _ in range(2)]
    assert one.json()["number"] == two.json()["number"]
    other = await scene.donor.post(DONATIONS, json=body | {"amount_fen": 101}, headers=headers)
    assert other.json()["type"].endswith("idempotency-key-reused")
    theirs = await scene.other.post(DONATIONS, json=body, headers=headers)
    assert theirs.json()["type"].endswith("idempotency-key-taken")
    gift = await made.gift(one.json()["donation_id"])
    await made.pay(gift)
    assert await made.told(gift) == "paid"
    again = await scene.donor.post(DONATIONS, json=body, headers=headers)
    assert (again.status_code, again.json()["type"]) == (409, "urn:nuanxin:problem:already-paid")


@pytest.mark.parametrize(
    "amount", ["0", "-1", "1.5", "1.0", "true", '"100"', "null", str(MOST_FEN + 1), "1e2"]
)
async def test_an_amount_that_is_none(scene, amount):
    body = f'{{"campaign_id": "{scene.campaign.id}", "amount_fen": {amount}}}'
    headers = key() | {"Content-Type": "application/json"}
    answer = await scene.donor.post(DONATIONS, content=body, headers=headers)
    assert answer.status_code == 422
    assert [place["pointer"] for place in answer.json()["errors"]] == ["/amount_fen"]


async def test_a_refusal_names_what_is_missing(session, scene):
    scene.campaign.in_app_payment = False
    await session.commit()
    answer = await scene.donor.post(DONATIONS, json=scene.goal | {"amount_fen": 1}, headers=key())
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:nuanxin:problem:payment-not-lawful")
    assert "小程序捐款" in answer.json()["missing"][0]


async def test_a_wechat_that_does_not_answer_is_unavailable_and_the_gift_can_go_on(scene):
    headers, body = key(), scene.goal | {"amount_fen": 100}
    await control("fail", {"call": "prepay", "trouble": "lost", "times": 3})
    answer = await scene.donor.post(DONATIONS, json=body, headers=headers)
    assert answer.status_code == 503
    await control("fail", {"call": "prepay", "times": 0})
    assert (await scene.donor.post(DONATIONS, json=body, headers=headers)).status_code == 201


# What WeChat posts


async def test_a_notice_is_answered_204_however_often_it_comes(scene):
    gift = await made.gift((await begin(scene))["donation_id"])
    await made.pay(gift)
    async with client() as wechat:
        for _ in range(2):
            headers, body = await notice(gift.id.hex)
            answer = await wechat.post(NOTICES, content=body, headers=headers)
            assert (answer.status_code, answer.content) == (204, b"")
    assert (await made.order(gift.id)).status is OrderStatus.PAID


@pytest.mark.parametrize(
    "kind",
    [
        "stale", "early", "bad_signature", "unknown_serial", "signtest", "tampered", "other_merchant", "other_app",
        "other_currency",
    ],
)  # fmt: skip
async def test_a_forged_notice_is_refused_and_moves_nothing(scene, kind):
    gift = await made.gift((await begin(scene))["donation_id"])
    await made.pay(gift)
    headers, body = await notice(gift.id.hex, kind)
    async with client() as wechat:
        answer = await wechat.post(NOTICES, content=body, headers=headers)
    assert (answer.status_code, set(answer.json())) == (400, {"code", "message"})
    assert (await made.order(gift.id)).status is OrderStatus.PREPAID


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 100_000])
async def test_what_nobody_signed_is_refused(connection, body):
    async with client() as stranger:
        assert (await stranger.post(NOTICES, content=body)).status_code == 400
        assert (await stranger.get(NOTICES)).status_code == 405


async def test_a_notice_has_a_largest_size(connection):
    async with client() as stranger:
        assert (await stranger.post(NOTICES, content=b"x" * 300_000)).status_code == 413
