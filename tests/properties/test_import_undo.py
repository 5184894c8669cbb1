"""Whatever is imported, undoing it leaves every table of the registry byte for byte as it was."""

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app import clock, db, models
from app.access import Actor
from app.db import Base, new_id
from app.models.households import DocumentKind
from app.models.identity import ResidentAccount
from app.services import identity
from app.services.documents import read as read_document
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.factories.imports import Cells, line

#: What grows by importing and undoing, and stays: the trail, the batches, the files, the requests, what is counted.
GROWING = {
    "audit_event", "import_batch", "stored_file", "stored_file_chunk", "idempotency_key", "region_statistic",
}  # fmt: skip
#: The divisions of the whole country, which no import touches, would take longer to read than all the rest.
DIVISIONS = {"region"}
RELATIONS = ("户主", "配偶", "子女", "父母")
CATEGORIES = (
    "",
    "低保:2020-01-01",
    "留守儿童:2019-07-01",
    "低保:2020-01-01; 空巢老人:2021-01-01",
    "没有的类别",
)


@st.composite
def a_line(draw: st.DrawFn, household: str) -> Cells:
    relation = draw(st.sampled_from(RELATIONS))
    cells = line(
        household,
        relation,
        draw(st.sampled_from(["王建军", "李秀英", "马兰", "张三"])),
        female=draw(st.booleans()),
        类别=draw(st.sampled_from(CATEGORIES)),
        结婚日期=draw(st.sampled_from(["", "2012-03-04"])),
    )
    if draw(st.integers(0, 9)) == 0:
        cells["证件号码"] = "123"
    return cells


@st.composite
def some_lines(draw: st.DrawFn) -> list[Cells]:
    households = draw(st.lists(st.sampled_from(["", "1", "2", "3"]), min_size=1, max_size=3))
    return [
        member
        for household in households
        for member in draw(st.lists(a_line(household), min_size=1, max_size=4))
    ]


assert models  # every table is known from here on
#: How many rows a table has, and a sum over all that they say: the database compares, and sends no table.
_TABLES = text(
    " UNION ALL ".join(
        f"SELECT '{name}', count(*), sum(hashtextextended(t::text, 0)) FROM \"{name}\" t"
        for name in sorted(Base.metadata.tables.keys() - GROWING - DIVISIONS)
    )
)


async def everything(session: AsyncSession) -> dict[str, tuple[int, Any]]:
    """Every table but those that grow, by all of its rows."""
    return {name: (rows, said) for name, rows, said in await session.execute(_TABLES)}


async def somebody_known(session: AsyncSession, cells: Cells) -> None:
    """Bound in WeChat before any list came."""
    try:
        document = read_document(DocumentKind.RESIDENT_ID, cells["证件号码"])
    except Exception:  # a line that is refused anyway
        return
    assert document.birth_date is not None
    assert document.sex is not None
    person, _ = await identity.register_person(
        session, name=cells["姓名"], document=document, birth_date=document.birth_date, sex=document.sex
    )
    identity.set_phone(person, cells["手机号"] or "13700000001")
    session.add(
        ResidentAccount(
            id=new_id(),
            openid=uuid.uuid4().hex,
            person_id=person.id,
            bound_at=clock.now(),
            created_at=clock.now(),
        )
    )


@pytest.fixture
async def officer(session: AsyncSession) -> Actor:
    actor = await made.worker(session, made.REGION)
    await session.commit()
    return actor


@settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
async def test_undoing_leaves_every_table_as_it_was(
    data: st.DataObject, officer: Actor, connection: AsyncConnection
) -> None:
    before_lines = data.draw(some_lines(), label="there before")
    lines = data.draw(some_lines(), label="the list")
    # Some of the list are in already, some are known from WeChat.
    again = data.draw(st.lists(st.sampled_from(before_lines), max_size=2), label="again")
    known = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=2), label="known")
    example = await connection.begin_nested()
    async with db.sessions() as session:
        await lists.committed(session, officer, before_lines)
        for place in known:
            await somebody_known(session, lines[place])
        await session.commit()
        before = await everything(session)
        id = await lists.checked(officer, [*lines, *again])
        shown = await lists.commit(session, officer, id)
        event(f"{shown['counts']['ready'] + shown['counts']['warning']} rows")
        if shown["counts"]["ready"]:
            assert await everything(session) != before
        await lists.undo(session, officer, id)
        assert await everything(session) == before
    await example.rollback()
