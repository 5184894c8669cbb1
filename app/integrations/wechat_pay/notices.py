"""What WeChat Pay posts to us."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from app.integrations.wechat_pay import shapes, signing, trust
from app.integrations.wechat_pay.values import Notice, NoticeReason, NoticeRefused, Payment, RefundState

Shape = TypeVar("Shape", bound=shapes.Shape)


async def read_notice(headers: Mapping[str, str], body: bytes) -> Notice:
    """The notice, verified before anything of it is parsed; else NoticeRefused.

    Checked: WeChat's signature, of the last five minutes, with a key we know; the seal; our merchant and mini-program;
    CNY. Left to the caller: whether the order is ours and the amount is right, and that the notice may come again,
    late and out of order.
    """
    key_id = await trust.verify({name.lower(): value for name, value in headers.items()}, body)
    envelope = _parsed(shapes.Envelope, body)
    resource = envelope.resource
    plain = signing.unseal(resource.ciphertext, resource.nonce, resource.associated_data or "")
    event, content = _event(envelope.event_type, plain)
    digest = hashlib.sha256(body).digest()
    return Notice(envelope.id, envelope.event_type, envelope.create_time, event, content, digest, key_id)


def _event(event_type: str, plain: bytes) -> tuple[Payment | RefundState, dict[str, Any]]:
    about, _, outcome = event_type.partition(".")
    if event_type == "TRANSACTION.SUCCESS":
        transaction = _parsed(shapes.Transaction, plain)
        try:
            payment = transaction.payment()
        except ValueError:
            raise NoticeRefused(NoticeReason.MALFORMED) from None
        if payment.paid:
            return payment, transaction.content()
    elif about == "REFUND":
        refund = _parsed(shapes.RefundEvent, plain)
        if refund.refund_status == outcome:
            return refund.state(refund.refund_status), refund.content()
    else:
        raise NoticeRefused(NoticeReason.UNKNOWN_EVENT)
    raise NoticeRefused(NoticeReason.MALFORMED)


def _parsed(shape: type[Shape], text: bytes) -> Shape:
    """Nothing of the text gets into the exception."""
    try:
        given = json.loads(text)
        if isinstance(given, dict):
            return shape.model_validate(given)
    except ValidationError as error:
        wrong = [item.get("ctx", {}).get("error") for item in error.errors(include_input=False)]
        if any(isinstance(cause, shapes.NotOurs) for cause in wrong):
            raise NoticeRefused(NoticeReason.NOT_OURS) from None
    except (ValueError, RecursionError):
        pass
    raise NoticeRefused(NoticeReason.MALFORMED)
