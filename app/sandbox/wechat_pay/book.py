"""Orders and refunds, with the rules that WeChat Pay keeps about them."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from app import clock
from app.sandbox.wechat_pay.signatures import Merchant, Refusal

ORDER_NO, REFUND_NO = r"[0-9A-Za-z_\-|*]{6,32}", r"[0-9A-Za-z_\-|*@]{1,64}"
PAID = ("SUCCESS", "REFUND")
DESCRIBED = {
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "NOTPAY": "订单未支付",
    "CLOSED": "订单已关闭",
}
WITHOUT_EXPIRY = timedelta(days=7)
REFUND_DAYS, MOST_REFUNDS = 365, 50


@dataclass
class Order:
    asked: dict[str, Any]
    expires_at: datetime
    #: The key that WeChat signs with for who made it.
    serial: str
    state: str = "NOTPAY"
    transaction_id: str = ""
    paid_at: datetime | None = None
    #: What WeChat keeps of it, as agreed when it was paid.
    fee_rate: Decimal = Decimal(0)
    refunds: list["Refund"] = field(default_factory=list)

    @property
    def number(self) -> str:
        return str(self.asked["out_trade_no"])

    @property
    def amount(self) -> int:
        return int(self.asked["amount"]["total"])

    def fee(self, fen: int) -> int:
        return int((fen * self.fee_rate).quantize(Decimal(1), ROUND_HALF_UP))

    def now(self) -> str:
        if self.state == "NOTPAY" and self.expires_at <= clock.now():
            return "CLOSED"
        return self.state


@dataclass
class Refund:
    asked: dict[str, Any]
    order: Order
    refund_id: str
    created_at: datetime
    status: str = "PROCESSING"
    finished_at: datetime | None = None

    @property
    def number(self) -> str:
        return str(self.asked["out_refund_no"])

    @property
    def amount(self) -> int:
        return int(self.asked["amount"]["refund"])


class Book:
    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.fee_rate = Decimal("0.006")
        self.orders: dict[str, Order] = {}
        self.prepaid: dict[str, Order] = {}
        self.refunds: dict[str, Refund] = {}

    def prepay(self, asked: dict[str, Any], serial: str) -> dict[str, Any]:
        expires_at = self._check_order(asked)
        order = self.orders.get(asked["out_trade_no"])
        if order is None:
            order = self.orders[asked["out_trade_no"]] = Order(asked, expires_at, serial)
        elif order.now() in PAID:
            raise Refusal(403, "OUT_TRADE_NO_USED", "订单已支付")
        elif order.now() == "CLOSED":
            raise Refusal(400, "ORDER_CLOSED", "订单已关闭")
        elif order.asked != asked:
            raise Refusal(400, "INVALID_REQUEST", "商户订单号重复")
        prepay_id = f"wx{secrets.token_hex(17)}"
        self.prepaid[prepay_id] = order
        return {"prepay_id": prepay_id}

    def _check_order(self, asked: dict[str, Any]) -> datetime:
        if asked.get("mchid") != self.merchant.mchid:
            raise Refusal(400, "MCH_NOT_EXISTS")
        if asked.get("appid") != self.merchant.appid:
            raise Refusal(400, "APPID_MCHID_NOT_MATCH")
        amount, payer = asked.get("amount"), asked.get("payer")
        _must(asked, "out_trade_no", ORDER_NO)
        _must(asked, "description", r"(?s:.){1,127}")
        _must(asked, "notify_url", r"https?://[^?]{1,255}")
        _must(payer if isinstance(payer, dict) else {}, "openid", r"[!-~]{1,128}")
        _must_be_money(amount, "total")
        expires = asked.get("time_expire")
        if expires is None:
            return clock.now() + WITHOUT_EXPIRY
        return _future(expires)

    def order(self, number: str) -> Order:
        if number not in self.orders:
            raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return self.orders[number]

    def transaction(self, transaction_id: str) -> Order:
        for order in self.orders.values():
            if order.transaction_id == transaction_id:
                return order
        raise Refusal(404, "ORDER_NOT_EXIST", "订单不存在")

    def described(self, order: Order) -> dict[str, Any]:
        state = order.now()
        told: dict[str, Any] = {
            "appid": self.merchant.appid,
            "mchid": self.merchant.mchid,
            "out_trade_no": order.number,
            "trade_state": state,
            "trade_state_desc": DESCRIBED[state],
            "amount": {"total": order.amount, "currency": "CNY"},
            "payer": {"openid": order.asked["payer"]["openid"]},
        }
        if order.paid_at is not None:
            told |= {
                "transaction_id": order.transaction_id,
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "attach": order.asked.get("attach", ""),
                "success_time": stamped(order.paid_at),
            }
            told["amount"] |= {"payer_total": order.amount, "payer_currency": "CNY"}
        return told

    def close(self, number: str) -> None:
        order = self.order(number)
        if order.now() in PAID:
            raise Refusal(403, "TRADE_ERROR", "订单已支付")
        if order.now() == "CLOSED":
            raise Refusal(400, "ORDER_CLOSED", "订单已关闭")
        order.state = "CLOSED"

    def pay(self, order: Order, at: datetime) -> None:
        order.state, order.paid_at, order.fee_rate = "SUCCESS", at, self.fee_rate
        order.transaction_id = f"4200{at:%Y%m%d}{secrets.randbelow(10**16):016d}"

    def refund(self, asked: dict[str, Any]) -> Refund:
        order = self._refundable(asked)
        _must(asked, "out_refund_no", REFUND_NO)
        earlier = self.refunds.get(asked["out_refund_no"])
        if earlier is not None:
            if earlier.asked != asked:
                raise Refusal(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致")
            return earlier
        self._check_refund(order, asked)
        refund_id = f"5030{clock.now():%Y%m%d}{secrets.randbelow(10**16):016d}"
        refund = Refund(asked, order, refund_id, clock.now())
        self.refunds[refund.number] = refund
        order.refunds.append(refund)
        order.state = "REFUND"
        return refund

    def _refundable(self, asked: dict[str, Any]) -> Order:
        try:
            if "transaction_id" in asked:
                order = self.transaction(asked["transaction_id"])
            else:
                order = self.order(asked.get("out_trade_no", ""))
        except Refusal as refusal:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "订单不存在") from refusal
        if order.paid_at is None:
            raise Refusal(403, "TRADE_ERROR", "订单未支付")
        if clock.now() - order.paid_at > timedelta(days=REFUND_DAYS):
            raise Refusal(400, "INVALID_REQUEST", "订单已过退款期")
        return order

    def _check_refund(self, order: Order, asked: dict[str, Any]) -> None:
        amount = asked.get("amount")
        _must_be_money(amount, "refund")
        _must_be_money(amount, "total")
        if asked.get("reason") is not None:
            _must(asked, "reason", r"(?s:.){1,80}")
        live = [refund.amount for refund in order.refunds if refund.status != "CLOSED"]
        if asked["amount"]["total"] != order.amount or len(order.refunds) >= MOST_REFUNDS:
            raise Refusal(400, "INVALID_REQUEST", "订单金额不一致或退款次数过多")
        if sum(live) + asked["amount"]["refund"] > order.amount:
            raise Refusal(400, "INVALID_REQUEST", "退款总金额大于订单金额")

    def known_refund(self, number: str) -> Refund:
        if number not in self.refunds:
            raise Refusal(404, "RESOURCE_NOT_EXISTS", "退款单不存在")
        return self.refunds[number]

    def described_refund(self, refund: Refund) -> dict[str, Any]:
        told = {
            "refund_id": refund.refund_id,
            "out_refund_no": refund.number,
            "transaction_id": refund.order.transaction_id,
            "out_trade_no": refund.order.number,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": stamped(refund.created_at),
            "status": refund.status,
            "amount": refunded(refund) | {"currency": "CNY"},
        }
        if refund.status == "SUCCESS" and refund.finished_at:
            told["success_time"] = stamped(refund.finished_at)
        return told


def refunded(refund: Refund) -> dict[str, int]:
    total = refund.order.amount
    return {
        "total": total,
        "refund": refund.amount,
        "payer_total": total,
        "payer_refund": refund.amount,
    }


def stamped(at: datetime) -> str:
    return at.astimezone(clock.SHANGHAI).isoformat(timespec="seconds")


def _must(asked: dict[str, Any], name: str, pattern: str) -> None:
    value = asked.get(name)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refusal(400, "PARAM_ERROR", name)


def _must_be_money(amount: object, name: str) -> None:
    if not isinstance(amount, dict) or amount.get("currency", "CNY") != "CNY":
        raise Refusal(400, "PARAM_ERROR", "currency")
    if type(amount.get(name)) is not int or amount[name] < 1:
        raise Refusal(400, "PARAM_ERROR", name)


def _future(given: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError as error:
        raise Refusal(400, "PARAM_ERROR", "time_expire") from error
    if at.tzinfo is None or at <= clock.now():
        raise Refusal(400, "PARAM_ERROR", "time_expire")
    return at
