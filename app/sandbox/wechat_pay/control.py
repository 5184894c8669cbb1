"""What happens at the payer's phone, at the bank and in WeChat's control room: the bodies of /control/."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import HTTPException
from pydantic import AwareDatetime, BaseModel, Field

from app import clock
from app.sandbox.wechat_pay.bills import COLUMNS, Bills, Change
from app.sandbox.wechat_pay.book import PAID, Book, Order, Refund
from app.sandbox.wechat_pay.notices import Kind, Notices
from app.sandbox.wechat_pay.signatures import Signatures

Number = Annotated[str, Field(pattern=r"^[0-9A-Za-z_\-|*@]{1,64}$")]
Kinds = Annotated[list[Kind], Field(max_length=20)]


class Call(StrEnum):
    PREPAY = "prepay"
    QUERY = "query"
    CLOSE = "close"
    REFUND = "refund"
    QUERY_REFUND = "query_refund"
    BILL = "bill"
    DOWNLOAD = "download"
    CERTIFICATES = "certificates"


class Trouble(StrEnum):
    """What is wrong with an answer. LOST: done, and then a gateway's page."""

    REFUSED = "refused"
    LOST = "lost"
    UNSIGNED = "unsigned"
    BAD_SIGNATURE = "bad_signature"
    STALE = "stale"
    UNKNOWN_SERIAL = "unknown_serial"


class Failure(BaseModel):
    call: Call
    trouble: Trouble = Trouble.REFUSED
    status: int = Field(500, ge=400, le=599)
    code: str = Field("SYSTEM_ERROR", pattern="^[A-Z_]{1,40}$")
    times: int = Field(1, ge=0, le=1000, description="0 clears what was ordered before")


class Payment(BaseModel):
    out_trade_no: Number | None = None
    prepay_id: Number | None = None
    paid_at: AwareDatetime | None = None
    notices: Kinds = Field([Kind.GENUINE], description="Sent in this order; none: the notice never comes")
    even_if_closed: bool = Field(False, description="The payer was quicker than the closing")


class Stranger(BaseModel):
    amount_fen: int = Field(ge=1, le=10**12)
    paid_at: AwareDatetime | None = None
    description: str = Field("线下扫码", min_length=1, max_length=127)


class RefundEnd(BaseModel):
    out_refund_no: Number
    status: Literal["SUCCESS", "ABNORMAL", "CLOSED"] = "SUCCESS"
    accepted_at: AwareDatetime | None = Field(None, description="On whose day's bill it stands")
    finished_at: AwareDatetime | None = None
    notices: Kinds = [Kind.GENUINE]


class NoticeOrder(BaseModel):
    out_trade_no: Number | None = None
    out_refund_no: Number | None = None
    notices: Kinds = Field([Kind.GENUINE], min_length=1)


class ChangeWanted(BaseModel):
    number: Number = Field(description="out_trade_no of a payment, out_refund_no of a refund")
    column: Literal["", *COLUMNS] = ""  # type: ignore[valid-type]
    value: str = Field("", max_length=200)
    drop: bool = False
    repeat: bool = False


class BillOrder(BaseModel):
    """Only what is given changes."""

    ready: bool = Field(False, description="Bills of past days at any hour, not only after 10:00")
    fee_rate: Decimal = Field(Decimal("0.006"), ge=0, le=1, description="Of payments from now on")
    bom: bool = True
    crlf: bool = True
    rehash: bool = Field(True, description="false: the hash of the next bill is that of the unchanged file")
    retotal: bool = Field(
        True, description="false: the totals of the next bill are those of the unchanged file"
    )
    changes: list[ChangeWanted] = Field([], max_length=1000, description="In the next transaction bill")


class Control:
    def __init__(self, book: Book, bills: Bills, notices: Notices, signatures: Signatures) -> None:
        self.book, self.bills, self.notices, self.signatures = book, bills, notices, signatures
        self.failures: dict[Call, Failure] = {}

    async def pay(self, payment: Payment) -> dict[str, Any]:
        """The payer confirms on the phone."""
        order = self._payable(payment)
        if order.now() in PAID or (order.now() == "CLOSED" and not payment.even_if_closed):
            raise HTTPException(409, order.now())
        return self._paid(order, payment.paid_at, payment.notices)

    async def stranger(self, stranger: Stranger) -> dict[str, Any]:
        """Money for an order that our server never made, as by a code at a counter. Nobody is told."""
        number = f"S{len(self.book.orders):031d}"
        asked = {
            "out_trade_no": number,
            "description": stranger.description,
            "amount": {"total": stranger.amount_fen, "currency": "CNY"},
            "payer": {"openid": "o-stranger"},
        }
        order = Order(asked, clock.now(), self.signatures.merchant.public_key_id)
        self.book.orders[number] = order
        return self._paid(order, stranger.paid_at, [])

    def _payable(self, payment: Payment) -> Order:
        orders = self.book.prepaid if payment.prepay_id else self.book.orders
        order: Order = _known(orders, payment.prepay_id or payment.out_trade_no)
        return order

    def _paid(self, order: Order, at: datetime | None, kinds: list[Kind]) -> dict[str, Any]:
        self.book.pay(order, at or clock.now())
        self.notices.post(order, kinds)
        return {"out_trade_no": order.number, "transaction_id": order.transaction_id}

    async def end_refund(self, end: RefundEnd) -> dict[str, Any]:
        """The bank took the money back, or did not."""
        refund = _known(self.book.refunds, end.out_refund_no)
        if refund.status in ("SUCCESS", "CLOSED"):
            raise HTTPException(409, refund.status)
        refund.status, refund.finished_at = end.status, end.finished_at or clock.now()
        refund.created_at = end.accepted_at or refund.created_at
        if all(one.status == "CLOSED" for one in refund.order.refunds):
            refund.order.state = "SUCCESS"
        self.notices.post(refund, end.notices)
        return {"refund_id": refund.refund_id, "status": refund.status}

    async def notice(self, wanted: NoticeOrder) -> dict[str, int]:
        """Send the notice again, or one that never was, or a forged one."""
        self.notices.post(self._about(wanted), wanted.notices)
        return {"sent": len(wanted.notices)}

    async def made(self, wanted: NoticeOrder) -> dict[str, Any]:
        """What would be posted now, unsent."""
        about = self._about(wanted)
        body, headers = self.notices.made(about, wanted.notices[0], self.notices.id(about))
        return {"headers": headers, "body": body.decode()}

    def _about(self, wanted: NoticeOrder) -> Order | Refund:
        about: Order | Refund
        if wanted.out_refund_no:
            about = _known(self.book.refunds, wanted.out_refund_no)
        else:
            about = _known(self.book.orders, wanted.out_trade_no)
        return about

    async def bill(self, wanted: BillOrder) -> dict[str, bool]:
        given = wanted.model_fields_set
        for name in ("ready", "bom", "crlf", "rehash", "retotal"):
            if name in given:
                setattr(self.bills, name, getattr(wanted, name))
        if "fee_rate" in given:
            self.book.fee_rate = wanted.fee_rate
        if "changes" in given:
            self.bills.changes = [Change(**change.model_dump()) for change in wanted.changes]
        return {"ordered": True}

    async def fail(self, failure: Failure) -> dict[str, int]:
        """The next `times` calls of this kind go wrong."""
        self.failures[failure.call] = failure
        return {"times": failure.times}

    async def new_certificate(self) -> dict[str, str]:
        """WeChat begins to sign with another platform certificate."""
        self.signatures.renew()
        return {"serial": f"{self.signatures.certificates[-1].serial_number:X}"}

    async def wait(self) -> list[dict[str, Any]]:
        """Answers when every notice was taken or given up."""
        await self.notices.settled()
        return self.notices.told()

    def failure(self, call: Call) -> Failure | None:
        failure = self.failures.get(call)
        if failure is None or failure.times <= 0:
            return None
        failure.times -= 1
        return failure


def _known(things: dict[str, Any], number: str | None) -> Any:
    if number not in things:
        raise HTTPException(404, "unknown number")
    return things[number]
