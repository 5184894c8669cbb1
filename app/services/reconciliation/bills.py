"""WeChat Pay's daily bills as text: read whole, or refused with what is wrong.

Every value is preceded by a backtick, so a line is split at ",`" and names may hold commas and quotes; amounts are in
yuan. Columns are found by their headings. The last two lines are totals, which must agree with the lines above. Nothing
of the payer is kept.
Source: pay.weixin.qq.com, 交易账单 (27 columns) and 资金账单 (11 columns).
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from app import clock
from app.errors import Invalid
from app.models.reconciliation import BillType, LineKind

TRADE = (
    "交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号", "用户标识", "交易类型",
    "交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额", "微信退款单号", "商户退款单号", "退款金额",
    "充值券退款金额", "退款类型", "退款状态", "商品名称", "商户数据包", "手续费", "费率", "订单金额", "申请退款金额",
    "费率备注",
)  # fmt: skip
TRADE_TOTALS = (
    "总交易单数", "应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额", "订单总金额", "申请退款总金额",
)  # fmt: skip
FLOW = (
    "记账时间", "微信支付业务单号", "资金流水单号", "业务名称", "业务类型", "收支类型", "收支金额(元)", "账户结余(元)",
    "资金变更提交申请人", "备注", "业务凭证号",
)  # fmt: skip
FLOW_TOTALS = ("资金流水总笔数", "收入笔数", "收入金额", "支出笔数", "支出金额")
SUMMED = {
    "应结订单总金额": "应结订单金额", "退款总金额": "退款金额", "充值券退款总金额": "充值券退款金额",
    "手续费总金额": "手续费", "订单总金额": "订单金额", "申请退款总金额": "申请退款金额",
}  # fmt: skip
OF_PAYMENTS = ("应结订单金额", "订单金额")
LONGEST = 50_000_000
NUMBER = re.compile(r"[!-~]{0,64}", re.ASCII)
AMOUNT = re.compile(r"(-?)([0-9]{1,10}(?:\.[0-9]{1,6})?)", re.ASCII)
PAYMENT, REFUND = "SUCCESS", "REFUND"
IN, OUT = "收入", "支出"
FLOW_KINDS = {
    "交易": LineKind.PAYMENT, "退款": LineKind.REFUND, "扣除交易手续费": LineKind.FEE, "退还交易手续费": LineKind.FEE,
}  # fmt: skip


class BillRefused(Invalid):
    """Nothing of the file was taken; `errors` says which line and why."""

    zh, en = "账单有误", "The bill is not as it should be"
    do_zh, do_en = "请重新下载原始账单，不要修改", "Download the bill again and leave it as it is"


@dataclass(frozen=True, slots=True)
class Line:
    """Amounts in fen, never negative but for a fee that is given back."""

    line: int
    at: datetime
    kind: LineKind
    transaction_id: str
    out_trade_no: str
    out_refund_no: str | None
    refund_id: str | None
    status: str
    amount_fen: int
    fee_fen: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """Of 资金账单, `paid_fen` is all that came in, `refunded_fen` all that went out, `balance_fen` what was left."""

    lines: list[Line]
    paid_fen: int
    refunded_fen: int
    fee_fen: int
    balance_fen: int | None = None


def parse(content: bytes, bill_type: BillType, day: date, mchid: str) -> Parsed:
    """The bill of this merchant and this day; BillRefused for any other, and for one that was changed or cut off."""
    trade = bill_type is BillType.TRADE
    parsed = parse_trade(content, mchid) if trade else parse_flow(content)
    for line in parsed.lines:
        # A payment of the last second may stand in either bill; a refund may name an earlier time.
        if line.kind is not LineKind.REFUND and abs(_day(line) - day) > timedelta(days=1):
            raise _wrong(line.line, "不是该日的账单", "not of the bill's day")
    return parsed


def _day(line: Line) -> date:
    return clock.day_of(line.at)


def parse_trade(content: bytes, mchid: str) -> Parsed:
    """交易账单 ALL: payments and refunds."""
    rows, totals = _table(content, TRADE, TRADE_TOTALS)
    lines = [_trade_line(number, row, mchid) for number, row in rows]
    sums = {column: [fen(row[column], number) for number, row in rows] for column in SUMMED.values()}
    paid_for = [row["交易状态"] == PAYMENT for _, row in rows]
    for name, column in SUMMED.items():
        every = sum(sums[column])
        # Bills are found with and without the payment's amount on the line of its refund.
        payments = sum(amount for amount, paid in zip(sums[column], paid_for, strict=True) if paid)
        _agree(name, fen(totals[name]), every, payments if column in OF_PAYMENTS else every)
    _agree("总交易单数", _count(totals["总交易单数"]), len(lines))
    paid = sum(line.amount_fen for line in lines if line.kind is LineKind.PAYMENT)
    refunded = sum(line.amount_fen for line in lines if line.kind is LineKind.REFUND)
    return Parsed(lines, paid, refunded, sum(line.fee_fen for line in lines))


def _trade_line(number: int, row: dict[str, str], mchid: str) -> Line:
    state, refund = row["交易状态"], row["交易状态"] == REFUND
    if row["货币种类"] != "CNY":
        raise _wrong(number, "货币不是人民币", "another currency")
    if row["商户号"] != mchid:
        raise _wrong(number, "不是本会的商户号", "another merchant's")
    kind = LineKind.PAYMENT if state == PAYMENT else LineKind.REFUND if refund else LineKind.REVOKED
    return Line(
        number, _moment(number, row["交易时间"]), kind, _name(number, row["微信订单号"]),
        _number(number, row["商户订单号"]), _name(number, row["商户退款单号"]) if refund else None,
        _number(number, row["微信退款单号"]) if refund else None,
        _number(number, row["退款状态"] if refund else state),
        _positive(number, row["申请退款金额" if refund else "订单金额"]), fen(row["手续费"], number),
    )  # fmt: skip


def parse_flow(content: bytes) -> Parsed:
    """资金账单 of the basic account: fees, and what was paid out to the bank."""
    rows, totals = _table(content, FLOW, FLOW_TOTALS)
    lines = [_flow_line(number, row) for number, row in rows]
    came = [line.amount_fen for line in lines if line.status == IN]
    went = [line.amount_fen for line in lines if line.status == OUT]
    _agree("资金流水总笔数", _count(totals["资金流水总笔数"]), len(lines))
    for way, amounts in ((IN, came), (OUT, went)):
        _agree(f"{way}笔数", _count(totals[f"{way}笔数"]), len(amounts))
        _agree(f"{way}金额", fen(totals[f"{way}金额"]), sum(amounts))
    fees = [line for line in lines if line.kind is LineKind.FEE]
    fee = sum(line.amount_fen if line.status == OUT else -line.amount_fen for line in fees)
    return Parsed(lines, sum(came), sum(went), fee, _left(rows, lines))


def _flow_line(number: int, row: dict[str, str]) -> Line:
    name = row["业务类型"]
    if row["收支类型"] not in (IN, OUT):
        raise _wrong(number, "收支类型有误", "neither in nor out")
    kind = LineKind.PAYOUT if "提现" in name else FLOW_KINDS.get(name, LineKind.OTHER)
    if kind is LineKind.OTHER and "退款" in name and row["收支类型"] == IN:
        kind = LineKind.REFUND  # one that came back, however they call it: it is followed where it was made
    return Line(
        number, _moment(number, row["记账时间"]), kind, _name(number, row["资金流水单号"]),
        _number(number, row["业务凭证号"]), None, None, row["收支类型"], _positive(number, row["收支金额(元)"]), 0,
    )  # fmt: skip


def _left(rows: list[tuple[int, dict[str, str]]], lines: list[Line]) -> int | None:
    if not rows:
        return None
    number, last = rows[-1] if lines[-1].at >= lines[0].at else rows[0]
    return fen(last["账户结余(元)"], number)


def _table(
    content: bytes, columns: tuple[str, ...], totals: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], dict[str, str]]:
    """The lines by heading, with their numbers in the file, and the totals."""
    if len(content) > LONGEST:
        raise _wrong(1, "文件过大", "too large")
    try:
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _wrong(1, "不是 UTF-8 文本", "not UTF-8") from error
    if len(lines) < 3:
        raise _wrong(len(lines), "文件不完整", "the file is cut off")
    heading, last = lines[0].split(","), lines[-2].split(",")
    for number, found, wanted in ((1, heading, columns), (len(lines) - 1, last, totals)):
        if sorted(found) != sorted(wanted):
            raise _wrong(
                number, "列名与规定不符，或文件不完整", "not the headings of this bill, or it is cut off"
            )
    rows = [(number, _row(number, line, heading)) for number, line in enumerate(lines[1:-2], 2)]
    return rows, _row(len(lines), lines[-1], last)


def _row(number: int, line: str, heading: list[str]) -> dict[str, str]:
    values = line[1:].split(",`")
    if line[:1] != "`" or len(values) != len(heading):
        raise _wrong(number, f"应有 {len(heading)} 列", f"{len(heading)} columns are expected")
    return dict(zip(heading, values, strict=True))


def fen(yuan: str, line: int = 0) -> int:
    """Exactly: 12.30 → 1230, -0.06000 → -6; half a fen is not an amount."""
    found = AMOUNT.fullmatch(yuan)
    value = Decimal(found[2]) * 100 if found else Decimal("0.1")
    if value % 1:
        raise _wrong(line, "金额有误", "not an amount")
    return int(value) if found and not found[1] else -int(value)


def _positive(line: int, yuan: str) -> int:
    value = fen(yuan, line)
    if value < 0:
        raise _wrong(line, "金额有误", "not an amount")
    return value


def _count(text: str) -> int:
    """资金账单 writes 3.0 for three."""
    return _positive(0, text) // 100


def _number(line: int, text: str) -> str:
    if not NUMBER.fullmatch(text):
        raise _wrong(line, "单号有误", "not a number of WeChat Pay")
    return text


def _name(line: int, text: str) -> str:
    """Its transfer is named after it: two lines without one would be the same."""
    if not text.strip("0"):
        raise _wrong(line, "缺少单号", "its number is missing")
    return _number(line, text)


def _moment(number: int, text: str) -> datetime:
    try:
        at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=clock.SHANGHAI)
    except ValueError as error:
        raise _wrong(number, "时间有误", "not a time") from error
    if not 2000 <= at.year <= 2200:
        raise _wrong(number, "时间有误", "not a time")
    return at


def _agree(name: str, stated: int, *ours: int) -> None:
    if stated not in ours:
        raise BillRefused.at(f"#totals/{name}", f"{name}与明细不符", f"{name} does not agree with the lines")


def _wrong(line: int, zh: str, en: str) -> BillRefused:
    return BillRefused.at(f"#lines/{line}" if line else "#totals", zh, en)
