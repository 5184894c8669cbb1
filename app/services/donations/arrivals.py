"""Gifts that reach the bank: cash that was carried there, and what a platform pays out. Money changes its place; what
was given, and to which fund, stays as it is."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.errors import Conflict, Unfit
from app.models.donations import Channel
from app.models.ledger import AccountBalance, LedgerAccount, Transfer, TransferKind
from app.services import audit, idempotency
from app.services.donations.amounts import MOST_FEN
from app.services.donations.recording import DEBIT, Fen, Source, refuse_future
from app.services.idempotency import Key
from app.services.ledger import posting
from app.services.ledger.posting import Entry, transfer_id
from app.services.plain import Body, Day, example

#: Of two arrivals at once the second sees what the first has left.
ALONE = text("SELECT pg_advisory_xact_lock(7301664028)")


class AlreadyArrived(Conflict):
    zh, en = "该笔银行流水已登记到账", "This number of the bank is on record"
    do_zh, do_en = "请在序时账中按流水号查找", "Look for it in the journal"


class MoreThanStands(Conflict):
    """`stands_fen`: what was received this way and is not at the bank yet."""

    zh, en = "超过现金或平台待结算的余额", "More than was received this way and is not at the bank yet"
    do_zh, do_en = "请先登记或导入该渠道收到的捐款", "Record or import first what was given this way"


class NewArrival(Body):
    """`amount_fen` came to the bank under the number `source`; a platform kept `fee_fen` of it before."""

    model_config = example(
        channel="platform", amount_fen=98_000, fee_fen=2_000, arrived_on="2026-11-20", source="2026112000012345"
    )  # fmt: skip

    channel: Literal[Channel.CASH, Channel.PLATFORM]
    amount_fen: Fen
    fee_fen: Annotated[int, Field(ge=0, le=MOST_FEN)] = 0
    arrived_on: Day
    source: Source

    @model_validator(mode="after")
    def _cash_costs_nothing(self) -> Self:
        if self.channel is Channel.CASH and self.fee_fen:
            raise Unfit("缴存现金没有手续费", "no fee is kept of cash")
        return self


async def record(db: AsyncSession, actor: Actor, *, key: Key, new: NewArrival) -> list[Transfer]:
    """What came, and the fee. AlreadyArrived for a number that was taken before, unless that was reversed;
    MoreThanStands where less was received this way."""
    if await idempotency.claim(db, actor, key):
        refuse_future(new.arrived_on, "/arrived_on")
        await db.execute(ALONE)
        stands = await _stands(db, DEBIT[new.channel])
        if new.amount_fen + new.fee_fen > stands:
            raise MoreThanStands(stands_fen=stands)
        await _post(db, key, new)
        await audit.record(db, actor, "arrive", "transfer", key.id)
    parts = select(Transfer).where(Transfer.group_id == key.id, visible(actor, Transfer))
    return list(await db.scalars(parts.order_by(Transfer.amount_fen.desc())))


async def _stands(db: AsyncSession, code: str) -> int:
    left = select(func.sum(AccountBalance.debits - AccountBalance.credits)).join(LedgerAccount)
    return int(await db.scalar(left.where(LedgerAccount.code == code)) or 0)


async def _post(db: AsyncSession, key: Key, new: NewArrival) -> None:
    about = await _free(db, new)
    for name, debit, amount, kind in (
        ("arrival", posting.BANK, new.amount_fen, TransferKind.SETTLEMENT),
        ("arrival fee", posting.FEES, new.fee_fen, TransferKind.FEE),
    ):
        if amount and not await posting.record(db, Entry(
            transfer_id(name, *about), debit, DEBIT[new.channel], amount, kind, f"arrival/{new.source}",
            new.arrived_on, group=key.id,
        )):  # fmt: skip
            raise AlreadyArrived


async def _free(db: AsyncSession, new: NewArrival) -> tuple[object, ...]:
    """Of the number of the bank, so that it is taken once; after a reversal it is another."""
    about: tuple[object, ...] = (new.channel, new.source)
    while await db.get(Transfer, id := transfer_id("arrival", *about)) is not None:
        if await db.scalar(select(Transfer.id).where(Transfer.reverses_id == id)) is None:
            raise AlreadyArrived
        about = (*about, "again")
    return about
