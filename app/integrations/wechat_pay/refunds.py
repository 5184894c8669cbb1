"""Refunds: asked for and followed."""

import re
from typing import Any

from app.integrations.wechat_pay import calling, shapes
from app.integrations.wechat_pay.values import NOTICES_PATH, AnswerNotGenuine, RefundState, WechatPayRefused
from app.settings import settings

PATH = "/v3/refund/domestic/refunds"
_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
LONGEST_REASON = 80


async def refund(
    *, out_trade_no: str, out_refund_no: str, refund_fen: int, total_fen: int, reason: str | None = None
) -> RefundState:
    """Ask for money back to the payer: accepted, not done.

    WeChat takes the same `out_refund_no` twice as once, so this is repeated, here and by the caller; never with
    another number after a lost answer. NOT_ENOUGH: the merchant's balance does not suffice today.
    """
    body: dict[str, Any] = {
        "out_trade_no": out_trade_no,
        "out_refund_no": _checked(out_refund_no),
        "notify_url": settings().public_url + NOTICES_PATH,
        "amount": {"refund": refund_fen, "total": total_fen, "currency": "CNY"},
    }
    if reason:
        body["reason"] = reason[:LONGEST_REASON]
    answer = await calling.call("POST", PATH, repeat_lost=True, body=body)
    state = _state(answer, out_refund_no)
    if (state.out_trade_no, state.refund_fen, state.total_fen) != (out_trade_no, refund_fen, total_fen):
        raise AnswerNotGenuine(maybe_done=True)
    return state


async def query_refund(out_refund_no: str) -> RefundState | None:
    """The refund as WeChat knows it; None: it never heard of it."""
    try:
        answer = await calling.call("GET", f"{PATH}/{_checked(out_refund_no)}", repeat_lost=True)
    except WechatPayRefused as refused:
        if refused.code == "RESOURCE_NOT_EXISTS":
            return None
        raise
    return _state(answer, out_refund_no)


def _state(answer: dict[str, Any], out_refund_no: str) -> RefundState:
    shape = calling.read(shapes.RefundAnswer, answer)
    if shape.out_refund_no != out_refund_no:
        raise AnswerNotGenuine(maybe_done=True)
    return shape.state(shape.status)


def _checked(number: str) -> str:
    """It becomes part of an address."""
    if not _NUMBER.fullmatch(number):
        raise ValueError("not a refund number")
    return number
