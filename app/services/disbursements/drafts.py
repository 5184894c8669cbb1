"""Drafts of payments: written, changed, copied; and what other domains ask to be paid, each source once."""

import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, visible
from app.db import new_id
from app.errors import Conflict, Invalid, WrongState
from app.models.disbursements import Disbursement, DisbursementStatus
from app.models.funds import BudgetLine, Campaign, CampaignStatus, Fund, FundStatus
from app.models.households import Person
from app.models.identity import STAFF_ROLES
from app.services import audit, idempotency
from app.services.disbursements.erasure import ENDED
from app.services.disbursements.forms import NewDisbursement
from app.services.disbursements.steps import tell
from app.services.idempotency import Key

S = DisbursementStatus
Source = tuple[str, uuid.UUID]
LIVE = text("source IS NOT NULL AND status NOT IN ('rejected', 'voided', 'expired')")
#: Without those that are taken for one another (Crockford).
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SourceTaken(Conflict, constraint="uq_disbursement_source_live"):
    zh, en = "该事项已有一笔支出", "There is a payment for this already"
    do_zh, do_en = "请查看已有的支出", "Look at the one that is there"


@dataclass(frozen=True, slots=True)
class Asked:
    """What another domain asks to be paid: `source` its name for the kind, `source_id` its row. `region_code`: where
    it is paid from, the actor's region without."""

    new: NewDisbursement
    source: str
    source_id: uuid.UUID
    region_code: str | None = None


def number(letter: str) -> str:
    """P20261122-7K3M9QX2: the day, and chance."""
    return f"{letter}{clock.today():%Y%m%d}-" + "".join(secrets.choice(ALPHABET) for _ in range(8))


async def draft(db: AsyncSession, actor: Actor, *, key: Key, new: NewDisbursement) -> Disbursement:
    """Of the actor's region, from a fund of it or of a region above. It binds nobody until it is submitted."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Disbursement, key.id)
    await _require_sound(db, actor, new)
    row = _row(key.id, actor, actor.region_code, new)
    return await _add(db, actor, row, "draft")


async def change(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, new: NewDisbursement
) -> Disbursement:
    """A draft, in all. Who changes it does not approve it."""
    row = await fetch_version(db, actor, Disbursement, id, version)
    if row.status is not S.DRAFT:
        raise WrongState(status_now=row.status)
    await _require_sound(db, actor, new)
    for name, value in new:
        setattr(row, name, value)
    await tell(db, actor, S.DRAFT, [row])
    await audit.record(db, actor, "change", "disbursement", row.id, people=[row.person_id])
    return row


async def copy(db: AsyncSession, actor: Actor, *, key: Key, id: uuid.UUID) -> Disbursement:
    """A new draft from one that was rejected, voided or expired, to be corrected and submitted anew."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, Disbursement, key.id)
    old = await fetch(db, actor, Disbursement, id)
    if old.status not in ENDED or old.payee is None:  # who it was for has been erased
        raise WrongState(status_now=old.status)
    row = Disbursement(id=key.id, status=S.DRAFT, source=old.source, source_id=old.source_id)
    row.number, row.region_code = number("P"), old.region_code
    row.created_by, row.created_at = actor.account_id, clock.now()
    for name in NewDisbursement.model_fields:
        setattr(row, name, getattr(old, name))
    return await _add(db, actor, row, "copy")


async def _add(db: AsyncSession, actor: Actor, row: Disbursement, action: str) -> Disbursement:
    db.add(row)
    await db.flush()  # its events refer to it
    await tell(db, actor, row.status, [row])
    await audit.record(db, actor, action, "disbursement", row.id, people=[row.person_id])
    return row


async def request(db: AsyncSession, actor: Actor, asked: Asked) -> Disbursement:
    """For other domains: a payment that is submitted at once, once for its source. Asked for again it is the same one;
    SourceTaken with another amount or fund. Once it was rejected, voided or has expired, it may be asked for anew."""
    [row] = await request_many(db, actor, [asked])
    return row


async def request_many(db: AsyncSession, actor: Actor, asked: Sequence[Asked]) -> list[Disbursement]:
    """As `request`, for many in a few statements, in the order asked. All or none."""
    for new in {
        (one.new.fund_id, one.new.budget_line_id, one.new.campaign_id): one.new for one in asked
    }.values():
        await _require_lines(db, actor, new)
    await _require_people(db, actor, (one.new.person_id for one in asked))
    found: dict[Source, Disbursement] = {}
    # What was there already may end before it is read: then it is asked for anew.
    while left := [one for one in asked if (one.source, one.source_id) not in found]:
        await _submit(db, actor, left)
        found |= await _live(db, left)
    rows = [found[one.source, one.source_id] for one in asked]
    for row, one in zip(rows, asked, strict=True):
        if (row.amount_fen, row.fund_id) != (one.new.amount_fen, one.new.fund_id):
            raise SourceTaken
    return rows


async def _submit(db: AsyncSession, actor: Actor, asked: Sequence[Asked]) -> None:
    rows = []
    # In one order, so that those who ask for the same at once do not wait for one another crosswise.
    for one in sorted(asked, key=lambda one: (one.source, one.source_id)):
        row = _row(new_id(), actor, one.region_code or actor.region_code, one.new)
        row.status, row.source, row.source_id = S.SUBMITTED, one.source, one.source_id
        row.submitted_by = row.created_by
        rows.append(row)
    made = await _insert(db, rows)
    new_rows = [row for row in rows if row.id in made]
    await tell(db, actor, S.SUBMITTED, new_rows)
    done = [(row.id, [row.person_id]) for row in new_rows]
    await audit.record_each(db, actor, "request", "disbursement", done)


async def _insert(db: AsyncSession, rows: list[Disbursement]) -> set[uuid.UUID]:
    """Those whose source had no live one yet."""
    columns = inspect(Disbursement).columns.keys()
    values = [{name: getattr(row, name) for name in columns if name != "version"} for row in rows]
    made = insert(Disbursement).on_conflict_do_nothing(
        index_elements=["source", "source_id"], index_where=LIVE
    )
    return set(await db.scalars(made.returning(Disbursement.id), values)) if values else set()


async def _live(db: AsyncSession, asked: Sequence[Asked]) -> dict[Source, Disbursement]:
    keys = {(one.source, one.source_id) for one in asked}
    query = select(Disbursement).where(
        tuple_(Disbursement.source, Disbursement.source_id).in_(keys), Disbursement.status.not_in(ENDED)
    )
    rows = await db.scalars(query)
    return {(row.source, row.source_id): row for row in rows if row.source and row.source_id}


def _row(id: uuid.UUID, actor: Actor, region_code: str, new: NewDisbursement) -> Disbursement:
    row = Disbursement(
        id=id, number=number("P"), status=S.DRAFT, region_code=region_code, created_at=clock.now()
    )
    row.created_by = actor.id if actor.role in STAFF_ROLES else None
    for name, value in new:
        setattr(row, name, value)
    return row


async def _require_sound(db: AsyncSession, actor: Actor, new: NewDisbursement) -> None:
    await _require_lines(db, actor, new)
    await _require_people(db, actor, [new.person_id])


async def _require_lines(db: AsyncSession, actor: Actor, new: NewDisbursement) -> None:
    """An open fund that the actor sees, one of its lines of this year, one of its campaigns that has been opened."""
    fund = await db.scalar(select(Fund).where(Fund.id == new.fund_id, visible(actor, Fund)))
    if fund is None or fund.status is FundStatus.CLOSED:
        raise Invalid.at("/fund_id", "没有这个基金或已关闭", "no such fund, or it is closed")
    line = await db.get(BudgetLine, new.budget_line_id)
    if line is None or line.fund_id != fund.id or line.year != clock.today().year:
        raise Invalid.at(
            "/budget_line_id", "不是该基金本年度的预算项目", "not a line of this fund for this year"
        )
    if new.campaign_id is not None:
        campaign = await db.get(Campaign, new.campaign_id)
        if campaign is None or campaign.fund_id != fund.id or campaign.status is CampaignStatus.DRAFT:
            raise Invalid.at("/campaign_id", "不是该基金的募捐项目", "not a campaign of this fund")


async def _require_people(db: AsyncSession, actor: Actor, ids: Iterable[uuid.UUID | None]) -> None:
    wanted = {id for id in ids if id is not None}
    if wanted:
        seen: Any = await db.scalars(select(Person.id).where(Person.id.in_(wanted), visible(actor, Person)))
        if wanted - set(seen):
            raise Invalid.at("/person_id", "没有找到此人", "no such person")
