"""A settlement: confirmed by the hospital, accepted by the association or returned. What changes later is an adjustment
of the next month."""

import uuid
from dataclasses import asdict
from typing import Annotated

from pydantic import Field
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch, fetch_version
from app.db import new_id
from app.errors import Conflict, WrongState
from app.models.appointments import Clinic
from app.models.settlements import Settlement, SettlementItem, SettlementLine, SettlementStatus
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.plain import Body, example
from app.services.settlements import counting
from app.services.settlements.reading import Month, Sheet, detail, first_of


class SettlementExists(
    Conflict,
    constraint=("uq_settlement_clinic_id_month_live", "uq_settlement_item_appointment_id_quantity"),
):
    zh, en = "该月结算已确认", "This month has been confirmed already"
    do_zh, do_en = "请查看已确认的结算单", "Look at the settlement that was confirmed"


class MonthNotOver(Conflict):
    zh, en = "该月尚未结束", "The month is not over yet"
    do_zh, do_en = "请在月末之后确认", "Confirm it when the month is over"


class PriceMissing(Conflict):
    """`services`: of which the association has set no price."""

    zh, en = "有服务尚未设定结算价格", "A service has no price yet"
    do_zh, do_en = "请联系协会设定价格", "Ask the association to set it"


class SettlementChanged(Conflict):
    """`amount_fen`: what it is now."""

    zh, en = "结算金额已变化", "The amount is another by now"
    do_zh, do_en = "请重新查看该月结算后再确认", "Look at the month again, then confirm"


class TakenBackLater(Conflict):
    zh, en = "之后的结算已冲减其中的人次", "A later settlement has taken back part of this one"
    do_zh = "请先退回之后的结算；已核定的，差异在下一次结算中调整"
    do_en = "Return the later one first; where that was accepted, differences adjust the next settlement"


class ConfirmSettlement(Body):
    """`amount_fen` as it was shown: what is confirmed is what was seen."""

    model_config = example(
        clinic_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", month="2026-11", amount_fen=3_840_000
    )

    clinic_id: uuid.UUID
    month: Month
    amount_fen: Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)]


async def confirm(db: AsyncSession, actor: Actor, *, key: Key, new: ConfirmSettlement) -> Sheet:
    """By the hospital, once the month is over: from now on it is what it is."""
    if await idempotency.claim(db, actor, key):
        clinic, month = await fetch(db, actor, Clinic, new.clinic_id), first_of(new.month)
        if counting.bounds(month)[1] > clock.now():
            raise MonthNotOver
        await _hold(db, clinic)
        unpriced = [
            line for line in await counting.count(db, clinic, month)
            if line.price_fen is None and line.fulfilled + line.reversed
        ]  # fmt: skip
        if unpriced:
            raise PriceMissing(services=[str(line.service_id) for line in unpriced])
        await _freeze(db, key.id, clinic, new)
        await audit.record(db, actor, "confirm", "settlement", key.id)
    return await detail(db, actor, id=key.id)


async def _hold(db: AsyncSession, clinic: Clinic) -> None:
    """While the months settled before are built upon, nobody returns one of them."""
    standing = select(Settlement.id).where(
        Settlement.clinic_id == clinic.id, Settlement.status != SettlementStatus.RETURNED
    )
    await db.execute(standing.order_by(Settlement.id).with_for_update())


async def _freeze(db: AsyncSession, id: uuid.UUID, clinic: Clinic, new: ConfirmSettlement) -> None:
    """Its appointments first, then its lines from these: nobody's arrival in between can part them."""
    month = first_of(new.month)
    row = Settlement(
        id=id, clinic_id=clinic.id, month=month, status=SettlementStatus.CONFIRMED, amount_fen=new.amount_fen,
        confirmed_at=clock.now(),
    )  # fmt: skip
    db.add(row)
    await db.flush()  # a second one of this month is refused here
    await counting.keep(db, clinic, month, settlement=id)
    lines = await counting.count(db, clinic, month, settlement=id)
    total = sum(line.amount_fen for line in lines)
    if total != new.amount_fen:
        raise SettlementChanged(amount_fen=total)
    db.add_all(SettlementLine(id=new_id(), settlement_id=id, **asdict(line)) for line in lines)
    await db.flush()  # the answer reads them


async def accept(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Sheet:
    """By the association: it is to be paid."""
    return await _decide(db, actor, id, version, SettlementStatus.ACCEPTED, "accept", None)


async def give_back(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str) -> Sheet:
    """To the hospital, with the reason: the month is a draft again. Its lines stay to be looked at. Not once a later
    one has taken back what this one paid: that would be taken back for nothing."""
    row = await fetch(db, actor, Settlement, id, lock=True)
    paid, back = aliased(SettlementItem), aliased(SettlementItem)
    taken_back = (
        select(back.id)
        .join(paid, paid.appointment_id == back.appointment_id)
        .where(paid.settlement_id == row.id, paid.quantity == 1, back.quantity == -1)
    )
    if row.status is SettlementStatus.CONFIRMED and await db.scalar(taken_back.limit(1)) is not None:
        raise TakenBackLater
    sheet = await _decide(db, actor, id, version, SettlementStatus.RETURNED, "return", reason)
    await db.execute(delete(SettlementItem).where(SettlementItem.settlement_id == id))
    return sheet


async def _decide(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int, to: SettlementStatus, action: str,
    reason: str | None,
) -> Sheet:  # fmt: skip
    row = await fetch_version(db, actor, Settlement, id, version)
    if row.status is not SettlementStatus.CONFIRMED:
        raise WrongState(status_now=row.status)
    row.status, row.reason, row.decided_by, row.decided_at = to, reason, actor.account_id, clock.now()
    await audit.record(db, actor, action, "settlement", id)
    await db.flush()  # raises the version
    return await detail(db, actor, id=id)
