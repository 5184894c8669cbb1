"""Lists taken out of the registry: made by a job, sealed, marked with who took them, when and why, kept for a week."""

import asyncio
import uuid
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, Select, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch, visible
from app.db import begin, new_id
from app.errors import Conflict, Forbidden, Invalid, Problem, to_problem
from app.models.households import Household, HouseholdStatus, Membership, Person
from app.models.regions import Region
from app.models.search import ExportStatus, RegistryExport, SearchKind
from app.models.staff import StaffAccount
from app.services import audit, files, idempotency, queue
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.search import filters, households, people
from app.services.search.households import HouseholdCriteria
from app.services.search.people import PeopleCriteria
from app.services.search.workbook import Mark, Workbook, lines, order_of

JOB = "export_registry"
KEPT = timedelta(days=7)
CHUNK = 1000
MOST_ROWS = 1_000_000  # as many as an import takes; Excel ends little above
UNDER_WAY = (ExportStatus.QUEUED, ExportStatus.RUNNING)
AT_LONGEST = timedelta(minutes=10)
ATTEMPTS = 5
NOBODY_COUNTED = "只有在册家庭有成员可导出", "only active households have members to list"


class UnmaskingNotAllowed(Forbidden):
    zh, en = "您没有导出完整信息的权限", "You may not export unmasked data"
    do_zh, do_en = "请导出脱敏数据，或由县级管理员导出", "Export it masked, or ask the county administrator"


class ExportNotReady(Conflict):
    zh, en = "导出文件尚未生成", "The file is not made yet"
    do_zh, do_en = "请稍后再试；若已失败，请重新导出", "Try again later; if it failed, export again"


class TooManyRows(Conflict):
    zh, en = "导出超过一百万行", "More than a million rows"
    do_zh, do_en = "请按乡镇分别导出", "Export town by town"


class MakerGone(Forbidden):
    zh, en = "导出人已无权限", "Who asked for it may no longer export"


class GivenUp(Conflict):
    zh, en = "导出多次失败，已放弃", "Making the file failed again and again"
    do_zh, do_en = "请重新导出，或联系管理员", "Export again, or ask the administrator"


async def request(
    db: AsyncSession, actor: Actor, *, key: Key, criteria: PeopleCriteria | HouseholdCriteria, unmasked: bool,
    purpose: str,
) -> RegistryExport:  # fmt: skip
    """Queue a list of who or what is found. Unmasked is a permission of its own."""
    if unmasked and not actor.may(Permission.PERSON_UNMASK_MANY):
        raise UnmaskingNotAllowed
    if await idempotency.claim(db, actor, key):
        if isinstance(criteria, HouseholdCriteria) and criteria.status not in (None, HouseholdStatus.ACTIVE):
            raise Invalid.at("/criteria/status", *NOBODY_COUNTED)
        await _found(db, actor, criteria)  # refuses what cannot be searched for
        row = RegistryExport(
            id=key.id, created_by=actor.account_id, kind=SearchKind(criteria.kind), unmasked=unmasked,
            purpose=purpose, status=ExportStatus.QUEUED, created_at=clock.now(),
        )  # fmt: skip
        row.criteria = filters.written(criteria)
        db.add(row)
        sought = await people.sought(db, actor, criteria) if isinstance(criteria, PeopleCriteria) else []
        await audit.record(db, actor, "request", "registry_export", row.id, people=sought, purpose=purpose)
        await _enqueue(db, row.id)
    return await fetch(db, actor, RegistryExport, key.id)


async def _enqueue(db: AsyncSession, id: uuid.UUID) -> None:
    await queue.enqueue(db, JOB, {"export_id": str(id)}, once=f"{JOB}:{id}")


async def resume(db: AsyncSession) -> None:
    """A job that was lost with its worker or its database begins again; one that waits or runs is left alone."""
    for id in await db.scalars(select(RegistryExport.id).where(RegistryExport.status.in_(UNDER_WAY))):
        await _enqueue(db, id)


async def listing(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[RegistryExport]:
    """One's own, the newest first."""
    query = select(RegistryExport).where(visible(actor, RegistryExport))
    query = newest_first(query, RegistryExport.created_at, RegistryExport.id, before, limit)
    return list(await db.scalars(query))


async def get(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> RegistryExport:
    return await fetch(db, actor, RegistryExport, id)


async def download(db: AsyncSession, actor: Actor, *, id: uuid.UUID) -> BinaryIO:
    """The workbook, for who made it only. FileGone after a week."""
    row = await fetch(db, actor, RegistryExport, id)
    if row.unmasked and not actor.may(Permission.PERSON_UNMASK_MANY):
        raise UnmaskingNotAllowed
    if row.file_id is None:
        raise ExportNotReady
    await audit.record(db, actor, "download", "registry_export", id, purpose=row.purpose)
    return await files.open(db, row.file_id)


async def make(export_id: uuid.UUID) -> None:
    """The job: may be repeated after a crash, a few times. Whose data went into the file is recorded before it can be
    fetched."""
    try:
        if await _tried(export_id):
            await _make(export_id)
    except Problem as problem:
        await _fail(export_id, problem)
    except Exception as error:
        await _fail(export_id, to_problem(error))
        raise


async def _tried(export_id: uuid.UUID) -> bool:
    """One attempt more, committed before it begins: what kills its worker is not tried for ever."""
    async with begin() as db:
        row = await _claimed(db, export_id)
        if row is None:
            return False
        row.attempts += 1
        if row.attempts > ATTEMPTS:
            await _set(db, export_id, ExportStatus.FAILED, problem=GivenUp.slug())
        return row.attempts <= ATTEMPTS


async def _fail(export_id: uuid.UUID, problem: Problem) -> None:
    async with begin() as db:
        await _set(db, export_id, ExportStatus.FAILED, problem=problem.slug())


async def _make(export_id: uuid.UUID) -> None:
    with files.temporary() as out, ExitStack() as stack:
        async with begin() as db:
            # The number on the watermark and every line are of one moment.
            await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            row = await _claimed(db, export_id)
            if row is None:
                return
            actor = await _maker(db, row)
            query, total = await _counted(db, actor, filters.read(row.criteria))
            mark = await _watermark(db, actor, row, total)
            book = stack.enter_context(Workbook(out, mark))
            await _fill(db, actor, row, query, book, total)
        # Packing takes long: no transaction is open meanwhile.
        await asyncio.to_thread(book.close)
        out.seek(0)
        name = f"{mark.title}.xlsx"
        async with begin() as db:
            if await _claimed(db, export_id) is None:
                return  # another run was faster
            file = await files.store(db, actor, out, id=new_id(), name=name, kept=KEPT)
            await _set(db, export_id, ExportStatus.DONE, file_id=file.id, rows_done=book.rows)


async def _claimed(db: AsyncSession, export_id: uuid.UUID) -> RegistryExport | None:
    """The lock ends with the transaction: a second run of a job that is thought dead does nothing."""
    if not await db.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(str(export_id), 0)))):
        return None
    system = Actor.system(JOB)
    row = await fetch(db, system, RegistryExport, export_id)
    return row if row.status in UNDER_WAY else None


async def _maker(db: AsyncSession, row: RegistryExport) -> Actor:
    """With the role and region of today."""
    account = await db.get(StaffAccount, row.created_by)
    assert account is not None
    actor = Actor(account.role, id=account.id, region_code=account.region_code)
    if account.disabled_at is not None or not actor.may(Permission.REGISTRY_EXPORT):
        raise MakerGone
    if row.unmasked and not actor.may(Permission.PERSON_UNMASK_MANY):
        raise UnmaskingNotAllowed
    return actor


async def _counted(
    db: AsyncSession, actor: Actor, criteria: PeopleCriteria | HouseholdCriteria
) -> tuple[Select[Any], int]:
    query = await _found(db, actor, criteria)
    await db.execute(text(f"SET LOCAL statement_timeout = '{int(AT_LONGEST.total_seconds())}s'"))
    total = await db.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    if total > MOST_ROWS:
        raise TooManyRows
    return query, total


async def _found(db: AsyncSession, actor: Actor, criteria: PeopleCriteria | HouseholdCriteria) -> Select[Any]:
    """The ids of the people in the list, household by household, the head first."""
    query: Select[Any] = select(Person.id).join(
        Membership, (Membership.person_id == Person.id) & Membership.valid_to.is_(None)
    )
    if isinstance(criteria, PeopleCriteria):
        wanted: ColumnElement[bool] = Person.id.in_(
            (await people.matches(db, actor, criteria)).with_only_columns(Person.id)
        )
    else:
        homes = await households.matches(db, actor, criteria, Household.id)
        wanted = Membership.household_id.in_(homes) & visible(actor, Person)
    order = (
        Person.region_code,
        Membership.household_id,
        order_of(Membership.relation),
        Person.birth_date,
        Person.id,
    )
    return query.where(wanted).order_by(*order)


async def _fill(
    db: AsyncSession, actor: Actor, row: RegistryExport, query: Select[Any], book: Workbook, total: int
) -> None:
    """The people are named once; their data are read in pieces."""
    await _progress(row.id, 0, total)
    action = "export_unmasked" if row.unmasked else "export"
    found = await db.stream_scalars(query, execution_options={"yield_per": CHUNK})
    async for ids in found.partitions():
        some = await lines(db, actor, list(ids))
        await asyncio.to_thread(book.write, some)
        people = [line.person.id for line in some]
        await audit.record(db, actor, action, "registry_export", row.id, people=people, purpose=row.purpose)
        db.expunge_all()  # flat memory
        await _progress(row.id, book.rows, total)


async def _watermark(db: AsyncSession, actor: Actor, row: RegistryExport, total: int) -> Mark:
    query = select(StaffAccount.name, StaffAccount.username, Region.name).join(
        Region, Region.code == StaffAccount.region_code
    )
    name, username, region = (await db.execute(query.where(StaffAccount.id == actor.id))).one()
    return Mark(
        title=f"{region}{'人员' if row.kind is SearchKind.PEOPLE else '家庭'}名册",
        who=f"{name}（{username}）", when=clock.now(), why=row.purpose, export_id=row.id, rows=total,
        unmasked=row.unmasked,
    )  # fmt: skip


async def _progress(export_id: uuid.UUID, done: int, total: int) -> None:
    """In a transaction of its own, to be seen meanwhile."""
    async with begin() as db:
        await _set(db, export_id, ExportStatus.RUNNING, rows_done=done, rows_total=total)


async def _set(db: AsyncSession, export_id: uuid.UUID, status: ExportStatus, **values: Any) -> None:
    """Only from queued or running: what is over stays."""
    finished = None if status is ExportStatus.RUNNING else clock.now()
    await db.execute(
        update(RegistryExport)
        .where(RegistryExport.id == export_id, RegistryExport.status.in_(UNDER_WAY))
        .values(status=status, finished_at=finished, **values)
        .execution_options(synchronize_session=False)
    )
