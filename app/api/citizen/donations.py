"""Giving through WeChat Pay: a gift is begun, the phone pays, and how that stands."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import IdempotencyKey, View, example, resident_may
from app.errors import Invalid, NotFound, problems
from app.models.payments import OrderStatus, PaymentOrder
from app.services.donations import giving
from app.services.funds import campaigns
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.payments import orders

router = APIRouter(prefix="/donations", tags=["捐款 giving"])
Give = Annotated[Actor, resident_may(Permission.DONATION_GIVE)]


class PaymentParameters(View):
    """As wx.requestPayment takes them."""

    timeStamp: str  # noqa: N815
    nonceStr: str  # noqa: N815
    package: str
    signType: str  # noqa: N815
    paySign: str  # noqa: N815


class PaymentRequestView(View):
    """`number` stands on the certificate. `parameters` are good for as long as the order is."""

    model_config = example(
        donation_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e30",
        number="20261122-7K3M9QX2TB",
        amount_fen=10_000,
        parameters={
            "timeStamp": "1795312800",
            "nonceStr": "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
            "package": "prepay_id=wx201410272009395522657a690389285100",
            "signType": "RSA",
            "paySign": "oR9d8PuhnIc+YZ8cBHFCwfgpaK9gd7vaRvkYD7rthRAZ…",
        },
    )

    donation_id: uuid.UUID
    number: str
    amount_fen: int
    parameters: PaymentParameters


class PaymentView(View):
    """`closed`: not paid in time; should the money come all the same, it becomes `paid`."""

    donation_id: uuid.UUID
    status: OrderStatus
    amount_fen: int
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None

    @classmethod
    def of(cls, order: PaymentOrder) -> "PaymentView":
        return cls(
            donation_id=order.id, status=order.status, amount_fen=order.amount_fen, created_at=order.created_at,
            expires_at=order.expires_at, paid_at=order.paid_at,
        )  # fmt: skip


@router.post(
    "",
    status_code=201,
    summary="捐款 Give",
    responses=problems(
        NotFound, Invalid, campaigns.PaymentNotLawful, campaigns.CampaignNotOpen, giving.TooManyOrders,
        giving.AlreadyPaid, giving.OrderExpired, giving.PaymentRefused, IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def give(actor: Give, key: IdempotencyKey, body: giving.NewGift) -> PaymentRequestView:
    """To a campaign or a fund. The same again under the same key: fresh parameters of the same order, until it is
    paid or closed."""
    return PaymentRequestView.model_validate(await giving.give(actor, key=key, new=body))


@router.get("/{id}/payment", summary="支付状态 How the payment stands", responses=problems(NotFound))
async def read_payment(
    actor: Give, id: uuid.UUID,
    paid: Annotated[bool, Query(description="The phone says that it has paid: WeChat is asked, if need be")] = False,
) -> PaymentView:  # fmt: skip
    """Of one's own gift. What the phone says of a payment proves nothing; what WeChat says does."""
    return PaymentView.of(await orders.look(actor, id, paid=paid))
