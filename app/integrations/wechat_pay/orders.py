"""Orders: made, shown to the phone, asked for, closed."""

import re

from app import clock
from app.integrations.wechat_pay import calling, shapes, signing
from app.integrations.wechat_pay.values import (
    NOTICES_PATH,
    AnswerNotGenuine,
    Order,
    Payment,
    WechatPayRefused,
    WechatPayUnavailable,
)
from app.settings import settings

_NUMBER = re.compile(r"[0-9A-Za-z_-]{6,32}", re.ASCII)
LONGEST_DESCRIPTION = 127


async def prepay(order: Order) -> str:
    """The prepay_id of the order, good for two hours.

    Not repeated when the answer is lost: ask with `query` first. The same order, unpaid, gets a prepay_id again; with
    another amount, text or end it is refused (INVALID_REQUEST), as it is closed (ORDER_CLOSED) or paid
    (OUT_TRADE_NO_USED).
    """
    config = settings()
    body = {
        "appid": config.wechat_appid,
        "mchid": config.wechat_pay_mchid,
        # A backtick separates the columns of the bill, where the description stands as it is.
        "description": order.description.replace("`", "'")[:LONGEST_DESCRIPTION],
        "out_trade_no": _checked(order.out_trade_no),
        "time_expire": order.expires_at.astimezone(clock.SHANGHAI).isoformat(timespec="seconds"),
        "notify_url": config.public_url + NOTICES_PATH,
        "amount": {"total": order.amount_fen, "currency": "CNY"},
        "payer": {"openid": order.openid},
    }
    answer = await calling.call("POST", "/v3/pay/transactions/jsapi", repeat_lost=False, body=body)
    prepay_id = answer.get("prepay_id")
    if not isinstance(prepay_id, str) or not re.fullmatch(r"[!-~]{1,64}", prepay_id):
        raise WechatPayUnavailable(maybe_done=True)
    return prepay_id


def payment_parameters(prepay_id: str) -> dict[str, str]:
    """What wx.requestPayment takes. That it reports success proves nothing: only a notice or `query` does."""
    appid, now, random = settings().wechat_appid, signing.timestamp(), signing.nonce()
    package = f"prepay_id={prepay_id}"
    return {
        "timeStamp": now,
        "nonceStr": random,
        "package": package,
        "signType": "RSA",
        "paySign": signing.sign(appid, now, random, package),
    }


async def query(out_trade_no: str) -> Payment | None:
    """The order as WeChat knows it; None: it never heard of it."""
    path = f"/v3/pay/transactions/out-trade-no/{_checked(out_trade_no)}"
    try:
        answer = await calling.call("GET", path, repeat_lost=True, params=_merchant())
    except WechatPayRefused as refused:
        if refused.code in ("ORDER_NOT_EXIST", "ORDERNOTEXIST"):  # both spellings occur
            return None
        raise
    transaction = calling.read(shapes.Transaction, answer)
    if transaction.out_trade_no != out_trade_no:
        raise AnswerNotGenuine(maybe_done=True)
    try:
        return transaction.payment()
    except ValueError:
        raise WechatPayUnavailable(maybe_done=True) from None


async def close(out_trade_no: str) -> None:
    """Nobody can pay the order any more. Refused if it was paid: `query` says so. Closed before is closed."""
    path = f"/v3/pay/transactions/out-trade-no/{_checked(out_trade_no)}/close"
    try:
        await calling.call("POST", path, repeat_lost=True, body=_merchant())
    except WechatPayRefused as refused:
        if refused.code != "ORDER_CLOSED":
            raise


def _merchant() -> dict[str, str]:
    return {"mchid": settings().wechat_pay_mchid}


def _checked(number: str) -> str:
    """It becomes part of an address."""
    if not _NUMBER.fullmatch(number):
        raise ValueError("not an order number")
    return number
