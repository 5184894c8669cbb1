"""Folic acid: planned for a person, handed out in portions, due by and by."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion
from app.models.households import Person
from app.models.messages import InboxMessage, NoticeKind
from app.models.supplies import SupplyEnd, SupplyHandOut, SupplyPlan, SupplyStatus
from app.services import supplies
from app.services.idempotency import Key
from app.services.rights import held
from app.services.supplies import AlreadyPlanned, HandOut, NewPlan, PlanOver
from tests.explain import Explain
from tests.factories import appointments as given


def key() -> Key:
    return Key(new_id(), b"x")


async def planned(session: AsyncSession, worker: Actor, person: Person, **more: Any) -> SupplyPlan:
    new = NewPlan(**{"person_id": person.id, "starts_on": clock.today(), **more})
    return await supplies.plan(session, worker, key=key(), new=new)


async def give(session: AsyncSession, worker: Actor, row: SupplyPlan, months: int, **more: Any) -> SupplyPlan:
    given_out = HandOut(
        **{"given_on": clock.today(), "months": months, "quantity": months, "batch": "YS2026-08", **more}
    )
    return await supplies.hand_out(
        session, worker, key=key(), plan_id=row.id, version=row.version, given=given_out
    )


async def due(session: AsyncSession, worker: Actor, days: int = 7) -> list[supplies.DueSupply]:
    return await supplies.list_due(session, worker, within_days=days, after=None, limit=10)


async def test_a_plan_is_handed_out_in_portions_until_all_is_given(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    row = await planned(session, worker, spouses.wife)
    assert [(one.id, one.name) for one in await due(session, worker)] == [(row.id, "李*英")]

    row = await give(session, worker, row, 2)
    assert (row.status, row.months_given, row.next_due_on) == (
        SupplyStatus.ACTIVE, 2, clock.today() + timedelta(days=60),
    )  # fmt: skip
    assert await due(session, worker) == []
    assert len(await due(session, worker, 60)) == 1
    with pytest.raises(Invalid):
        await give(session, worker, row, 5)
    with pytest.raises(Invalid):
        await give(session, worker, row, 1, given_on=clock.today() + timedelta(days=1))
    row = await give(session, worker, row, 4)
    assert row.status is SupplyStatus.DONE
    with pytest.raises(PlanOver):
        await give(session, worker, row, 1)

    shown, given_out = await supplies.read(session, worker, plan_id=row.id, purpose="follow_up")
    assert (shown.id, [(one.months, one.batch) for one in given_out]) == (
        row.id,
        [(2, "YS2026-08"), (4, "YS2026-08")],
    )


async def test_a_double_tap_hands_out_once(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    row, tapped = await planned(session, worker, spouses.wife), key()
    given_out = HandOut(given_on=clock.today(), months=1, quantity=1, batch="A1")
    for _ in range(2):
        row = await supplies.hand_out(session, worker, key=tapped, plan_id=row.id, version=1, given=given_out)
    assert row.months_given == 1
    assert len(list(await session.scalars(select(SupplyHandOut)))) == 1
    with pytest.raises(StaleVersion):
        await supplies.hand_out(session, worker, key=key(), plan_id=row.id, version=1, given=given_out)


async def test_one_plan_at_a_time_and_an_ended_one_makes_room(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    row = await planned(session, worker, spouses.wife)
    with pytest.raises(AlreadyPlanned):
        await planned(session, worker, spouses.wife)
    await supplies.end(session, worker, plan_id=row.id, version=row.version, reason=SupplyEnd.DECLINED)
    assert (await planned(session, worker, spouses.wife)).status is SupplyStatus.ACTIVE


async def test_it_goes_with_the_person_and_nobody_else_sees_it(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    elsewhere = await given.worker(session, "640200000000")
    row = await planned(session, worker, spouses.wife)
    assert await due(session, elsewhere) == []
    with pytest.raises(NotFound):
        await give(session, elsewhere, row, 1)
    own = await supplies.list_own(session, spouses.wife_actor, after=None, limit=10)
    assert [one.id for one in own] == [row.id]
    assert await supplies.list_own(session, spouses.husband_actor, after=None, limit=10) == []
    about = await held.about(session, spouses.wife.id)
    models = [SupplyPlan, SupplyHandOut]
    await give(session, worker, row, 1)
    for entry in held.HELD:
        if entry.model in models:
            rows = select(entry.model).where(entry.of(about))
            assert len(list(await session.scalars(rows))) == 1

    spouses.wife.region_code = "640200000000"
    await session.flush()
    assert (len(await due(session, worker, 60)), len(await due(session, elsewhere, 60))) == (0, 1)


async def test_who_is_due_is_told_once_in_neutral_words(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    row = await planned(session, worker, spouses.wife, starts_on=clock.today() + timedelta(days=8))
    assert await supplies.remind(session) == 0
    with time_machine.travel(clock.now() + timedelta(days=1), tick=False):
        assert [await supplies.remind(session), await supplies.remind(session)] == [1, 0]
        row = await give(
            session, worker, await session.get_one(SupplyPlan, row.id, populate_existing=True), 1
        )
    with time_machine.travel(clock.now() + timedelta(days=40), tick=False):
        assert await supplies.remind(session) == 1
    told = select(InboxMessage.person_id, InboxMessage.values).filter_by(kind=NoticeKind.SUPPLY_READY)
    assert [(row.person_id, len(row.values)) for row in await session.execute(told)] == [
        (spouses.wife.id, 0)
    ] * 2


async def test_the_dead_are_not_reminded(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    await planned(session, worker, spouses.wife)
    spouses.wife.died_on, spouses.wife.region_code = clock.today(), None
    await session.flush()
    assert await supplies.remind(session) == 0
    assert await due(session, worker) == []


async def test_who_is_due_is_read_from_the_index_of_what_is_active(session: AsyncSession) -> None:
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    await session.execute(text("SET LOCAL enable_sort = off"))
    query = (
        select(SupplyPlan.id).where(supplies.ACTIVE).order_by(SupplyPlan.next_due_on, SupplyPlan.id).limit(21)
    )
    assert "ix_supply_plan_next_due_on_active" in "\n".join(await session.scalars(Explain(query)))
