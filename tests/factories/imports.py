"""Lists of families as a village keeps them, and their way through an import."""

import itertools
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.households import DocumentKind, Person
from app.models.identity import ResidentAccount
from app.models.imports import ImportBatch, ImportRow
from app.services import identity, imports
from app.services.documents import check_character
from app.services.documents import read as read_document
from tests.factories import appointments as made

TOWN = made.REGION
HEADINGS = (
    "户编号", "村（社区）", "家庭住址", "与户主关系", "姓名", "证件号码", "手机号", "结婚日期", "类别", "证明材料",
)  # fmt: skip
_serial = itertools.count(1)
Cells = dict[str, str]


def number(born: date, female: bool) -> str:
    """A resident number of its own (GB 11643)."""
    serial = next(_serial)
    sequence = 2 * (serial % 499) + (0 if female else 1)
    seventeen = f"64{serial // 499 % 10000:04}{born:%Y%m%d}{sequence:03}"
    return seventeen + check_character(seventeen)


def line(household: str, relation: str, name: str, *, female: bool = False, **cells: str) -> Cells:
    born = date(1985, 5, 6) if relation in {"户主", "配偶"} else date(2015, 6, 1)
    phone = f"139{next(_serial):08}" if relation in {"户主", "配偶"} else ""
    given = {
        "户编号": household, "村（社区）": TOWN, "家庭住址": "凤凰北街 8 号", "与户主关系": relation, "姓名": name,
        "证件号码": number(born, female), "手机号": phone,
    }  # fmt: skip
    return given | cells


def family(household: str, **cells: str) -> list[Cells]:
    """Head, wife, child."""
    return [
        line(household, "户主", "王建军", **cells),
        line(household, "配偶", "李秀英", female=True, 结婚日期="2012-03-04", **cells),
        line(household, "子女", "王小明", **cells),
    ]


def csv(lines: Iterable[Cells]) -> bytes:
    rows = [",".join(HEADINGS), *(",".join(cells.get(name, "") for name in HEADINGS) for cells in lines)]
    return "\n".join(rows).encode()


async def upload(actor: Actor, content: bytes, name: str = "名册.csv") -> uuid.UUID:
    async def body() -> AsyncIterator[bytes]:
        yield content

    made = await imports.upload(actor, body(), id=None, seen=name.encode(), name=name)
    return uuid.UUID(str(made["id"]))


async def checked(actor: Actor, lines: Iterable[Cells]) -> uuid.UUID:
    """Uploaded and through the dry run."""
    id = await upload(actor, csv(lines))
    await imports.work(id)
    return id


async def batch_of(session: AsyncSession, id: uuid.UUID) -> ImportBatch:
    query = select(ImportBatch).where(ImportBatch.id == id).execution_options(populate_existing=True)
    return (await session.scalars(query)).one()


async def rows_of(session: AsyncSession, id: uuid.UUID) -> list[ImportRow]:
    query = select(ImportRow).where(ImportRow.batch_id == id).order_by(ImportRow.line)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def verdicts(session: AsyncSession, id: uuid.UUID) -> list[tuple[str, list[str]]]:
    return [(row.verdict.value, [w["code"] for w in row.wrong]) for row in await rows_of(session, id)]


async def commit(session: AsyncSession, actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    batch = await batch_of(session, id)
    await imports.commit(session, actor, id=id, version=batch.version)
    await session.commit()
    await imports.work(id)
    return await imports.detail(session, actor, id=id)


async def undo(session: AsyncSession, actor: Actor, id: uuid.UUID) -> dict[str, Any]:
    batch = await batch_of(session, id)
    await imports.undo_all(session, actor, id=id, version=batch.version)
    await session.commit()
    await imports.work(id)
    return await imports.detail(session, actor, id=id)


async def committed(session: AsyncSession, actor: Actor, lines: Iterable[Cells]) -> uuid.UUID:
    id = await checked(actor, lines)
    await commit(session, actor, id)
    return id


async def number_of(session: AsyncSession, model: type) -> int:
    return await session.scalar(select(func.count()).select_from(model)) or 0


async def known_person(session: AsyncSession, number: str, name: str, phone: str | None = None) -> Person:
    """Bound in WeChat, of no household."""
    document = read_document(DocumentKind.RESIDENT_ID, number)
    assert document.birth_date is not None
    assert document.sex is not None
    person, _ = await identity.register_person(
        session, name=name, document=document, birth_date=document.birth_date, sex=document.sex
    )
    identity.set_phone(person, phone)
    account = ResidentAccount(
        id=new_id(),
        openid=uuid.uuid4().hex,
        person_id=person.id,
        bound_at=clock.now(),
        created_at=clock.now(),
    )
    session.add(account)
    await session.commit()
    return person
