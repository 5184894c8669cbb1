"""Gifts as staff and donors see them, and how a donor is shown."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, fetch_version, own_person, visible
from app.crypto import mask_name
from app.errors import Invalid, NotFound
from app.models.donations import (
    Channel,
    Donation,
    DonationStatus,
    GoodsDelivery,
    ReceiptRequest,
    ShownAs,
)
from app.models.funds import Fund
from app.models.households import Person
from app.services import audit
from app.services.donations import donors, naming, receipts
from app.services.pages import newest_first


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gifts a list is of."""

    fund_id: uuid.UUID | None = None
    campaign_id: uuid.UUID | None = None
    organization_donor_id: uuid.UUID | None = None
    channel: Channel | None = None
    status: DonationStatus | None = None
    source: str | None = None


async def listed(
    db: AsyncSession, actor: Actor, *, wanted: Wanted, after: uuid.UUID | None, limit: int
) -> list[tuple[Donation, str | None]]:
    """Newest first, each with the donor's masked name."""
    query = select(Donation).where(visible(actor, Donation))
    for name in Wanted.__slots__:
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(Donation, name) == value)
    rows = await db.scalars(newest_first(query, Donation.created_at, Donation.id, after, limit))
    return [(row, mask_name(row.donor_name) if row.donor_name else None) for row in rows]


@dataclass(frozen=True, slots=True)
class Gift:
    """A gift with what hangs on it."""

    donation: Donation
    fund: Fund
    donor_name: str | None
    receipts: list[ReceiptRequest]
    deliveries: list[GoodsDelivery]


async def read(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> Gift:
    """With the donor's name in full: recorded, in the donor's file too."""
    gift = await _gift(db, actor, id)
    person = await donors.person_of(db, gift.donation)
    await audit.record(db, actor, "read", "donation", id, people=[person], purpose=purpose)
    return gift


async def read_own(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> Gift:
    return await _gift(db, actor, id)


async def _gift(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Gift:
    row = await fetch(db, actor, Donation, id)
    handed = select(GoodsDelivery).where(GoodsDelivery.donation_id == id).order_by(GoodsDelivery.id)
    return Gift(
        row, await db.get_one(Fund, row.fund_id), row.donor_name, await receipts.of_gift(db, actor, id),
        list(await db.scalars(handed)),
    )  # fmt: skip


async def own(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[tuple[Donation, Fund]]:
    """The resident's own by every channel, newest first."""
    query = select(Donation, Fund).join(Fund, Fund.id == Donation.fund_id)
    query = query.where(visible(actor, Donation), Donation.account_id == actor.account_id)
    rows: Any = await db.execute(newest_first(query, Donation.created_at, Donation.id, after, limit))
    return [(gift, fund) for gift, fund in rows]


async def claim(db: AsyncSession, actor: Actor, *, number: str) -> Gift:
    """A gift by the bank, in cash … becomes one's own, with the number on the paper that one was given, where the name
    that was written down is that of the person whom the account is bound to. Whatever does not fit does not exist."""
    await donors.hold_own(db, actor)
    query = select(Donation).where(
        Donation.number == number.strip().upper(), Donation.channel != Channel.WECHAT,
        Donation.organization_donor_id.is_(None),
    )  # fmt: skip
    row = await db.scalar(query.with_for_update())
    if row is None or row.account_id not in (None, actor.account_id):
        raise NotFound
    name = await _bound(db, actor)
    if name is None or row.donor_name != name:
        raise NotFound
    if row.account_id is None:
        row.account_id = actor.account_id
        await db.flush()  # from here on it is visible
        await audit.record(db, actor, "claim", "donation", row.id, people=[await donors.person_of(db, row)])
    return await _gift(db, actor, row.id)


async def show_as(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, shown_as: ShownAs, name: str | None
) -> Gift:
    """Changes what the public list shows, at any time (慈善法 art. 82). The name is that of the gift, or of the
    account, or `name` where there is neither; what the log is committed to stays as it was."""
    await donors.hold_own(db, actor)
    row = await fetch_version(db, actor, Donation, id, version)
    if shown_as is not ShownAs.ANONYMOUS:
        name = row.donor_name or await _bound(db, actor) or name
        if name is None:
            raise Invalid.at("/name", "请填写要公示的名称", "say the name to be shown")
    row.shown_as, row.public_name = shown_as, naming.public_name(shown_as, name)
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "show_as", "donation", id, people=[await donors.person_of(db, row)])
    return await _gift(db, actor, id)


async def _bound(db: AsyncSession, actor: Actor) -> str | None:
    return await db.scalar(select(Person.name).where(Person.id == own_person(actor)))
