"""Gifts as their donors agreed to show them, and how many there are."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ARRAY, ColumnElement, DateTime, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app import clock
from app.errors import Invalid
from app.models.donations import SHOWN, Channel, Donation

NOBODY = "爱心人士"
#: For the rest of the transaction: what the public asks may take one processor, and pages that are in memory.
FROM_INDEX = text(
    "SELECT set_config('max_parallel_workers_per_gather', '0', true), set_config('random_page_cost', '1.1', true)"
)
LEFT: ColumnElement[int] = Donation.amount_fen - Donation.refunded_fen
Goal = InstrumentedAttribute[uuid.UUID] | InstrumentedAttribute[uuid.UUID | None]


@dataclass(frozen=True, slots=True)
class Gift:
    """`name`: 爱心人士 where the donor wants to stay unknown. `amount_fen`: less what was paid back; of goods their
    worth."""

    name: str
    anonymous: bool
    amount_fen: int
    given_on: date
    in_kind: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """How many gifts there are, and what they come to, less what was paid back."""

    gifts: int = 0
    received_fen: int = 0


async def tallies(db: AsyncSession, goal: Goal, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Tally]:
    """Of each fund or campaign. From the index alone: a million gifts are counted in a tenth of a second."""
    query = (
        select(goal, func.count(), func.sum(LEFT))
        .where(goal.in_(ids), goal.is_not(None), SHOWN)
        .group_by(goal)
    )
    await db.execute(FROM_INDEX)
    return {id: Tally(count, int(amount)) for id, count, amount in await db.execute(query) if id}


async def of_fund(
    db: AsyncSession, id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[tuple[uuid.UUID, Gift]]:
    """Newest first, each with its transfer, by which a page goes on. The public log names that anyway, with amount and
    time of recording (docs/proofs.md, “What it tells everybody”); the gift's own id and number are told to nobody."""
    return await _listing(db, Donation.fund_id, id, after, limit)


async def of_campaign(
    db: AsyncSession, id: uuid.UUID, *, after: uuid.UUID | None, limit: int
) -> list[tuple[uuid.UUID, Gift]]:
    """The same of one campaign."""
    return await _listing(db, Donation.campaign_id, id, after, limit)


async def _listing(
    db: AsyncSession, goal: Goal, id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[tuple[uuid.UUID, Gift]]:
    query = select(Donation).where(goal == id, goal.is_not(None), SHOWN)
    if after is not None:
        query = query.where(
            tuple_(Donation.donated_at, Donation.transfer_id) < await _place(db, goal, id, after)
        )
    rows = await db.scalars(
        query.order_by(Donation.donated_at.desc(), Donation.transfer_id.desc()).limit(limit)
    )
    return [(row.transfer_id, _shown(row)) for row in rows if row.transfer_id]


async def _place(db: AsyncSession, goal: Goal, id: uuid.UUID, after: uuid.UUID) -> tuple[datetime, uuid.UUID]:
    at = await db.scalar(select(Donation.donated_at).where(Donation.transfer_id == after, goal == id))
    if at is None:
        raise Invalid.at("#query/cursor", "游标无效", "not a cursor of this list")
    return at, after


def _shown(row: Donation) -> Gift:
    return Gift(
        row.public_name or NOBODY, row.public_name is None, row.amount_fen - row.refunded_fen,
        clock.day_of(row.donated_at), row.channel is Channel.IN_KIND,
    )  # fmt: skip


async def by_period(db: AsyncSession, campaign_id: uuid.UUID, starts: list[datetime]) -> dict[int, Tally]:
    """Of a campaign, by place in `starts`: what was given from then until the next. What came before goes with the
    first."""
    place = func.width_bucket(Donation.donated_at, cast(starts, ARRAY(DateTime(timezone=True))))
    since = func.greatest(place - 1, 0)
    query = (
        select(since, func.count(), func.sum(LEFT))
        .where(Donation.campaign_id == campaign_id, Donation.campaign_id.is_not(None), SHOWN)
        .group_by(since)
    )
    await db.execute(FROM_INDEX)
    return {number: Tally(count, int(amount)) for number, count, amount in await db.execute(query)}
