"""Orders and refunds in the shapes that WeChat documents: the same in answers and, nearly, in notices."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, model_validator

from app.integrations.wechat_pay.values import Payment, PaymentState, RefundState, RefundStatus
from app.settings import settings

Number = Annotated[str, Field(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
Fen = Annotated[StrictInt, Field(ge=0, le=10**13)]


class NotOurs(ValueError):
    """It names another merchant, another mini-program or another currency."""


def _our_merchant(mchid: str) -> str:
    if mchid != settings().wechat_pay_mchid:
        raise NotOurs("mchid")
    return mchid


def _our_app(appid: str) -> str:
    if appid != settings().wechat_appid:
        raise NotOurs("appid")
    return appid


def _yuan(currency: str) -> str:
    if currency != "CNY":
        raise NotOurs("currency")
    return currency


Mchid = Annotated[str, AfterValidator(_our_merchant)]
Appid = Annotated[str, AfterValidator(_our_app)]
Currency = Annotated[str, AfterValidator(_yuan)]


class Shape(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    def content(self) -> dict[str, Any]:
        """Without the payer: only what is declared here was read."""
        return self.model_dump(mode="json", exclude_none=True)


class Paid(Shape):
    total: Fen
    currency: Currency = "CNY"


class Transaction(Shape):
    appid: Appid
    mchid: Mchid
    out_trade_no: Number
    trade_state: PaymentState
    transaction_id: Number | None = None
    success_time: AwareDatetime | None = None
    amount: Paid | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_for_empty(cls, given: Any) -> Any:
        """What an unpaid order does not have yet may be absent, null or an empty string."""
        optional = ("transaction_id", "success_time", "amount")
        return {name: value for name, value in dict(given).items() if name not in optional or value}

    def payment(self) -> Payment:
        payment = Payment(
            self.out_trade_no,
            self.trade_state,
            self.transaction_id,
            self.amount.total if self.amount else None,
            self.success_time,
        )
        if payment.paid and None in (payment.transaction_id, payment.amount_fen, payment.paid_at):
            raise ValueError("paid without a number, an amount or a time")
        return payment


class Refunded(Shape):
    refund: Fen
    total: Fen
    currency: Currency = "CNY"


class RefundNumbers(Shape):
    out_refund_no: Number
    out_trade_no: Number
    refund_id: Number
    transaction_id: Number
    success_time: AwareDatetime | None = None
    amount: Refunded

    def state(self, status: RefundStatus) -> RefundState:
        return RefundState(
            self.out_refund_no,
            self.out_trade_no,
            self.refund_id,
            self.transaction_id,
            status,
            self.amount.refund,
            self.amount.total,
            self.success_time,
        )


class RefundAnswer(RefundNumbers):
    status: RefundStatus


class RefundEvent(RefundNumbers):
    mchid: Mchid
    refund_status: RefundStatus


class Envelope(Shape):
    """A notice before it is opened."""

    class Resource(Shape):
        original_type: Literal["transaction", "refund"] | None = None
        algorithm: Literal["AEAD_AES_256_GCM"]
        ciphertext: str
        nonce: str = Field(min_length=12, max_length=12)
        associated_data: str | None = None

    id: Number
    create_time: AwareDatetime
    event_type: str = Field(pattern="^[A-Z_.]{1,64}$")
    resource_type: Literal["encrypt-resource"]
    resource: Resource
