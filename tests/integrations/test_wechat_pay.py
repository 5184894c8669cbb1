"""Our client of WeChat Pay against the stand-in, over real HTTP on loopback, and another hand's client beside it."""

import asyncio
import base64
import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from fastapi import FastAPI
from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

from app import clock
from app.integrations import wechat_pay
from app.integrations.wechat_pay import (
    AnswerNotGenuine,
    BillNotReady,
    NoticeReason,
    NoticeRefused,
    Order,
    PaymentState,
    RefundStatus,
    WechatPayRefused,
    WechatPayUnavailable,
    bills,
    trust,
)
from app.sandbox.wechat_pay import Merchant, create_wechat_pay
from app.sandbox.wechat_pay.bills import COLUMNS
from app.sandbox.wechat_pay.signatures import KEYS, Signatures
from app.settings import DEVELOPMENT_PAY_PUBLIC_KEY_ID, settings
from tests.paying import control, notice
from tests.servers import serving

OPENID = "oA-payer_1"
NUMBER, REFUND_NUMBER = "0192f0c1a2b37def8123456789abcdef", "refund-0192f0c1"
NAME = '关怀基金·"爱心", 逗号,，'
NOON = datetime(2026, 11, 20, 12, tzinfo=clock.SHANGHAI)
JSAPI = "/v3/pay/transactions/jsapi"


class Stage:
    """The application that the one server of this file plays now: a start costs more than a test."""

    url: str
    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    with serving(stage) as stage.url:
        yield stage


@pytest.fixture(scope="module")
def shop() -> Iterator[Stage]:
    """Where notices arrive."""
    shop = Stage()
    with serving(shop) as shop.url:
        yield shop


@pytest.fixture
def point(monkeypatch):
    """Settings read again with these."""

    def at(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"NUANXIN_{name.upper()}", value)
        settings.cache_clear()
        trust._store.cache_clear()

    yield at
    monkeypatch.undo()
    settings.cache_clear()
    settings()
    trust._store.cache_clear()


@pytest.fixture
def pay(stage, point) -> FastAPI:
    """A WeChat Pay in which nothing has happened yet."""
    stage.app = create_wechat_pay(Merchant.of(settings()))
    point(wechat_pay_base_url=stage.url)
    return stage.app


@pytest.fixture
def with_certificates(pay, point):
    """A merchant of before 2024-09."""
    point(wechat_pay_public_keys="{}", wechat_pay_certificates="true")


@pytest.fixture
def at(monkeypatch):
    def set_clock(now: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: now)

    return set_clock


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def order(number: str = NUMBER, fen: int = 10_000, **changes: Any) -> Order:
    return replace(Order(number, fen, NAME, OPENID, clock.now() + timedelta(minutes=30)), **changes)


transactions: list[str] = []


async def paid(number: str = NUMBER, fen: int = 10_000, **how: Any) -> str:
    await wechat_pay.prepay(order(number, fen))
    told = await control("pay", {"out_trade_no": number, "notices": [], **how})
    transactions.append(told["transaction_id"])
    return transactions[-1]


async def refunded(fen: int = 4_000, number: str = REFUND_NUMBER, **changes: Any) -> wechat_pay.RefundState:
    """Of what was paid last."""
    of = changes.pop("transaction_id", None) or transactions[-1]
    asked = {"transaction_id": of, "out_refund_no": number, "refund_fen": fen, "total_fen": 10_000}
    return await wechat_pay.refund(**(asked | changes))


async def calls(call: str) -> int:
    async with httpx.AsyncClient(
        base_url=settings().wechat_pay_base_url, trust_env=False, verify=False
    ) as http:
        return (await http.get("/control/calls")).json()[call]


async def refusal(work: Any) -> str:
    with pytest.raises(WechatPayRefused) as refused:
        await work
    return refused.value.code


async def why(headers: dict[str, str], body: bytes) -> NoticeReason:
    with pytest.raises(NoticeRefused) as refused:
        await wechat_pay.read_notice(headers, body)
    return refused.value.reason


# Orders


async def test_an_order_is_paid_by_who_it_was_made_for(pay):
    prepay_id = await wechat_pay.prepay(order())
    before = await wechat_pay.query(NUMBER)
    assert (before.state, before.paid, before.amount_fen) == (PaymentState.NOTPAY, False, 10_000)
    done = await control(
        "pay", {"prepay_id": prepay_id, "paid_at": "2026-11-20T12:00:00+08:00", "notices": []}
    )
    after = await wechat_pay.query(NUMBER)
    assert (after.state, after.paid, after.paid_at) == (PaymentState.SUCCESS, True, NOON)
    assert (after.transaction_id, after.amount_fen) == (done["transaction_id"], 10_000)


async def test_the_phone_gets_what_request_payment_takes(pay):
    given = wechat_pay.payment_parameters(await wechat_pay.prepay(order()))
    assert list(given) == ["timeStamp", "nonceStr", "package", "signType", "paySign"]
    assert given["package"].startswith("prepay_id=wx")
    lines = [settings().wechat_appid, given["timeStamp"], given["nonceStr"], given["package"], ""]
    key = serialization.load_pem_public_key((KEYS / "merchant_public.pem").read_bytes())
    signature = base64.b64decode(given["paySign"])
    key.verify(signature, "\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_the_same_order_again_is_one_order(pay):
    wanted = order()
    first, second = await wechat_pay.prepay(wanted), await wechat_pay.prepay(wanted)
    assert first != second
    await control("pay", {"prepay_id": first, "notices": []})
    assert (await wechat_pay.query(NUMBER)).paid


async def test_an_order_cannot_be_changed_paid_twice_or_opened_again(pay):
    wanted = order()
    await wechat_pay.prepay(wanted)
    assert await refusal(wechat_pay.prepay(replace(wanted, amount_fen=10_001))) == "INVALID_REQUEST"
    await control("pay", {"out_trade_no": NUMBER, "notices": []})
    assert await refusal(wechat_pay.prepay(wanted)) == "OUT_TRADE_NO_USED"
    assert await refusal(wechat_pay.close(NUMBER)) == "TRADE_ERROR"
    other = replace(wanted, out_trade_no="other-1")
    await wechat_pay.prepay(other)
    await wechat_pay.close("other-1")
    await wechat_pay.close("other-1")
    assert (await wechat_pay.query("other-1")).state is PaymentState.CLOSED
    assert await refusal(wechat_pay.prepay(other)) == "ORDER_CLOSED"


async def test_an_order_ends_by_itself(pay, at):
    await wechat_pay.prepay(order())
    at(clock.now() + timedelta(minutes=31))
    assert (await wechat_pay.query(NUMBER)).state is PaymentState.CLOSED


async def test_the_payer_may_have_been_quicker_than_the_closing(pay):
    await wechat_pay.prepay(order())
    await wechat_pay.close(NUMBER)
    await control("pay", {"out_trade_no": NUMBER, "notices": [], "even_if_closed": True})
    assert (await wechat_pay.query(NUMBER)).paid


async def test_an_order_that_wechat_never_heard_of_is_none(pay):
    assert await wechat_pay.query(NUMBER) is None
    assert await refusal(wechat_pay.close(NUMBER)) == "ORDER_NOT_EXIST"


@pytest.mark.parametrize(
    "number", ["../certificates", "a b c d e f", "short", "x" * 33, "六个汉字号码", "abcdef\n"]
)
async def test_a_number_that_would_lead_elsewhere_goes_nowhere(pay, number):
    for work in (wechat_pay.query(number), wechat_pay.close(number), wechat_pay.prepay(order(number))):
        with pytest.raises(ValueError, match="number"):
            await work
    assert await calls("query") + await calls("close") + await calls("prepay") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_fen": 0}, {"amount_fen": -1}, {"amount_fen": 1.5}, {"description": ""}, {"openid": ""},
        {"expires_at": NOON - timedelta(days=400)},
    ],
)  # fmt: skip
async def test_wechat_refuses_what_is_no_order(pay, wrong):
    assert await refusal(wechat_pay.prepay(replace(order(), **wrong))) == "PARAM_ERROR"


# Refunds


async def test_a_refund_is_accepted_and_done_later(pay):
    transaction_id = await paid()
    state = await refunded()
    assert (state.status, state.refund_fen, state.total_fen) == (RefundStatus.PROCESSING, 4_000, 10_000)
    assert (state.transaction_id, state.out_trade_no) == (transaction_id, NUMBER)
    assert (await wechat_pay.query(NUMBER)).state is PaymentState.REFUND
    finished = {"out_refund_no": REFUND_NUMBER, "finished_at": NOON.isoformat(), "notices": []}
    await control("refund", finished)
    done = await wechat_pay.query_refund(REFUND_NUMBER)
    assert (done.status, done.finished_at, done.refund_id) == (RefundStatus.SUCCESS, NOON, state.refund_id)


async def test_the_same_refund_again_is_one_refund(pay):
    await paid()
    assert await refunded() == await refunded()
    assert await refusal(refunded(5_000)) == "INVALID_REQUEST"


async def test_no_more_goes_back_than_came(pay):
    await paid()
    await refunded(6_000)
    assert await refusal(refunded(4_001, "refund-2")) == "INVALID_REQUEST"
    assert await refusal(refunded(1, "refund-2", total_fen=9_999)) == "INVALID_REQUEST"
    await refunded(4_000, "refund-2")
    await control("refund", {"out_refund_no": "refund-2", "status": "CLOSED", "notices": []})
    await refunded(4_000, "refund-3")


@pytest.mark.parametrize("status", [RefundStatus.ABNORMAL, RefundStatus.CLOSED])
async def test_a_refund_may_fail(pay, status):
    await paid()
    await refunded()
    await control("refund", {"out_refund_no": REFUND_NUMBER, "status": status, "notices": []})
    assert (await wechat_pay.query_refund(REFUND_NUMBER)).status is status


async def test_a_refund_of_what_was_not_paid_is_refused(pay):
    await wechat_pay.prepay(order())
    assert await refusal(refunded(transaction_id="4200")) == "RESOURCE_NOT_EXISTS"
    assert await wechat_pay.query_refund(REFUND_NUMBER) is None


async def test_a_refund_that_others_made_is_found_by_whatever_number_they_gave_it(pay):
    await paid()
    await refunded(number="BY|HAND*1@x")
    assert (await wechat_pay.query_refund("BY|HAND*1@x")).refund_fen == 4_000


async def test_a_refund_after_a_year_is_refused(pay, at):
    await paid()
    at(clock.now() + timedelta(days=366))
    assert await refusal(refunded()) == "INVALID_REQUEST"


# Answers that are not what they should be


@pytest.mark.parametrize("trouble", ["unsigned", "bad_signature", "stale", "unknown_serial"])
async def test_an_answer_that_wechat_did_not_just_sign_is_not_believed(pay, trouble):
    await paid()
    await control("fail", {"call": "query", "trouble": trouble, "times": 9})
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.query(NUMBER)
    await control("fail", {"call": "close", "trouble": trouble, "times": 9})
    await wechat_pay.prepay(order("another-1"))
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.close("another-1")  # 204: nothing to read, and yet


async def test_an_answer_about_another_order_is_not_believed(pay, stage):
    await paid()
    real = stage.app

    async def swapped(scope, receive, send):
        path = scope["path"].replace("other-order", NUMBER)
        await real(scope | {"path": path}, receive, send)

    stage.app = swapped
    await control("fail", {"call": "download", "times": 0})
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.query("other-order")


def answering(told: Any) -> Any:
    """A WeChat Pay that says this to everything, and signs it."""
    signatures = Signatures(Merchant.of(settings()))
    body = json.dumps(told).encode()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        given = signatures.headers(body, signatures.merchant.public_key_id)
        headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


REFUND: dict[str, Any] = {
    "out_refund_no": REFUND_NUMBER, "out_trade_no": NUMBER, "refund_id": "5030", "transaction_id": "4200",
    "status": "PROCESSING", "amount": {"refund": 4_000, "total": 10_000, "currency": "CNY"},
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"out_refund_no": "another"}, {"transaction_id": "another"}, {"status": "DONE"}, {"refund_id": None},
        {"amount": {"refund": 4_001, "total": 10_000}}, {"amount": {"refund": 4_000, "total": 9_999}},
        {"amount": {"refund": 4_000, "total": 10_000, "currency": "USD"}}, {"amount": 4_000},
    ],
)  # fmt: skip
async def test_a_refund_that_was_not_asked_for_is_not_believed(pay, stage, wrong):
    stage.app = answering(REFUND)
    assert (await refunded(transaction_id="4200")).status is RefundStatus.PROCESSING
    stage.app = answering(REFUND | wrong)
    with pytest.raises(WechatPayUnavailable) as failed:
        await refunded(transaction_id="4200")
    assert failed.value.maybe_done


@pytest.mark.parametrize(
    "told",
    [
        {}, [], None, "wx1", {"appid": "wx0000000000000001"}, {"mchid": "1900000002"}, {"amount": {"total": "1"}},
        {"transaction_id": None}, {"success_time": "today"}, {"trade_state": "PAID"},
    ],
)  # fmt: skip
async def test_a_signed_answer_of_another_shape_is_none(pay, stage, told):
    stage.app = answering(PLAIN)
    assert (await wechat_pay.query(NUMBER)).paid
    stage.app = answering(PLAIN | told if isinstance(told, dict) and told else told)
    for work in (wechat_pay.query(NUMBER), wechat_pay.prepay(order())):
        with pytest.raises(WechatPayUnavailable):
            await work


@pytest.mark.parametrize(
    ("status", "code", "expected", "maybe_done"),
    [
        (400, "PARAM_ERROR", WechatPayRefused, None),
        (403, "RULE_LIMIT", WechatPayRefused, None),
        (500, "OPENID_MISMATCH", WechatPayRefused, None),
        (401, "SIGN_ERROR", WechatPayUnavailable, False),
        (403, "NO_AUTH", WechatPayUnavailable, False),
        (400, "APPID_MCHID_NOT_MATCH", WechatPayUnavailable, False),
        (429, "FREQUENCY_LIMITED", WechatPayUnavailable, False),
        (500, "SYSTEM_ERROR", WechatPayUnavailable, True),
    ],
)
async def test_refusals_by_code(pay, status, code, expected, maybe_done):
    await control("fail", {"call": "prepay", "status": status, "code": code})
    with pytest.raises(expected) as refused:
        await wechat_pay.prepay(order())
    assert refused.value.code == code
    assert getattr(refused.value, "maybe_done", None) is maybe_done
    assert await calls("prepay") == 1


async def test_a_question_is_asked_again(pay):
    await paid()
    await control("fail", {"call": "query", "trouble": "lost", "times": 2})
    assert (await wechat_pay.query(NUMBER)).paid
    assert await calls("query") == 3


async def test_a_refund_is_asked_for_again_and_is_still_one(pay):
    await paid()
    await control("fail", {"call": "refund", "trouble": "lost"})
    assert (await refunded()).refund_fen == 4_000
    assert await calls("refund") == 2
    assert await refusal(refunded(6_001, "refund-2")) == "INVALID_REQUEST"
    await refunded(6_000, "refund-3")


async def test_an_order_whose_answer_was_lost_is_not_asked_for_again(pay):
    await control("fail", {"call": "prepay", "trouble": "lost"})
    with pytest.raises(WechatPayUnavailable) as lost:
        await wechat_pay.prepay(order())
    assert (lost.value.maybe_done, await calls("prepay")) == (True, 1)
    assert (await wechat_pay.query(NUMBER)).state is PaymentState.NOTPAY


async def test_nothing_was_done_where_nobody_listens(pay, point):
    point(wechat_pay_base_url=closed_port())
    with pytest.raises(WechatPayUnavailable) as refused:
        await wechat_pay.prepay(order())
    assert not refused.value.maybe_done


async def test_the_spare_host_helps_out_with_everything_that_was_not_sent(pay, stage, point):
    point(wechat_pay_base_url=closed_port(), wechat_pay_spare_url=stage.url)
    assert await wechat_pay.prepay(order())
    assert (await wechat_pay.query(NUMBER)).state is PaymentState.NOTPAY


async def test_what_may_have_been_done_stays_so_when_the_last_try_reached_nobody(pay, stage, point):
    await paid()
    await control("fail", {"call": "refund", "trouble": "lost"})
    point(wechat_pay_base_url=closed_port(), wechat_pay_spare_url=stage.url)
    with pytest.raises(WechatPayUnavailable) as lost:
        await refunded()
    assert lost.value.maybe_done


async def test_a_silent_or_endless_answer_ends(pay, stage, monkeypatch):
    async def endless(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b" " * 50_000, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})

    async def silent(scope, receive, send):
        await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for app in (endless, silent):
        monkeypatch.setattr(wechat_pay.sending.send, "__kwdefaults__", {
            **wechat_pay.sending.send.__kwdefaults__, "seconds": 5 if app is endless else 0.05,
        })  # fmt: skip
        stage.app = app
        with pytest.raises(WechatPayUnavailable) as lost:
            await wechat_pay.prepay(order())
        assert (type(lost.value), lost.value.maybe_done) == (WechatPayUnavailable, True)


async def test_a_server_without_keys_of_its_own_asks_nobody_and_believes_nobody(pay, monkeypatch):
    await paid()
    headers, body = await notice(NUMBER)
    monkeypatch.setattr(type(settings()), "wechat_pay_ready", False)
    with pytest.raises(WechatPayUnavailable):
        await wechat_pay.query(NUMBER)
    assert await why(headers, body) is NoticeReason.UNKNOWN_KEY
    assert await calls("query") == 0


async def test_keys_may_be_texts_as_well_as_files(pay, point):
    private = (KEYS / "merchant_private.pem").read_text().replace("\n", "\\n")
    public = json.dumps({DEVELOPMENT_PAY_PUBLIC_KEY_ID: (KEYS / "wechat_pay_public.pem").read_text()})
    point(wechat_pay_private_key=private, wechat_pay_public_keys=public)
    wechat_pay.prepare()
    assert await wechat_pay.prepay(order())
    point(wechat_pay_private_key="/nowhere.pem")
    with pytest.raises(FileNotFoundError):
        wechat_pay.prepare()


async def test_nothing_of_the_payer_or_the_keys_is_logged(pay, caplog):
    caplog.set_level(logging.DEBUG)
    await paid()
    for call in ("prepay", "query", "refund"):
        await control("fail", {"call": call, "trouble": "bad_signature", "times": 9})
    errors = []
    for work in (wechat_pay.prepay(order("another-1")), wechat_pay.query(NUMBER), refunded()):
        with pytest.raises(WechatPayUnavailable) as failed:
            await work
        errors.append(repr(failed.value))
    ours = [f"{record.getMessage()} {vars(record)}" for record in caplog.records if "nuanxin" in record.name]
    assert ours
    for secret in (OPENID, NAME, settings().wechat_pay_apiv3_key.get_secret_value(), "PRIVATE KEY"):
        assert secret not in " ".join(ours + errors)
    assert OPENID not in repr(order())


# Certificates


async def test_answers_signed_with_a_platform_certificate(pay, with_certificates):
    await paid()
    assert (await wechat_pay.query(NUMBER)).paid
    assert await calls("certificates") == 1
    assert (await wechat_pay.read_notice(*await notice(NUMBER))).event.paid


async def test_a_new_certificate_is_fetched_once_a_minute_at_most(pay, with_certificates, at):
    await paid()
    await control("new-certificate")
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.query(NUMBER)
    assert await calls("certificates") == 1
    at(clock.now() + timedelta(seconds=61))
    assert (await wechat_pay.query(NUMBER)).paid
    assert await calls("certificates") == 2


async def test_a_certificate_ends(pay, with_certificates, at):
    await paid()
    at(clock.now() + timedelta(days=1827))
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.query(NUMBER)


async def test_certificates_count_only_with_the_apiv3_key_and_a_signature(pay, with_certificates, point):
    wanted = order()
    await control("fail", {"call": "certificates", "trouble": "bad_signature"})
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.prepay(wanted)
    point(wechat_pay_apiv3_key="x" * 32)
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.prepay(wanted)
    assert await calls("certificates") == 2


async def test_many_at_once_fetch_the_certificates_once(pay, with_certificates):
    await asyncio.gather(*(wechat_pay.prepay(order(f"order-{number}")) for number in range(8)))
    assert await calls("certificates") == 1


async def test_both_kinds_of_key_while_a_merchant_changes_over(pay, with_certificates, point):
    await paid()
    old = await notice(NUMBER)
    public = {DEVELOPMENT_PAY_PUBLIC_KEY_ID: str(KEYS / "wechat_pay_public.pem")}
    point(wechat_pay_public_keys=json.dumps(public))
    await paid("another-1")
    new = await notice("another-1")
    keys = [(await wechat_pay.read_notice(*one)).key_id for one in (old, new)]
    assert keys[1] == DEVELOPMENT_PAY_PUBLIC_KEY_ID != keys[0]
    point(wechat_pay_certificates="false")
    assert await why(*old) is NoticeReason.UNKNOWN_KEY
    assert (await wechat_pay.read_notice(*new)).event.paid


# Notices


async def test_a_notice_of_a_payment(pay):
    transaction_id = await paid(paid_at=NOON.isoformat())
    headers, body = await notice(NUMBER)
    told = await wechat_pay.read_notice(headers, body)
    assert told.event_type == "TRANSACTION.SUCCESS"
    assert told.event == await wechat_pay.query(NUMBER)
    assert (told.event.transaction_id, told.event.amount_fen, told.event.paid_at) == (
        transaction_id,
        10_000,
        NOON,
    )
    assert told.key_id == DEVELOPMENT_PAY_PUBLIC_KEY_ID
    assert len(told.digest) == 32
    assert OPENID not in f"{told} {told.content}"
    again = await wechat_pay.read_notice(*await notice(NUMBER))
    assert (again.id, again.event) == (told.id, told.event)
    assert (
        await wechat_pay.read_notice({name.upper(): value for name, value in headers.items()}, body)
    ) == told


@pytest.mark.parametrize("status", ["SUCCESS", "ABNORMAL", "CLOSED"])
async def test_a_notice_of_a_refund(pay, status):
    await paid()
    await refunded()
    await control("refund", {"out_refund_no": REFUND_NUMBER, "status": status, "notices": []})
    told = await wechat_pay.read_notice(*await notice(REFUND_NUMBER, refund=True))
    assert told.event_type == f"REFUND.{status}"
    assert told.event == await wechat_pay.query_refund(REFUND_NUMBER)
    payment = await wechat_pay.read_notice(*await notice(NUMBER))
    assert payment.event.state is PaymentState.SUCCESS
    assert payment.id != told.id


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("stale", NoticeReason.STALE),
        ("early", NoticeReason.STALE),
        ("bad_signature", NoticeReason.BAD_SIGNATURE),
        ("unknown_serial", NoticeReason.UNKNOWN_KEY),
        ("signtest", NoticeReason.PROBE),
        ("tampered", NoticeReason.BAD_CIPHERTEXT),
        ("other_merchant", NoticeReason.NOT_OURS),
        ("other_app", NoticeReason.NOT_OURS),
        ("other_currency", NoticeReason.NOT_OURS),
    ],
)
async def test_mischief_is_refused(pay, kind, reason):
    await paid()
    assert await why(*await notice(NUMBER, kind)) is reason


async def test_another_amount_is_for_the_caller_to_see(pay):
    await paid()
    assert (await wechat_pay.read_notice(*await notice(NUMBER, "other_amount"))).event.amount_fen == 10_001


async def test_one_changed_byte_or_header_is_noticed(pay):
    await paid()
    headers, body = await notice(NUMBER)
    assert await why(headers, body.replace(b"TRANSACTION", b"TRANSACTIOM")) is NoticeReason.BAD_SIGNATURE
    assert await why(headers, body + b" ") is NoticeReason.BAD_SIGNATURE
    for name, value, reason in (
        ("Wechatpay-Timestamp", str(int(headers["Wechatpay-Timestamp"]) + 1), NoticeReason.BAD_SIGNATURE),
        ("Wechatpay-Nonce", "0" * 32, NoticeReason.BAD_SIGNATURE),
        ("Wechatpay-Signature", "not base64!", NoticeReason.BAD_SIGNATURE),
        ("Wechatpay-Signature", "", NoticeReason.BAD_SIGNATURE),
        ("Wechatpay-Timestamp", "now", NoticeReason.MALFORMED),
        ("Wechatpay-Timestamp", "9" * 400, NoticeReason.MALFORMED),
        ("Wechatpay-Timestamp", "１７６３７９３０００", NoticeReason.MALFORMED),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3", NoticeReason.MALFORMED),
        ("Wechatpay-Serial", "", NoticeReason.MALFORMED),
        ("Wechatpay-Nonce", "", NoticeReason.MALFORMED),
    ):
        assert await why(headers | {name: value}, body) is reason, name
    assert await why({}, b"") is NoticeReason.MALFORMED


async def test_the_window_is_five_minutes(pay, at):
    await paid()
    headers, body = await notice(NUMBER)
    signed = datetime.fromtimestamp(int(headers["Wechatpay-Timestamp"]), clock.SHANGHAI)
    for seconds in (-300, 300):
        at(signed + timedelta(seconds=seconds))
        assert (await wechat_pay.read_notice(headers, body)).event.paid
        at(signed + timedelta(seconds=seconds * 301 / 300))
        assert await why(headers, body) is NoticeReason.STALE


PLAIN: dict[str, Any] = {
    "appid": "wx0000000000000000", "mchid": "1900000001", "out_trade_no": NUMBER, "transaction_id": "42000001",
    "trade_state": "SUCCESS", "success_time": "2026-11-20T12:00:00+08:00",
    "amount": {"total": 10_000, "currency": "CNY"}, "payer": {"openid": OPENID},
}  # fmt: skip


def signed(envelope: dict[str, Any] | bytes, plain: Any = PLAIN) -> tuple[dict[str, str], bytes]:
    """Whatever it is, WeChat signed and sealed it."""
    signatures = Signatures(Merchant.of(settings()))
    body = envelope
    if isinstance(envelope, dict):
        sealed = signatures.seal(
            plain if isinstance(plain, bytes) else json.dumps(plain).encode(), "transaction"
        )
        whole = {
            "id": "EV-1", "create_time": "2026-11-20T12:00:00+08:00", "resource_type": "encrypt-resource",
            "event_type": "TRANSACTION.SUCCESS", "resource": sealed,
        }  # fmt: skip
        body = json.dumps(whole | envelope).encode()
    return signatures.headers(body, signatures.merchant.public_key_id), body


@pytest.mark.parametrize(
    "envelope",
    [
        b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 9_000, b'{"id": 1}', {"id": "\x00"}, {"id": "x" * 65},
        {"resource_type": "plain"}, {"resource": None}, {"resource": {"algorithm": "AEAD_AES_128_GCM"}},
        {"create_time": "yesterday"}, {"event_type": ["TRANSACTION.SUCCESS"]},
    ],
)  # fmt: skip
async def test_a_signed_envelope_of_another_shape_is_refused(pay, envelope):
    assert await why(*signed(envelope)) is NoticeReason.MALFORMED


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (b"nonsense", NoticeReason.MALFORMED),
        (b"[]", NoticeReason.MALFORMED),
        (PLAIN | {"amount": {"total": "10000", "currency": "CNY"}}, NoticeReason.MALFORMED),
        (PLAIN | {"amount": {"total": 100.5, "currency": "CNY"}}, NoticeReason.MALFORMED),
        (PLAIN | {"amount": {"total": True, "currency": "CNY"}}, NoticeReason.MALFORMED),
        (PLAIN | {"amount": {"total": -1, "currency": "CNY"}}, NoticeReason.MALFORMED),
        (PLAIN | {"amount": {"total": 1, "currency": "USD"}}, NoticeReason.NOT_OURS),
        (PLAIN | {"amount": None}, NoticeReason.MALFORMED),
        (PLAIN | {"transaction_id": ""}, NoticeReason.MALFORMED),
        (PLAIN | {"success_time": "2026-11-20T12:00:00"}, NoticeReason.MALFORMED),
        (PLAIN | {"out_trade_no": "a\ud800"}, NoticeReason.MALFORMED),
        (PLAIN | {"trade_state": "NOTPAY"}, NoticeReason.MALFORMED),
        (PLAIN | {"trade_state": "PAID"}, NoticeReason.MALFORMED),
        (PLAIN | {"mchid": 1900000001}, NoticeReason.MALFORMED),
        (PLAIN | {"mchid": "1900000002"}, NoticeReason.NOT_OURS),
        (PLAIN | {"appid": "wx0000000000000001"}, NoticeReason.NOT_OURS),
    ],
)
async def test_sealed_content_of_another_shape_is_refused(pay, plain, reason):
    assert await why(*signed({}, plain)) is reason
    assert (await wechat_pay.read_notice(*signed({}))).event.paid


async def test_events_we_do_not_know_are_refused(pay):
    assert await why(*signed({"event_type": "COUPON.USE"})) is NoticeReason.UNKNOWN_EVENT
    assert await why(*signed({"event_type": "REFUND.SUCCESS"})) is NoticeReason.MALFORMED
    refund = {name: value for name, value in REFUND.items() if name != "status"}
    refund |= {"mchid": "1900000001", "refund_status": "SUCCESS"}
    assert (
        await wechat_pay.read_notice(*signed({"event_type": "REFUND.SUCCESS"}, refund))
    ).event.refund_fen == 4_000
    assert await why(*signed({"event_type": "REFUND.CLOSED"}, refund)) is NoticeReason.MALFORMED
    resource = Signatures(Merchant.of(settings())).seal(b"{}", "") | {"nonce": "short"}
    assert await why(*signed({"resource": resource})) is NoticeReason.MALFORMED
    assert await why(*signed({"resource": resource | {"nonce": "0" * 12}})) is NoticeReason.BAD_CIPHERTEXT


# The stand-in posts them


class Shop:
    """A server that takes notices, not at once."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.ids = list(statuses), []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.ids.append((json.loads(body)["id"], json.loads(body)["event_type"]))
        status = self.statuses.pop(0) if self.statuses else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_notices_come_in_the_order_wanted_and_again_until_they_are_taken(pay, shop, point):
    shop.app = Shop(401, 500, 503)
    point(public_url=shop.url)
    await wechat_pay.prepay(order())
    await control("pay", {"out_trade_no": NUMBER, "notices": ["stale", "genuine"]})
    done = await control("wait")
    assert [(one["kind"], one["status"], one["tries"]) for one in done] == [
        ("stale", 401, 1),
        ("genuine", 200, 3),
    ]
    assert len(shop.app.ids) == 4
    assert len(set(shop.app.ids)) == 1


async def test_a_refund_may_be_told_of_before_its_payment_and_a_payment_never(pay, shop, point):
    shop.app = Shop()
    point(public_url=shop.url)
    await paid()
    await refunded()
    await control("wait")
    assert shop.app.ids == []
    await control("refund", {"out_refund_no": REFUND_NUMBER})
    await control("wait")
    await control("notice", {"out_trade_no": NUMBER, "notices": ["genuine"] * 3})
    await control("wait")
    kinds = [kind for _, kind in shop.app.ids]
    assert kinds == ["REFUND.SUCCESS"] + ["TRANSACTION.SUCCESS"] * 3


# Bills


def table(content: bytes) -> tuple[list[dict[str, str]], dict[str, str]]:
    lines = content.decode("utf-8-sig").splitlines()
    head, *rows, totals_head, totals = lines
    names = head.split(",")
    return (
        [dict(zip(names, row[1:].split(",`"), strict=True)) for row in rows],
        dict(zip(totals_head.split(","), totals[1:].split(",`"), strict=True)),
    )


@pytest.fixture
async def yesterday(pay, at):
    """Two payments, one refund, and a payment of another day; it is noon of the next day."""
    at(NOON)
    first = await paid()
    await paid("another-1", 1_234_56)
    await refunded(transaction_id=first)
    await control("refund", {"out_refund_no": REFUND_NUMBER, "notices": []})
    at(NOON + timedelta(days=1))
    await paid("today-1", 77)
    return NOON.date()


async def test_the_bill_of_a_day(yesterday):
    bill = await wechat_pay.trade_bill(yesterday)
    assert bill.content.startswith(b"\xef\xbb\xbf")
    rows, totals = table(bill.content)
    assert list(rows[0]) == COLUMNS
    assert len(COLUMNS) == 27
    payment, refund, _ = rows
    assert [row["交易状态"] for row in rows] == ["SUCCESS", "REFUND", "SUCCESS"]
    assert payment["交易时间"] == "2026-11-20 12:00:00"
    assert payment["商品名称"] == NAME
    assert (payment["商户订单号"], payment["订单金额"], payment["手续费"], payment["费率"]) == (
        NUMBER, "100.00", "0.60000", "0.60%",
    )  # fmt: skip
    assert (refund["商户退款单号"], refund["申请退款金额"], refund["手续费"]) == (
        REFUND_NUMBER,
        "40.00",
        "-0.24000",
    )
    assert totals["总交易单数"] == "3"
    assert Decimal(totals["订单总金额"]) == Decimal("1334.56")
    assert Decimal(totals["手续费总金额"]) == Decimal("7.77")
    assert Decimal(totals["申请退款总金额"]) == Decimal("40.00")


async def test_the_funds_of_a_day_are_settled_on_the_next(yesterday, at):
    rows, totals = table((await wechat_pay.fund_flow_bill(yesterday)).content)
    balance = 1_334_56 - 60 - 7_41 - 40_00 + 24
    assert rows[-1]["账户结余(元)"] == f"{balance / 100:.2f}"
    assert {row["业务名称"] for row in rows} == {"交易", "扣除交易手续费", "退款", "退还交易手续费"}
    assert totals["收入金额"] == "1334.80"
    at(NOON + timedelta(days=2))
    payout = table((await wechat_pay.fund_flow_bill(yesterday + timedelta(days=1))).content)[0][0]
    assert (payout["业务名称"], payout["收支类型"]) == ("提现", "支出")
    assert (payout["收支金额(元)"], payout["账户结余(元)"]) == (f"{balance / 100:.2f}", "0.00")
    assert payout["资金流水单号"].isdigit()


async def test_a_bill_may_have_been_changed_by_wechat(yesterday):
    changes = [
        {"number": NUMBER, "column": "订单金额", "value": "99.99"},
        {"number": "another-1", "drop": True},
    ]
    await control("bill", {"changes": changes, "crlf": False, "bom": False})
    bill = await wechat_pay.trade_bill(yesterday)
    rows, totals = table(bill.content)
    assert b"\r" not in bill.content
    assert [row["订单金额"] for row in rows] == ["99.99", "0.00"]
    assert totals["订单总金额"] == "99.99"
    assert len(table((await wechat_pay.trade_bill(yesterday)).content)[0]) == 3  # only the next one


async def test_a_bill_that_is_not_the_one_hashed_is_refused(yesterday):
    change = {"number": NUMBER, "column": "订单金额", "value": "99.99"}
    await control("bill", {"changes": [change], "rehash": False})
    with pytest.raises(AnswerNotGenuine):
        await wechat_pay.trade_bill(yesterday)


async def test_a_fee_is_what_was_agreed_when_it_was_paid(yesterday, at):
    await control("bill", {"fee_rate": "0.01"})
    await paid("later-1", 10_000)
    assert table((await wechat_pay.trade_bill(yesterday)).content)[0][0]["手续费"] == "0.60000"
    at(NOON + timedelta(days=2))
    rows, _ = table((await wechat_pay.trade_bill(yesterday + timedelta(days=1))).content)
    assert [row["手续费"] for row in rows] == ["0.00000", "1.00000"]


async def test_strangers_stand_in_the_bill_as_well(yesterday):
    await control("stranger", {"amount_fen": 500, "paid_at": NOON.isoformat()})
    assert "5.00" in [row["订单金额"] for row in table((await wechat_pay.trade_bill(yesterday)).content)[0]]


async def test_a_bill_is_ready_at_ten_the_next_day(pay, at):
    at(NOON)
    await paid()
    for ask in (wechat_pay.trade_bill, wechat_pay.fund_flow_bill):
        with pytest.raises(BillNotReady):
            await ask(NOON.date())
    assert await calls("bill") == 0
    at(NOON.replace(day=21, hour=9, minute=59))
    with pytest.raises(BillNotReady):
        await wechat_pay.trade_bill(NOON.date())
    at(NOON.replace(day=21, hour=10))
    assert await wechat_pay.trade_bill(NOON.date())
    assert await wechat_pay.trade_bill(NOON.date() - timedelta(days=1)) is None
    assert await wechat_pay.fund_flow_bill(NOON.date() - timedelta(days=1)) is None


async def test_a_bill_of_any_hour_when_the_operator_wants(pay, at):
    at(NOON)
    await paid()
    at(NOON.replace(day=21, hour=0, minute=1))
    await control("bill", {"ready": True})
    assert await wechat_pay.trade_bill(NOON.date())


@pytest.mark.parametrize("trouble", ["lost", "refused"])
async def test_a_bill_that_cannot_be_downloaded(yesterday, trouble):
    await control("fail", {"call": "download", "trouble": trouble})
    with pytest.raises(WechatPayUnavailable):
        await wechat_pay.trade_bill(yesterday)


async def test_a_bill_is_fetched_from_wechats_host_alone_and_up_to_a_size(yesterday, monkeypatch):
    base = settings().wechat_pay_base_url
    for url in (
        "http://127.0.0.1:1/file", base.replace("http", "https"), base.replace("127.0.0.1", "localhost"),
        base.replace("//", "//user:pw@"), base.replace("//", "//127.0.0.1@"), "file:///etc/passwd", "//x", "http://[",
    ):  # fmt: skip
        with pytest.raises(AnswerNotGenuine):
            await bills._download(url)
    assert await calls("download") == 0
    monkeypatch.setattr(bills, "BILL_LIMIT", 500)
    with pytest.raises(WechatPayUnavailable):
        await wechat_pay.trade_bill(yesterday)


async def test_everything_works_below_a_prefix(pay, stage, point, at):
    outer = FastAPI()
    outer.mount("/sandbox/wechat_pay", stage.app)
    stage.app = outer
    point(wechat_pay_base_url=f"{stage.url}/sandbox/wechat_pay")
    at(NOON)
    await paid()
    at(NOON + timedelta(days=1))
    assert (await wechat_pay.query(NUMBER)).paid
    assert await wechat_pay.trade_bill(NOON.date())


# Another hand's client


def another_hand(app: FastAPI, **keys: str) -> AsyncWeChatPay:
    config = settings()
    client = AsyncWeChatPay(
        wechatpay_type=WeChatPayType.JSAPI,
        mchid=config.wechat_pay_mchid,
        private_key=(KEYS / "merchant_private.pem").read_text(),
        cert_serial_no=config.wechat_pay_serial,
        appid=config.wechat_appid,
        apiv3_key=config.wechat_pay_apiv3_key.get_secret_value(),
        notify_url="https://shop.example/notices",
        **keys,
    )
    client._core._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), verify=False)
    return client


PUBLIC_KEY = {
    "public_key": (KEYS / "wechat_pay_public.pem").read_text(),
    "public_key_id": DEVELOPMENT_PAY_PUBLIC_KEY_ID,
}


@pytest.mark.parametrize("keys", [PUBLIC_KEY, {}], ids=["public key", "certificate"])
async def test_another_hands_client_agrees_with_the_stand_in(pay, keys, at, monkeypatch):
    client = another_hand(pay, **keys)
    asked = {
        "description": NAME,
        "out_trade_no": NUMBER,
        "amount": {"total": 10_000},
        "payer": {"openid": OPENID},
    }

    async def does(work: Any, status: int = 200) -> Any:
        code, told = await work
        assert code == status, told
        return json.loads(told) if isinstance(told, str) and told else told

    assert (await does(client.pay(**asked)))["prepay_id"]
    assert (await does(client.pay(**asked | {"amount": {"total": 1}}), 400))["code"] == "INVALID_REQUEST"
    assert (await does(client.query(out_trade_no="unknown-1"), 404))["code"] == "ORDER_NOT_EXIST"
    await does(client.pay(**asked | {"out_trade_no": "another-1"}))
    await does(client.close(out_trade_no="another-1"), 204)
    unpaid = {"out_trade_no": "another-1", "out_refund_no": "r-1", "amount": {"refund": 1, "total": 10_000}}
    assert (await does(client.refund(**unpaid), 403))["code"] == "TRADE_ERROR"
    await control("pay", {"out_trade_no": NUMBER, "notices": []})
    assert (await does(client.query(out_trade_no=NUMBER)))["trade_state"] == "SUCCESS"
    amount = {"refund": 1, "total": 10_000, "currency": "CNY"}
    refund = {"out_trade_no": NUMBER, "out_refund_no": REFUND_NUMBER, "amount": amount}
    assert (await does(client.refund(**refund)))["status"] == "PROCESSING"
    assert (await does(client.query_refund(REFUND_NUMBER)))["amount"]["refund"] == 1
    # It tells the time by itself, so the day passes for the stand-in's calendar only.
    day, tomorrow = clock.today(), clock.now() + timedelta(days=1)
    await control("bill", {"ready": True})
    for ask in (client.trade_bill, client.fundflow_bill):
        at(tomorrow)
        monkeypatch.setattr("wechatpayv3.async_.utils.time.time", tomorrow.timestamp)
        address = await does(ask(bill_date=day.isoformat()))
        file = await does(client.download_bill(address["download_url"]))
        assert "交易" in (file if isinstance(file, str) else file.decode())
        monkeypatch.undo()
    await client._core._client.aclose()


@pytest.mark.parametrize("keys", [PUBLIC_KEY, {}], ids=["public key", "certificate"])
async def test_another_hands_client_reads_the_notices(pay, keys):
    client = another_hand(pay, **keys)
    await client.pay(
        description=NAME, out_trade_no=NUMBER, amount={"total": 10_000}, payer={"openid": OPENID}
    )
    await control("pay", {"out_trade_no": NUMBER, "notices": []})
    told = client.callback(*await notice(NUMBER))
    assert told["event_type"] == "TRANSACTION.SUCCESS"
    assert told["resource"]["payer"] == {"openid": OPENID}
    assert not client.callback(*await notice(NUMBER, "bad_signature"))
    assert not client.callback(*await notice(NUMBER, "tampered"))
    refund = {
        "out_trade_no": NUMBER,
        "out_refund_no": REFUND_NUMBER,
        "amount": {"refund": 1, "total": 10_000},
    }
    await client.refund(**refund)
    await control("refund", {"out_refund_no": REFUND_NUMBER, "notices": []})
    assert (
        client.callback(*await notice(REFUND_NUMBER, refund=True))["resource"]["refund_status"] == "SUCCESS"
    )
    await client._core._client.aclose()


# What the stand-in refuses


@pytest.mark.parametrize(
    "wrong", ["nothing", "body", "query", "mchid", "serial", "time", "signature", "method"]
)
async def test_the_stand_in_refuses_what_the_merchant_did_not_just_sign(pay, stage, wrong, at):
    body = b'{"mchid":"1900000001"}'
    if wrong == "time":
        at(clock.now() - timedelta(minutes=6))
    target = f"{JSAPI}?x=1".encode()
    header = wechat_pay.signing.authorization("GET" if wrong == "method" else "POST", target, body)
    header = {
        "nothing": "",
        "mchid": header.replace("1900000001", "1900000002"),
        "serial": header.replace("0" * 40, "1" * 40),
        "signature": header.replace('signature="', 'signature="AAAA'),
    }.get(wrong, header)
    if wrong == "time":
        at(clock.now() + timedelta(minutes=6))
    async with httpx.AsyncClient(base_url=stage.url, trust_env=False, verify=False) as http:
        path = f"{JSAPI}?x=2" if wrong == "query" else f"{JSAPI}?x=1"
        sent = body + b" " if wrong == "body" else body
        answer = await http.post(path, content=sent, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff", b'{"amount": []}'])
async def test_the_stand_in_refuses_nonsense(pay, stage, body):
    async with httpx.AsyncClient(base_url=stage.url, trust_env=False, verify=False) as http:
        header = {"Authorization": wechat_pay.signing.authorization("POST", JSAPI.encode(), body)}
        answer = await http.post(JSAPI, content=body, headers=header)
        assert (answer.status_code // 100, "code" in answer.json()) == (4, True)
        for path in ("pay", "refund", "notice", "bill", "fail", "stranger"):
            assert (await http.post(f"/control/{path}", content=body)).status_code in (404, 422)
