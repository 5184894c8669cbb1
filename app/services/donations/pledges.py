"""Promises to give by a day. Not money: nothing of it is in the ledger until it comes."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select, and_, case, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.crypto import mask_name
from app.errors import Invalid, WrongState
from app.models.donations import OrganizationDonor, Pledge, PledgeStatus
from app.models.funds import Fund, FundStatus
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.services import audit, idempotency
from app.services.donations import donors
from app.services.donations.amounts import MOST_FEN
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Day, example

S = PledgeStatus
LONGEST = timedelta(days=5 * 366)
OPEN = text("pledge.status = 'open'")  # written out, so that the index of these serves


class NewPledge(Body):
    model_config = example(
        fund_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", amount_fen=100_000_00, due_on="2027-03-31"
    )

    fund_id: uuid.UUID
    amount_fen: Annotated[int, Field(ge=1, le=MOST_FEN)]
    due_on: Day


class NewPledgeOfOrganization(NewPledge):
    model_config = example(
        fund_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01", amount_fen=100_000_00, due_on="2027-03-31",
        organization_donor_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e05",
    )  # fmt: skip

    organization_donor_id: uuid.UUID


async def promise(
    db: AsyncSession, actor: Actor, *, key: Key, new: NewPledge | NewPledgeOfOrganization
) -> Pledge:
    """By a resident, or entered for an organisation. Due within five years."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Pledge, key.id)
    if not clock.today() <= new.due_on <= clock.today() + LONGEST:
        raise Invalid.at("/due_on", "应在今天起五年之内", "within five years from today")
    fund = await db.scalar(select(Fund).where(Fund.id == new.fund_id, visible(actor, Fund)))
    if fund is None or fund.status is not FundStatus.OPEN:
        raise Invalid.at("/fund_id", "没有这个基金或已关闭", "no such fund, or it is closed")
    row = Pledge(
        id=key.id, fund_id=fund.id, amount_fen=new.amount_fen, due_on=new.due_on, status=S.OPEN, received_fen=0,
        created_at=clock.now(),
    )  # fmt: skip
    if isinstance(new, NewPledgeOfOrganization):
        seen = (OrganizationDonor.id == new.organization_donor_id, visible(actor, OrganizationDonor))
        if await db.scalar(select(OrganizationDonor.id).where(*seen)) is None:
            raise Invalid.at("/organization_donor_id", "没有这个捐赠单位", "no such body")
        row.organization_donor_id = new.organization_donor_id
    else:
        await donors.hold_own(db, actor)
        row.account_id = actor.account_id
    db.add(row)
    await db.flush()  # the answer shows its version
    await audit.record(db, actor, "promise", "pledge", row.id, people=[await donors.person_of(db, row)])
    return row


async def cancel(db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int) -> Pledge:
    """What came of it stays. A signed promise for those in need may be due all the same (慈善法 art. 41): whoever
    cancels has settled that."""
    row = await fetch_version(db, actor, Pledge, id, version)
    if row.status is not S.OPEN:
        raise WrongState
    row.status = S.CANCELLED
    await db.flush()  # the answer shows the new version
    await audit.record(db, actor, "cancel", "pledge", row.id, people=[await donors.person_of(db, row)])
    return row


async def count(db: AsyncSession, id: uuid.UUID, amount: int) -> None:
    """A gift came of it, or was reversed (below nothing): fulfilled when all is there, open again when not. Called
    after the ledger: so does record_payment, and two that meet do not deadlock."""
    came = Pledge.received_fen + amount
    status = case(
        (and_(Pledge.status == S.OPEN, came >= Pledge.amount_fen), S.FULFILLED),
        (and_(Pledge.status == S.FULFILLED, came < Pledge.amount_fen), S.OPEN),
        else_=Pledge.status,
    )
    changed = update(Pledge).where(Pledge.id == id)
    changed = changed.values(received_fen=came, status=status, version=Pledge.version + 1)
    await db.execute(changed.execution_options(synchronize_session=False))


@dataclass(frozen=True, slots=True)
class PledgeLine:
    """With the donor's masked name."""

    id: uuid.UUID
    fund_id: uuid.UUID
    organization_donor_id: uuid.UUID | None
    donor: str | None
    amount_fen: int
    received_fen: int
    due_on: date
    overdue: bool
    status: PledgeStatus
    version: int


async def due(
    db: AsyncSession, actor: Actor, *, by: date, after: tuple[date, uuid.UUID] | None, limit: int
) -> list[PledgeLine]:
    """Open ones whose day is near or past, the longest waiting first: whom to remind."""
    query = _named().where(visible(actor, Pledge), OPEN, Pledge.due_on <= by)
    if after is not None:
        query = query.where(func.row(Pledge.due_on, Pledge.id) > func.row(*after))
    rows = await db.execute(query.order_by(Pledge.due_on, Pledge.id).limit(limit))
    return [_line(*row) for row in rows]


async def of_fund(
    db: AsyncSession, actor: Actor, *, fund_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> list[PledgeLine]:
    """All of a fund, newest first."""
    query = _named().where(visible(actor, Pledge), Pledge.fund_id == fund_id)
    query = newest_first(query, Pledge.created_at, Pledge.id, after, limit)
    return [_line(*row) for row in await db.execute(query)]


def _named() -> Select[Any, Any]:
    """None stands for who is not bound to a person."""
    return (
        select(Pledge, func.coalesce(OrganizationDonor.name, Person.name))
        .outerjoin(OrganizationDonor, OrganizationDonor.id == Pledge.organization_donor_id)
        .outerjoin(ResidentAccount, ResidentAccount.id == Pledge.account_id)
        .outerjoin(Person, Person.id == ResidentAccount.person_id)
    )


def _line(row: Pledge, name: str | None) -> PledgeLine:
    return PledgeLine(
        row.id, row.fund_id, row.organization_donor_id, name and mask_name(name), row.amount_fen, row.received_fen,
        row.due_on, row.status is S.OPEN and row.due_on < clock.today(), row.status, row.version,
    )  # fmt: skip


async def own(db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int) -> list[Pledge]:
    """The resident's own, newest first."""
    query = select(Pledge).where(visible(actor, Pledge), Pledge.account_id == actor.account_id)
    return list(await db.scalars(newest_first(query, Pledge.created_at, Pledge.id, after, limit)))
