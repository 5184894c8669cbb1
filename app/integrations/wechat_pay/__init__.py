"""WeChat Pay, API v3, for mini-programs: orders, refunds, bills, notices.

Every answer is believed only with WeChat's signature of the last five minutes. Calls that WeChat takes twice as once
(questions, and a refund with the same number) are repeated; an order is not: after a lost answer, ask with `query`.
Bodies, keys and openids are never logged nor put into an exception.
Source: pay.weixin.qq.com, API v3, JSAPI and mini-program payment.
"""

from app.integrations.wechat_pay.bills import fund_flow_bill, trade_bill
from app.integrations.wechat_pay.notices import read_notice
from app.integrations.wechat_pay.orders import close, payment_parameters, prepay, query
from app.integrations.wechat_pay.refunds import query_refund, refund
from app.integrations.wechat_pay.signing import prepare
from app.integrations.wechat_pay.values import (
    NOTICES_PATH,
    AnswerNotGenuine,
    Bill,
    BillKind,
    BillNotReady,
    Notice,
    NoticeReason,
    NoticeRefused,
    Order,
    Payment,
    PaymentState,
    RefundState,
    RefundStatus,
    WechatPayRefused,
    WechatPayUnavailable,
)

__all__ = [
    "NOTICES_PATH",
    "AnswerNotGenuine",
    "Bill",
    "BillKind",
    "BillNotReady",
    "Notice",
    "NoticeReason",
    "NoticeRefused",
    "Order",
    "Payment",
    "PaymentState",
    "RefundState",
    "RefundStatus",
    "WechatPayRefused",
    "WechatPayUnavailable",
    "close",
    "fund_flow_bill",
    "payment_parameters",
    "prepare",
    "prepay",
    "query",
    "query_refund",
    "read_notice",
    "refund",
    "trade_bill",
]
