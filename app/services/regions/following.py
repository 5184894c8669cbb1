"""Who follows when a division ends: everything that is served where it stands now. What tells of the past stays."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, insert, literal, null, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor
from app.db import Base
from app.logs import request_id
from app.models.audit import AuditEvent
from app.models.handbook import HouseholdEvent
from app.models.households import PENDING, Household, Membership
from app.models.regions import Region, RegionSuccession, SuccessionKind
from app.services import audit, queue
from app.services.households import family_types
from app.services.regions.files import above, level_of

JOB = "apply_region_successions"
#: Who wrote with an old code at the very moment follows when the job looks again.
STRAGGLERS = timedelta(days=2)
WHOLE = (SuccessionKind.MOVED, SuccessionKind.MERGED)

Condition = Callable[[Table], ColumnElement[bool]]


def _always(_: Table) -> ColumnElement[bool]:
    return true()


def _to_come(table: Table) -> ColumnElement[bool]:
    return table.c.starts_at >= clock.now()


def _in_line(table: Table) -> ColumnElement[bool]:
    return table.c.status.in_(["waiting", "offered"])


def _proposed(table: Table) -> ColumnElement[bool]:
    return table.c.status == "proposed"


def _renumbered(_: Table) -> ColumnElement[bool]:
    return RegionSuccession.kind == SuccessionKind.MOVED


#: Where one is served or counted now: these columns follow, each with which of its rows do.
FOLLOWS: dict[tuple[str, str], Condition] = {
    ("household", "region_code"): _always,
    ("person", "region_code"): _always,
    ("person", "hukou_region_code"): _always,
    ("staff_account", "region_code"): _always,
    ("organization", "region_code"): _always,
    ("clinic", "region_code"): _always,
    ("healthcare_service", "region_code"): _always,
    ("service_item", "region_code"): _always,
    # Merged divisions each had their prices: the association sets one for the new.
    ("service_price", "region_code"): _renumbered,
    ("station", "region_code"): _always,
    ("roster_member", "region_code"): _always,
    ("rotation", "region_code"): _always,
    ("rotation_capacity", "serves_region_code"): _always,
    ("rotation_turn", "region_code"): _always,
    ("qualification", "region_code"): _always,
    ("appointment", "region_code"): _to_come,
    ("waitlist_entry", "region_code"): _in_line,
    ("follow_up", "region_code"): _always,
    ("diagnostic_report", "region_code"): _always,
    ("household_move", "from_region_code"): _proposed,
    ("household_move", "to_region_code"): _proposed,
    ("erasure", "region_code"): _always,
    ("correction", "region_code"): _always,
    ("import_batch", "region_code"): _always,
    ("fund", "region_code"): _always,
    ("organization_donor", "region_code"): _always,
    # Who works there goes on with what is under way; where it was paid from is in the books.
    ("disbursement", "region_code"): _always,
    ("bank_file", "region_code"): _always,
    # Merged divisions each had their limits: a supervisor sets those of the new.
    ("approval_limit", "region_code"): _renumbered,
    # Merged divisions each had a questionnaire: the association publishes one for the new.
    ("survey_template", "region_code"): _renumbered,
}

#: What tells of the past or is computed anew, and so keeps the code it has.
STAYS: dict[tuple[str, str], str] = {
    ("import_row", "region_code"): "a line of a file as it was sent; committing checks it again",
    ("import_row", "hukou_region_code"): "a line of a file as it was sent; committing checks it again",
    ("region_statistic", "region_code"): "computed anew by its own job",
    ("first_contact", "region_code"): "computed anew by its own job",
    ("survey_response", "region_code"): "where the household lived when it answered",
    ("survey_tally", "region_code"): "counts of the answers as they were given",
}

#: A division may not just end while one of these stands in it.
SERVING = ("household", "person", "staff_account", "organization", "clinic", "station", "roster_member")

#: What belongs to a person and follows when a household of a split division is assigned.
OF_PERSON = (
    "follow_up", "diagnostic_report", "appointment", "waitlist_entry", "qualification", "erasure", "correction",
    "rotation_turn",
)  # fmt: skip


async def apply_due(db: AsyncSession, actor: Actor) -> int:
    """Every change whose day has come, in one transaction: old divisions end, new ones begin, and all who are served
    there follow. The parts of a split wait for their households to be assigned. Says how many took effect."""
    await db.execute(text("SET LOCAL statement_timeout = '15min'"))
    await db.execute(text("SET LOCAL lock_timeout = '1min'"))
    await db.execute(text("LOCK TABLE region IN SHARE ROW EXCLUSIVE MODE"))
    waiting = select(RegionSuccession).where(
        RegionSuccession.applied_at.is_(None), RegionSuccession.effective_on <= clock.today()
    )
    due = list(await db.scalars(waiting.order_by(RegionSuccession.effective_on, RegionSuccession.id)))
    # Whoever is writing with an old code finishes first; whoever comes later finds that it has ended.
    old = sorted({row.old_code for row in due})
    await db.execute(select(Region.code).where(Region.code.in_(old)).order_by(Region.code).with_for_update())
    await _begin(db, due)
    for row in due:
        await _end(db, row)
        await audit.record(db, actor, "apply", "region_succession", row.id)
    await db.flush()  # those who follow read the successions
    await _follow(db, actor)
    return len(due)


async def _begin(db: AsyncSession, due: list[RegionSuccession]) -> None:
    """The new divisions, from the top: each refers to the one above."""
    new = {row.new_code: row for row in due if row.kind is not SuccessionKind.RENAMED}
    known = set(await db.scalars(select(Region.code).where(Region.code.in_(new))))
    for code, row in sorted(new.items(), key=lambda item: level_of(item[0])):
        if code in known:
            continue
        query = select(Region.code).where(Region.code.in_(above(code)), Region.valid_to.is_(None))
        parent = max(await db.scalars(query), key=level_of)
        db.add(
            Region(
                code=code, level=level_of(code), parent_code=parent, name=row.new_name, valid_from=row.effective_on,
                source=row.source,
            )
        )  # fmt: skip
        await db.flush()  # the next may lie below it


async def _end(db: AsyncSession, row: RegionSuccession) -> None:
    change: dict[str, Any] = {"valid_to": row.effective_on}
    if row.kind is SuccessionKind.RENAMED:
        change = {"name": row.new_name}
    await db.execute(update(Region).where(Region.code == row.old_code).values(**change))
    row.applied_at = clock.now()


def _recently() -> ColumnElement[bool]:
    since = clock.now() - STRAGGLERS
    return and_(RegionSuccession.kind.in_(WHOLE), RegionSuccession.applied_at >= since)


async def _follow(db: AsyncSession, actor: Actor) -> None:
    query = select(RegionSuccession.old_code, RegionSuccession.new_code).where(_recently())
    codes = {row.old_code: row.new_code for row in await db.execute(query)}
    if not codes:
        return
    await _note(db, actor, _recently())
    await _keep_numbers_apart(db)
    followed = 0
    for (name, column), which in FOLLOWS.items():
        table = Base.metadata.tables[name]
        change: dict[str, Any] = {column: RegionSuccession.new_code} | _next_version(table)
        condition = and_(table.c[column] == RegionSuccession.old_code, _recently(), which(table))
        done: Any = await db.execute(update(table).where(condition).values(change))
        followed += done.rowcount
    pending = select(Household).where(Household.status.in_(PENDING), Household.form_sealed.is_not(None))
    pending = pending.with_for_update().execution_options(populate_existing=True)
    await rewrite_forms(list(await db.scalars(pending)), codes)
    if followed:  # a head's hukou lies in another county, or no more
        await queue.enqueue(db, family_types.JOB, {}, once=family_types.JOB)


def _next_version(table: Table) -> dict[str, Any]:
    """Whoever is editing the row sees that it has changed meanwhile."""
    counted = "version" in table.c and table.name != "survey_template"
    return {"version": table.c.version + 1} if counted else {}


async def _keep_numbers_apart(db: AsyncSession) -> None:
    """Two merged villages each have a house number 1: the village's old code goes before it."""
    merged = and_(
        Household.region_code == RegionSuccession.old_code, _recently(), Household.local_number.is_not(None),
        RegionSuccession.kind == SuccessionKind.MERGED,
    )  # fmt: skip
    table = Base.metadata.tables["household"]
    number = table.c.region_code + "-" + table.c.local_number
    await db.execute(update(table).where(merged).values(local_number=number))


async def _note(db: AsyncSession, actor: Actor, which: ColumnElement[bool]) -> None:
    """A step in each household's handbook, which keeps the old name, and in the trail of each of its people."""
    households = (
        select(Household.id, RegionSuccession.old_code, RegionSuccession.new_code)
        .join(RegionSuccession, RegionSuccession.old_code == Household.region_code)
        .where(which)
        .subquery()
    )
    await note_region_changes(db, actor, households)


async def note_region_changes(db: AsyncSession, actor: Actor, households: Any) -> None:
    """Of a subquery of households with their `old_code` and `new_code`, before they follow. The names are those of
    today: the handbook keeps them, whatever they become."""
    now = clock.now()
    old, new = aliased(Region), aliased(Region)
    words = func.format("%s（%s） → %s（%s）", old.name, old.code, new.name, new.code)
    steps = (
        select(
            households.c.id, literal(now), literal("region_changed"), literal(str(actor.role)), _id(actor), words
        )
        .select_from(households)
        .join(old, old.code == households.c.old_code)
        .join(new, new.code == households.c.new_code)
    )  # fmt: skip
    columns = ["household_id", "at", "kind", "actor_role", "actor_id", "note"]
    await db.execute(insert(HouseholdEvent).from_select(columns, steps))
    here = and_(Membership.household_id == households.c.id, Membership.valid_to.is_(None))
    traces = select(
        literal(now), literal(actor.role, AuditEvent.actor_role.type), _id(actor), literal("region_changed"),
        literal("household"), households.c.id, Membership.person_id, literal(actor.name or None),
        literal(request_id.get()),
    )  # fmt: skip
    columns = [
        "at", "actor_role", "actor_id", "action", "entity", "entity_id", "person_id", "purpose", "request_id",
    ]  # fmt: skip
    traces = traces.select_from(households.outerjoin(Membership, here))
    await db.execute(insert(AuditEvent).from_select(columns, traces))


def _id(actor: Actor) -> Any:
    return null() if actor.id is None else literal(actor.id)


async def rewrite_forms(pending: Sequence[Household], codes: dict[str, str]) -> None:
    """A form under way names divisions too, and would be refused at its verification."""
    for household in pending:
        form = json.loads(household.form or "{}")
        form["region_code"] = codes.get(form["region_code"], form["region_code"])
        for member in form["members"]:
            member["hukou_region_code"] = codes.get(member["hukou_region_code"], member["hukou_region_code"])
        written = json.dumps(form, ensure_ascii=False)
        if json.loads(household.form or "{}") != form:
            household.form = written
