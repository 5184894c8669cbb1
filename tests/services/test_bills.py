"""Bills as text: what WeChat writes is read as it is, to the fen; whatever was changed or cut off is refused."""

from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app import clock
from app.models.reconciliation import BillType, LineKind
from app.services.reconciliation import bills
from app.services.reconciliation.bills import BillRefused, fen
from app.settings import settings as configured
from tests.factories import bills as made

DAY = date(2026, 5, 1)
NOON = datetime(2026, 5, 1, 12, tzinfo=clock.SHANGHAI)
FORMS = [{"newline": newline, "bom": bom} for newline in ("\n", "\r\n") for bom in (True, False)]
names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="`"), max_size=20
) | st.just('a,b",c')
amounts = st.integers(1, 10**9)


def read(content, kind=BillType.TRADE, day=DAY):
    return bills.parse(content, kind, day, configured().wechat_pay_mchid)


@st.composite
def worlds(draw):
    """A day at WeChat: payments, refunds, movements."""
    wechat, left = made.Wechat(), draw(st.integers(1, 6))
    for minute in range(left):
        at = NOON.replace(minute=minute)
        paid = wechat.did(
            made.Event(at, "交易", draw(amounts), f"42{minute}", f"T{minute}", goods=draw(names))
        )
        if draw(st.booleans()):
            wechat.refunded(paid, f"R{minute}", draw(st.integers(1, paid.fen)), at)
        if draw(st.booleans()):
            wechat.moved(
                draw(st.sampled_from(["提现", "充值"])), draw(st.integers(-(10**9), 10**9).filter(bool)), at
            )
    return wechat


@given(worlds(), st.sampled_from(FORMS))
@settings(max_examples=20, deadline=None)
def test_a_bill_is_read_as_it_was_written(wechat, form):
    payments = [one for one in wechat.of(DAY) if one.name in ("交易", "退款")]
    trade = read(wechat.trade(DAY, **form))
    kinds = {"交易": LineKind.PAYMENT, "退款": LineKind.REFUND}
    assert [(one.kind, one.transaction_id, one.out_trade_no, one.out_refund_no, one.amount_fen, one.fee_fen, one.at)
            for one in trade.lines] == [
        (kinds[one.name], one.transaction, one.number, one.refund or None, abs(one.fen), one.fee, one.at)
        for one in payments]  # fmt: skip
    assert trade.paid_fen - trade.refunded_fen == sum(one.fen for one in payments)
    assert trade.fee_fen == sum(one.fee for one in payments)
    flow = read(wechat.flow(DAY, **form), BillType.FUND_FLOW)
    assert flow.balance_fen == wechat.balance() == flow.paid_fen - flow.refunded_fen
    assert flow.fee_fen == trade.fee_fen


@given(worlds(), st.data())
@settings(max_examples=40, deadline=None)
def test_one_changed_line_is_refused(wechat, data):
    kind = data.draw(st.sampled_from(BillType))
    lines = (wechat.trade(DAY) if kind is BillType.TRADE else wechat.flow(DAY)).decode().split("\n")
    heading = lines[0].split(",")
    number = data.draw(st.integers(1, len(lines) - 4))
    ways = ["drop", "repeat", "amount", "cut", "column"]
    way = data.draw(st.sampled_from(ways))
    if way in ("drop", "repeat"):
        lines[number : number + 1] = [lines[number]] * (2 if way == "repeat" else 0)
    elif way == "cut":
        lines[number] = lines[number].rsplit(",`", 1)[0]
    elif way == "column":
        lines[0] = ",".join(heading[:-1])
    else:
        counted = [*bills.SUMMED.values()] if kind is BillType.TRADE else ["收支金额(元)"]
        values = lines[number][1:].split(",`")
        if "REFUND" in values:  # what the payment was says nothing there
            counted = [name for name in counted if name not in bills.OF_PAYMENTS]
        at = heading.index(data.draw(st.sampled_from(counted)))
        values[at] = made.yuan(fen(values[at]) + data.draw(st.integers(1, 500)))
        lines[number] = made.line(values)
    with pytest.raises(BillRefused):
        read("\n".join(lines).encode(), kind)


@given(worlds(), st.data())
@settings(max_examples=20, deadline=None)
def test_a_truncated_bill_is_refused(wechat, data):
    whole = wechat.trade(DAY)
    cut = whole[: data.draw(st.integers(0, len(whole) - 2))]
    # What is cut off the last total may be noughts that say nothing.
    assume(len(cut) < len(whole) - 5)
    with pytest.raises(BillRefused):
        read(cut)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=30)
def test_nonsense_is_refused(content):
    for kind in BillType:
        with pytest.raises(BillRefused):
            read(content, kind)


@pytest.mark.parametrize("column", [*bills.TRADE_TOTALS])
def test_a_changed_total_is_refused(column):
    wechat = made.Wechat()
    wechat.refunded(wechat.paid("T1", 10_000, NOON), "R1", 500, NOON)
    rows = [one.trade() for one in wechat.of(DAY)]
    totals = made.trade_totals(rows)
    totals[column] = str(Decimal(totals[column]) + 1)
    with pytest.raises(BillRefused) as refused:
        read(made.text(bills.TRADE, rows, totals))
    assert column in refused.value.errors[0]["zh"]


def row(**changes):
    return made.Event(NOON, "交易", 10_000, "4200", "T1").trade() | changes


@pytest.mark.parametrize(("changes", "word"), [
    ({"货币种类": "USD"}, "货币"), ({"商户号": "1"}, "商户号"), ({"交易时间": "2026-05-03 00:00:00"}, "该日"),
    ({"交易时间": "昨天"}, "时间"), ({"交易时间": "0001-01-01 00:00:00"}, "时间"), ({"手续费": "0.005"}, "金额"),
    ({"手续费": "NaN"}, "金额"), ({"手续费": "１"}, "金额"), ({"手续费": "1e3"}, "金额"),
    ({"订单金额": "-1.00"}, "金额"),
    ({"微信订单号": "4200\x00"}, "单号"), ({"商户订单号": "x" * 65}, "单号"), ({"微信订单号": ""}, "单号"),
    ({"交易状态": "REFUND", "商户退款单号": "0"}, "单号"),
])  # fmt: skip
def test_a_line_that_cannot_be_says_where(changes, word):
    rows = [row(), row(**changes)]
    totals = dict.fromkeys(bills.TRADE_TOTALS, "0.00") if "手续费" in changes else made.trade_totals(rows)
    with pytest.raises(BillRefused) as refused:
        read(made.text(bills.TRADE, rows, totals))
    [place] = refused.value.errors
    assert (place["pointer"], word in place["zh"]) == ("#lines/3", True)


def test_columns_are_found_by_their_headings():
    order = (*bills.TRADE[5:], *bills.TRADE[:5])
    rows = [row()]
    totals = made.trade_totals(rows)
    assert read(made.text(order, rows, totals)) == read(made.text(bills.TRADE, rows, totals))


def test_the_example_that_wechat_publishes():
    """Line and totals as in a real bill: names without meaning, five decimals, noughts instead of nothing."""
    line = (
        "`2021-01-28 17:07:11,`wx81be3101902f7cb2,`1601959334,`0,`,`4200000925202101284997714292,"
        "`S20210128170702357723,`ofyak5qYxYJVnhTlrkk_ACWIVrHI,`NATIVE,`SUCCESS,`OTHERS,`CNY,`0.01,`0.00,`0,`0,`0.00,"
        '`0.00,`,`,`for, "testing",'
        "`cipher code,`0.00000,`1.00%,`0.01,`0.00,`"
    )
    totals = ",".join(bills.TRADE_TOTALS) + "\r\n`1,`0.01,`0.00,`0.00,`0.00000,`0.01,`0.00\r\n"
    content = "\ufeff" + ",".join(bills.TRADE) + "\r\n" + line + "\r\n" + totals
    parsed = bills.parse(content.encode(), BillType.TRADE, date(2021, 1, 28), "1601959334")
    assert (parsed.lines[0].out_trade_no, parsed.paid_fen, parsed.fee_fen) == ("S20210128170702357723", 1, 0)


@given(st.integers(1 - 10**12, 10**12 - 1))
@settings(max_examples=50)
def test_yuan_are_fen_exactly(value):
    assert fen(f"{Decimal(value).scaleb(-2):.2f}") == fen(f"{Decimal(value).scaleb(-2):.5f}") == value
