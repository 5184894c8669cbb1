"""The files of a day, from the orders: transactions with their fees, and every movement of the balance.

What was paid on a day is settled to the bank on the next one, less fees and refunds.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from app import clock
from app.sandbox.wechat_pay.book import Book, Order, Refund
from app.sandbox.wechat_pay.signatures import Refusal

COLUMNS = [
    "交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号", "用户标识",
    "交易类型", "交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额", "微信退款单号",
    "商户退款单号", "退款金额", "充值券退款金额", "退款类型", "退款状态", "商品名称", "商户数据包",
    "手续费", "费率", "订单金额", "申请退款金额", "费率备注",
]  # fmt: skip
TOTALS = [
    "总交易单数", "应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额", "订单总金额",
    "申请退款总金额",
]  # fmt: skip
SUMMED = [
    "应结订单金额", "退款金额", "充值券退款金额", "手续费", "订单金额", "申请退款金额",
]  # fmt: skip
FLOW_COLUMNS = [
    "记账时间", "微信支付业务单号", "资金流水单号", "业务名称", "业务类型", "收支类型", "收支金额(元)",
    "账户结余(元)", "资金变更提交申请人", "备注", "业务凭证号",
]  # fmt: skip
FLOW_TOTALS = ["资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额"]
READY_AT, PAID_OUT_AT = time(10), time(9)
KEPT = timedelta(days=90)

Row = dict[str, str]


@dataclass
class Change:
    """What WeChat's next transaction bill says differently about an order or a refund."""

    number: str
    column: str
    value: str
    drop: bool = False
    repeat: bool = False


@dataclass
class Bills:
    book: Book
    #: At any hour; else after 10:00 of the next day.
    ready: bool = False
    bom: bool = True
    crlf: bool = True
    #: Whether hash and totals are those of the changed file.
    rehash: bool = True
    retotal: bool = True
    changes: list[Change] = field(default_factory=list)

    def check(self, day: date) -> None:
        now = clock.now().astimezone(clock.SHANGHAI)
        ready_at = datetime.combine(day + timedelta(days=1), READY_AT, clock.SHANGHAI)
        if day >= now.date() or (now < ready_at and not self.ready):
            raise Refusal(400, "STATEMENT_CREATING", "对账单生成中")
        if now.date() - day > KEPT:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")

    def trade(self, day: date, kind: str = "ALL") -> tuple[bytes, str]:
        """File and hash. The changes ordered for the next bill are spent with it."""
        self.check(day)
        rows = sorted(self._trades(day, kind), key=lambda row: row["交易时间"])
        if not rows:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        changed = [row for before in rows for row in self._changed(before)]
        text = self._trade_text(changed, changed if self.retotal else rows)
        true = text if self.rehash else self._trade_text(rows, rows)
        self.changes, self.rehash, self.retotal = [], True, True
        return text, hashlib.sha1(true, usedforsecurity=False).hexdigest()

    def _trades(self, day: date, kind: str) -> Iterator[Row]:
        for order in self.book.orders.values():
            if order.paid_at and _day(order.paid_at) == day and kind != "REFUND":
                yield self._payment(order)
            for refund in order.refunds:
                if _day(refund.created_at) == day and refund.status != "CLOSED" and kind != "SUCCESS":
                    yield self._refund(refund)

    def _common(self, order: Order, at: datetime) -> Row:
        return dict.fromkeys(COLUMNS, "") | {
            "交易时间": _clock(at),
            "公众账号ID": self.book.merchant.appid,
            "商户号": self.book.merchant.mchid,
            "特约商户号": "0",
            "微信订单号": order.transaction_id,
            "商户订单号": order.number,
            "用户标识": order.asked["payer"]["openid"],
            "交易类型": "JSAPI",
            "付款银行": "OTHERS",
            "货币种类": "CNY",
            "代金券金额": "0.00",
            "充值券退款金额": "0.00",
            "商品名称": " ".join(order.asked["description"].splitlines()),
            "商户数据包": order.asked.get("attach", ""),
            "费率": f"{order.fee_rate * 100:.2f}%",
        }

    def _payment(self, order: Order) -> Row:
        assert order.paid_at
        return self._common(order, order.paid_at) | {
            "交易状态": "SUCCESS",
            "应结订单金额": yuan(order.amount),
            "微信退款单号": "0",
            "商户退款单号": "0",
            "退款金额": "0.00",
            "手续费": f"{yuan(order.fee(order.amount))}000",
            "订单金额": yuan(order.amount),
            "申请退款金额": "0.00",
        }

    def _refund(self, refund: Refund) -> Row:
        return self._common(refund.order, refund.created_at) | {
            "交易状态": "REFUND",
            "应结订单金额": "0.00",
            "微信退款单号": refund.refund_id,
            "商户退款单号": refund.number,
            "退款金额": yuan(refund.amount),
            "退款类型": "ORIGINAL",
            "退款状态": refund.status,
            "手续费": f"{yuan(-refund.order.fee(refund.amount))}000",
            "订单金额": "0.00",
            "申请退款金额": yuan(refund.amount),
        }

    def _changed(self, row: Row) -> list[Row]:
        for change in self.changes:
            refund = row["交易状态"] == "REFUND"
            if change.number == row["商户退款单号" if refund else "商户订单号"]:
                if change.drop:
                    return []
                row = row | {change.column: change.value} if change.column else row
                return [row, row] if change.repeat else [row]
        return [row]

    def _trade_text(self, rows: list[Row], totalled: list[Row]) -> bytes:
        sums = [str(sum(Decimal(row[column]) for row in totalled)) for column in SUMMED]
        return self._text(COLUMNS, rows, TOTALS, [str(len(totalled)), *sums])

    def _text(self, columns: list[str], rows: list[Row], totals_head: list[str], totals: list[str]) -> bytes:
        lines = [",".join(columns), *(_line(row[column] for column in columns) for row in rows)]
        text = ("\r\n" if self.crlf else "\n").join([*lines, ",".join(totals_head), _line(totals), ""])
        return text.encode("utf-8-sig" if self.bom else "utf-8")

    def fund_flow(self, day: date) -> tuple[bytes, str]:
        self.check(day)
        rows = [row for row in self._flow(day) if row["记账时间"].startswith(day.isoformat())]
        if not rows:
            raise Refusal(400, "NO_STATEMENT_EXIST", "账单文件不存在")
        totals = [f"{len(rows)}.0"]
        for direction in ("收入", "支出"):
            amounts = [Decimal(row["收支金额(元)"]) for row in rows if row["收支类型"] == direction]
            totals += [f"{len(amounts)}.0", str(sum(amounts, Decimal("0.00")))]
        text = self._text(FLOW_COLUMNS, rows, FLOW_TOTALS, totals)
        return text, hashlib.sha1(text, usedforsecurity=False).hexdigest()

    def _flow(self, until: date) -> Iterator[Row]:
        """From the beginning, since each line carries the balance."""
        days: defaultdict[date, list[tuple[datetime, str, str, int, str]]] = defaultdict(list)
        for movement in self._movements():
            days[_day(movement[0])].append(movement)
        balance, day = 0, min(days, default=until)
        while day <= until:
            if balance > 0:
                at = datetime.combine(day, PAID_OUT_AT, clock.SHANGHAI)
                days[day].append((at, f"payout{day:%Y%m%d}", "提现", -balance, "结算到银行账户"))
            # What was paid out this morning was there in the evening, so it comes first.
            for at, number, name, fen, note in sorted(days[day], key=lambda one: (one[2] != "提现", *one)):
                balance += fen
                yield _flow_row(at, number, name, fen, balance, note)
            day += timedelta(days=1)

    def _movements(self) -> Iterator[tuple[datetime, str, str, int, str]]:
        for order in self.book.orders.values():
            if order.paid_at:
                yield order.paid_at, order.transaction_id, "交易", order.amount, order.number
                if fee := order.fee(order.amount):
                    yield order.paid_at, order.transaction_id, "扣除交易手续费", -fee, order.number
            for refund in order.refunds:
                if refund.status != "CLOSED":
                    yield refund.created_at, refund.refund_id, "退款", -refund.amount, refund.number
                    if fee := order.fee(refund.amount):
                        yield refund.created_at, refund.refund_id, "退还交易手续费", fee, refund.number


def _flow_row(at: datetime, number: str, name: str, fen: int, balance: int, note: str) -> dict[str, Any]:
    flow = hashlib.sha256(f"{number}{name}".encode()).hexdigest()
    values = (
        _clock(at), number, str(int(flow[:20], 16)), name, name, "收入" if fen > 0 else "支出",
        yuan(abs(fen)), yuan(balance), "system", note, number,
    )  # fmt: skip
    return dict(zip(FLOW_COLUMNS, values, strict=True))


def yuan(fen: int) -> str:
    return f"{Decimal(fen) / 100:.2f}"


def _line(values: Any) -> str:
    return ",".join(f"`{value}" for value in values)


def _clock(at: datetime) -> str:
    return f"{at.astimezone(clock.SHANGHAI):%Y-%m-%d %H:%M:%S}"


def _day(at: datetime) -> date:
    return clock.day_of(at)
