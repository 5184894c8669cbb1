"""What goes to WeChat Pay and comes back, and the ways in which it fails. Amounts are integer fen, always CNY."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from app.errors import Unavailable

# Where our server takes the notices of payments and of refunds, after NUANXIN_PUBLIC_URL.
NOTICES_PATH = "/callbacks/wechat_pay"


class PaymentState(StrEnum):
    """`trade_state` of an order. REFUND: it was paid, and some or all of it went back."""

    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    NOTPAY = "NOTPAY"
    CLOSED = "CLOSED"
    REVOKED = "REVOKED"
    USERPAYING = "USERPAYING"
    PAYERROR = "PAYERROR"


class RefundStatus(StrEnum):
    """PROCESSING is accepted, not done; ABNORMAL: the payer's account took nothing, so an operator must act."""

    SUCCESS = "SUCCESS"
    CLOSED = "CLOSED"
    PROCESSING = "PROCESSING"
    ABNORMAL = "ABNORMAL"


@dataclass(frozen=True)
class Order:
    """A payment to be made by one WeChat user until `expires_at`."""

    out_trade_no: str
    amount_fen: int
    description: str
    openid: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Payment:
    """An order as WeChat knows it. The number, the amount and the time are there once it was paid."""

    out_trade_no: str
    state: PaymentState
    transaction_id: str | None
    amount_fen: int | None
    paid_at: datetime | None

    @property
    def paid(self) -> bool:
        """The money came, whatever became of it since."""
        return self.state in (PaymentState.SUCCESS, PaymentState.REFUND)


@dataclass(frozen=True)
class RefundState:
    """A refund as WeChat knows it."""

    out_refund_no: str
    out_trade_no: str
    refund_id: str
    transaction_id: str
    status: RefundStatus
    refund_fen: int
    total_fen: int
    finished_at: datetime | None


@dataclass(frozen=True)
class Notice:
    """A notice that WeChat signed and sealed for us. `id` is the same at every delivery."""

    id: str
    event_type: str
    created_at: datetime
    event: Payment | RefundState
    #: What was decrypted, without the payer.
    content: dict[str, Any] = field(repr=False)
    #: SHA-256 of the body as it came.
    digest: bytes
    #: Which key of WeChat signed it.
    key_id: str


class BillKind(StrEnum):
    TRADE = "trade"
    FUND_FLOW = "fund_flow"


@dataclass(frozen=True)
class Bill:
    """The file of one day, as WeChat hashed it."""

    kind: BillKind
    day: date
    content: bytes = field(repr=False)
    sha1: str


class WechatPayUnavailable(Unavailable):
    """No usable answer. With `maybe_done` the request may have had its effect: ask what became of it."""

    zh, en = "微信支付暂时不可用", "WeChat Pay is briefly unavailable"
    do_zh, do_en = "请稍后再试", "Try again shortly"

    def __init__(self, code: str | None = None, *, maybe_done: bool = False) -> None:
        super().__init__()
        self.code, self.maybe_done = code, maybe_done


class AnswerNotGenuine(WechatPayUnavailable):
    """An answer that WeChat did not sign, signed at another time, or that is about something else."""


class WechatPayRefused(Exception):
    """Final, and nothing was done: ORDER_CLOSED, INVALID_REQUEST (another amount), NOT_ENOUGH, RULE_LIMIT, …"""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"{status} {code}")
        self.code, self.status = code, status


class BillNotReady(Exception):
    """WeChat still makes the bill, or the day is not over."""


class NoticeReason(StrEnum):
    """Why a notice was not taken."""

    MALFORMED = "malformed"
    PROBE = "probe"
    STALE = "stale"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    BAD_CIPHERTEXT = "bad_ciphertext"
    NOT_OURS = "not_ours"
    UNKNOWN_EVENT = "unknown_event"


class NoticeRefused(Exception):
    """Not from WeChat, not now, or not for us: to be answered with 4xx, and without effect."""

    def __init__(self, reason: NoticeReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
