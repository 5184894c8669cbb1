"""Refunds: asked for and followed."""

import re
from typing import Any
from urllib.parse import quote

from app.integrations.wechat_pay import calling, shapes
from app.integrations.wechat_pay.values import NOTICES_PATH, AnswerNotGenuine, RefundState, WechatPayRefused
from app.settings import settings

PATH = "/v3/refund/domestic/refunds"
_NUMBER = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}", re.ASCII)
LONGEST_REASON = 80


async def refund(
    *, transaction_id: str, out_refund_no: str, refund_fen: int, total_fen: int, reason: str | None = None
) -> RefundState:
    """Ask for money back to the payer: accepted, not done. `transaction_id`: WeChat's number of the payment, which also
    one of no order of ours has.

    WeChat takes the same `out_refund_no` twice as once, so this is repeated, here and by the caller; never with
    another number after a lost answer. NOT_ENOUGH: the merchant's balance does not suffice today.
    """
    body: dict[str, Any] = {
        "transaction_id": transaction_id,
        "out_refund_no": _checked(out_refund_no),
        "notify_url": settings().public_url + NOTICES_PATH,
        "amount": {"refund": refund_fen, "total": total_fen, "currency": "CNY"},
    }
    if reason:
        body["reason"] = reason[:LONGEST_REASON]
    answer = await calling.call("POST", PATH, repeat_lost=True, body=body)
    state = _state(answer, out_refund_no)
    if (state.transaction_id, state.refund_fen, state.total_fen) != (transaction_id, refund_fen, total_fen):
        raise AnswerNotGenuine(maybe_done=True)
    return state


async def query_refund(out_refund_no: str) -> RefundState | None:
    """The refund as WeChat knows it; None: it never heard of it."""
    path = f"{PATH}/{quote(_checked(out_refund_no), safe='')}"
    try:
        answer = await calling.call("GET", path, repeat_lost=True)
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
    if not _NUMBER.fullmatch(number):
        raise ValueError("not a refund number")
    return number
