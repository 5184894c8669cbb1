"""WeChat Pay's side of a few days, and the bills it makes of it, without a server: so many examples need no network."""

import itertools
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.integrations.wechat_pay import Payment, PaymentState
from app.models.donations import Channel, Donation, DonationStatus, ShownAs
from app.models.funds import Fund
from app.models.payments import OrderStatus, PaymentOrder, Refund
from app.models.reconciliation import BillType
from app.services.donations import naming
from app.services.idempotency import Key
from app.services.payments import notices, refunds
from app.services.reconciliation import fetching
from app.services.reconciliation.bills import FLOW, FLOW_TOTALS, SUMMED, TRADE, TRADE_TOTALS
from app.settings import settings

RATE = Decimal("0.006")
Row = dict[str, str]
numbers = itertools.count(10**9)


def yuan(fen: int) -> str:
    return f"{Decimal(fen).scaleb(-2):.2f}"


def fee_of(fen: int) -> int:
    return int((abs(fen) * RATE).quantize(Decimal(1))) * (1 if fen > 0 else -1)


def written(at: datetime) -> str:
    return f"{at.astimezone(clock.SHANGHAI):%Y-%m-%d %H:%M:%S}"


def line(values: list[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def text(
    columns: tuple[str, ...],
    rows: list[Row],
    totals: dict[str, str],
    *,
    newline: str = "\n",
    bom: bool = False,
) -> bytes:
    """A bill with these lines and totals, as they are."""
    body = [line([row[name] for name in columns]) for row in rows]
    lines = [",".join(columns), *body, ",".join(totals), line(list(totals.values())), ""]
    return newline.join(lines).encode("utf-8-sig" if bom else "utf-8")


def trade_totals(rows: list[Row]) -> dict[str, str]:
    sums = {
        name: str(sum((Decimal(row[column]) for row in rows), Decimal("0.00")))
        for name, column in SUMMED.items()
    }
    return {name: str(len(rows)) if name == "总交易单数" else sums[name] for name in TRADE_TOTALS}


def flow_totals(rows: list[Row]) -> dict[str, str]:
    sides = [
        [Decimal(row["收支金额(元)"]) for row in rows if row["收支类型"] == way] for way in ("收入", "支出")
    ]
    values = [f"{len(rows)}.0"]
    for side in sides:
        values += [f"{len(side)}.0", f"{sum(side, Decimal(0)):.2f}"]
    return dict(zip(FLOW_TOTALS, values, strict=True))


@dataclass(frozen=True)
class Event:
    """`fen` is what it does to the balance."""

    at: datetime
    name: str
    fen: int
    transaction: str = ""
    number: str = ""
    refund: str = ""
    status: str = "SUCCESS"
    goods: str = "爱心捐款, \"暖心\" 'x'"

    @property
    def day(self) -> date:
        return self.at.astimezone(clock.SHANGHAI).date()

    @property
    def fee(self) -> int:
        return fee_of(self.fen) if self.name in ("交易", "退款") else 0

    def trade(self) -> Row:
        paid = self.name == "交易"
        row = dict.fromkeys(TRADE, "") | dict.fromkeys(("代金券金额", "充值券退款金额"), "0.00")
        amounts = {
            "应结订单金额": yuan(self.fen),
            "订单金额": yuan(self.fen),
            "退款金额": "0.00",
            "申请退款金额": "0.00",
        }
        if not paid:
            amounts = {"应结订单金额": "0.00", "订单金额": "0.00"} | dict.fromkeys(
                ("退款金额", "申请退款金额"), yuan(-self.fen)
            )
        return row | amounts | {
            "交易时间": written(self.at), "商户号": settings().wechat_pay_mchid, "微信订单号": self.transaction,
            "商户订单号": self.number, "货币种类": "CNY", "交易状态": "SUCCESS" if paid else "REFUND",
            "微信退款单号": "0" if paid else f"50{self.refund}"[:32], "商户退款单号": self.refund or "0",
            "退款状态": "" if paid else self.status, "手续费": f"{yuan(self.fee)}000", "商品名称": self.goods,
        }  # fmt: skip


@dataclass
class Wechat:
    """What it did, in order; every number of its own."""

    events: list[Event] = field(default_factory=list)

    def paid(self, number: str, fen: int, at: datetime) -> Event:
        return self.did(Event(at, "交易", fen, f"4200{next(numbers)}", number))

    def refunded(self, paid: Event, refund: str, fen: int, at: datetime, status: str = "SUCCESS") -> Event:
        return self.did(Event(at, "退款", -fen, paid.transaction, paid.number, refund, status))

    def moved(self, name: str, fen: int, at: datetime) -> Event:
        return self.did(Event(at, name, fen, f"P{next(numbers)}"))

    def did(self, event: Event) -> Event:
        self.events.append(event)
        return event

    def balance(self, until: date | None = None) -> int:
        return sum(one.fen - one.fee for one in self.events if until is None or one.day <= until)

    def of(self, day: date) -> list[Event]:
        return sorted((one for one in self.events if one.day == day), key=lambda one: one.at)

    def trade(self, day: date, **form: Any) -> bytes | None:
        rows = [one.trade() for one in self.of(day) if one.name in ("交易", "退款")]
        return text(TRADE, rows, trade_totals(rows), **form) if rows else None

    def flow(self, day: date, **form: Any) -> bytes | None:
        rows, left = [], self.balance(day - timedelta(days=1))
        for one in self.of(day):
            fees = "扣除交易手续费" if one.fee > 0 else "退还交易手续费"
            for name, fen in ((one.name, one.fen), (fees, -one.fee)):
                if fen:
                    left += fen
                    rows.append(self._movement(one, name, fen, left))
        return text(FLOW, rows, flow_totals(rows), **form) if rows else None

    def _movement(self, one: Event, name: str, fen: int, left: int) -> Row:
        moved = name == one.name and name not in ("交易", "退款")
        flow = (
            one.transaction if moved else f"{'F' if name == one.name else 'K'}{one.refund or one.transaction}"
        )
        return dict.fromkeys(FLOW, "") | {
            "记账时间": written(one.at), "资金流水单号": flow, "业务名称": name, "业务类型": name,
            "收支类型": "收入" if fen > 0 else "支出", "收支金额(元)": yuan(abs(fen)), "账户结余(元)": yuan(left),
            "业务凭证号": one.refund or one.number,
        }  # fmt: skip

    async def deliver(self, day: date, actor: Actor = fetching.SYSTEM) -> None:
        """Both bills of the day come in."""
        for kind, content in ((BillType.TRADE, self.trade(day)), (BillType.FUND_FLOW, self.flow(day))):
            await fetching.take(actor, day, kind, content)


async def ordered(session: AsyncSession, donor: Actor, fund: Fund, fen: int) -> PaymentOrder:
    """Not paid yet, or never told of."""
    id, now = new_id(), clock.now()
    session.add(Donation(
        id=id, number=naming.new_number(), fund_id=fund.id, channel=Channel.WECHAT, amount_fen=fen,
        status=DonationStatus.PENDING, donated_at=now, account_id=donor.account_id, shown_as=ShownAs.ANONYMOUS,
        commitment=b"x" * 32, created_at=now,
    ))  # fmt: skip
    await session.flush()
    order = PaymentOrder(
        id=id, out_trade_no=id.hex, account_id=donor.account_id, amount_fen=fen, status=OrderStatus.PREPAID,
        created_at=now, expires_at=now, next_query_at=now,
    )  # fmt: skip
    session.add(order)
    await session.commit()
    return order


async def told(paid: Event, *, at: datetime | None = None) -> str:
    """The notice of it came."""
    payment = Payment(paid.number, PaymentState.SUCCESS, paid.transaction, paid.fen, at or paid.at)
    async with begin() as db:
        return await notices.settle(db, payment)


async def refund_approved(asks: Actor, decides: Actor, order: PaymentOrder, fen: int) -> Refund:
    """Its money is held."""
    async with begin() as db:
        new = refunds.NewRefund(amount_fen=fen, reason="given_twice")
        row = await refunds.request(db, asks, key=Key(new_id(), b"x"), donation_id=order.id, new=new)
        return await refunds.approve(db, decides, id=row.id, version=row.version)
