import io
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import NotFound, StaleVersion, WrongState, to_problem
from app.models.appointments import AppointmentStatus
from app.models.identity import Role
from app.models.settlements import SettlementItem
from app.services import settlements
from app.services.idempotency import Key
from app.services.imports.xlsx import read_xlsx
from app.services.regions import RegionOutsideOwn
from app.services.settlements import ConfirmSettlement, NewPrice, Sheet
from tests.factories import appointments as given
from tests.factories.appointments import COUNTY, Attended, Hospital

S = AppointmentStatus
CITY = "640100000000"
OCTOBER, NOVEMBER = "2026-10", "2026-11"
LATER = datetime(2026, 12, 3, 9, tzinfo=clock.SHANGHAI)


async def county(session: AsyncSession) -> Actor:
    return await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)


async def price(session: AsyncSession, fen: int, since: str, region: str = COUNTY) -> None:
    actor = await given.worker(session, region, Role.COUNTY_ADMINISTRATOR)
    new = NewPrice(
        service_code=given.PRE_PREGNANCY,
        region_code=region,
        valid_from=date.fromisoformat(since),
        price_fen=fen,
    )
    await settlements.set_price(session, actor, new=new)


async def came(session: AsyncSession, hospital: Hospital, on: str, status: S = S.FULFILLED) -> Attended:
    row = await given.attended(session, hospital=hospital, status=status)
    row.appointment.starts_at = datetime.fromisoformat(f"{on}T08:00:00+08:00")
    row.appointment.ends_at = row.appointment.starts_at + timedelta(hours=1)
    await session.flush()
    return row


async def confirm(
    session: AsyncSession, hospital: Hospital, month: str, amount: int, key: Key | None = None
) -> Sheet:
    new = ConfirmSettlement(clinic_id=hospital.clinic.id, month=month, amount_fen=amount)
    return await settlements.confirm(session, hospital.actor, key=key or Key(new_id(), b"x"), new=new)


def counts(sheet: Sheet) -> list[tuple[Any, ...]]:
    return [
        (
            line.month,
            line.fulfilled,
            line.reversed,
            line.arrived,
            line.no_shows,
            line.price_fen,
            line.amount_fen,
        )
        for line in sheet.lines
    ]


async def test_a_month_by_service_and_price_of_the_nearest_division(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await price(session, 100, "2026-01-01", CITY)
    await price(session, 30_000, "2026-01-01")
    await price(session, 38_400, "2026-11-16")
    await price(session, 1, "2026-11-01", "640105000000")
    for on in ("2026-11-01", "2026-11-15", "2026-11-16"):
        await came(session, hospital, on)
    await came(session, hospital, "2026-11-17", S.ARRIVED)
    await came(session, hospital, "2026-11-18", S.NO_SHOW)
    await came(session, hospital, "2026-11-19", S.CANCELLED)
    await came(session, hospital, "2026-10-31")  # October was never settled: it is October's
    await came(session, hospital, "2026-12-01")
    await came(session, await given.clinic(session), "2026-11-02")
    sheet = await settlements.of_month(session, hospital.actor, clinic_id=hospital.clinic.id, month=NOVEMBER)
    assert (sheet.status, sheet.amount_fen) == ("draft", 98_400)
    assert sorted(counts(sheet)) == [
        (NOVEMBER, 1, 0, 0, 0, 38_400, 38_400),
        (NOVEMBER, 2, 0, 1, 1, 30_000, 60_000),
    ]


async def test_confirmed_it_is_frozen_and_what_changes_adjusts_the_next_month(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await price(session, 10_000, "2026-01-01")
    wrong, _ = [await came(session, hospital, "2026-10-05") for _ in "12"]
    key = Key(new_id(), b"x")
    first = await confirm(session, hospital, OCTOBER, 20_000, key)
    assert first == await confirm(session, hospital, OCTOBER, 20_000, key)
    # Then one turns out to be an error, another is fulfilled late, and the price changes.
    wrong.appointment.status = S.ENTERED_IN_ERROR
    await came(session, hospital, "2026-10-06")
    await came(session, hospital, "2026-10-07")
    await came(session, hospital, "2026-11-02")
    await price(session, 12_000, "2026-01-01")
    again = await settlements.of_month(session, hospital.actor, clinic_id=hospital.clinic.id, month=OCTOBER)
    assert again == first
    with time_machine.travel(LATER, tick=True):
        second = await confirm(session, hospital, NOVEMBER, 26_000)
    assert sorted(counts(second)) == [
        (OCTOBER, 0, 1, 0, 0, 10_000, -10_000),
        (OCTOBER, 2, 0, 0, 0, 12_000, 24_000),
        (NOVEMBER, 1, 0, 0, 0, 12_000, 12_000),
    ]
    # Nothing is paid or taken back twice.
    with time_machine.travel(datetime(2027, 1, 5, tzinfo=clock.SHANGHAI), tick=True):
        assert (await confirm(session, hospital, "2026-12", 0)).lines == []
    quantities = list(await session.scalars(select(SettlementItem.quantity)))
    assert sorted(quantities) == [-1, 1, 1, 1, 1, 1]


async def test_what_may_not_be_confirmed(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await came(session, hospital, "2026-10-05")
    with pytest.raises(settlements.PriceMissing):
        await confirm(session, hospital, OCTOBER, 0)
    await price(session, 10_000, "2026-10-05")
    async with session.begin_nested() as attempt:
        with pytest.raises(settlements.SettlementChanged) as refused:
            await confirm(session, hospital, OCTOBER, 9_999)
        assert refused.value.extensions == {"amount_fen": 10_000}
        await attempt.rollback()
    with (
        time_machine.travel(datetime(2026, 10, 31, 23, 59, tzinfo=clock.SHANGHAI)),
        pytest.raises(settlements.MonthNotOver),
    ):
        await confirm(session, hospital, OCTOBER, 10_000)
    stranger = await given.clinic(session)
    with pytest.raises(NotFound):
        await settlements.of_month(session, stranger.actor, clinic_id=hospital.clinic.id, month=OCTOBER)
    new = NewPrice(
        service_code=given.PRE_PREGNANCY, region_code=CITY, valid_from=date(2026, 1, 1), price_fen=1
    )
    worker = await county(session)
    with pytest.raises(RegionOutsideOwn):
        await settlements.set_price(session, worker, new=new)


async def test_the_association_accepts_or_returns(session: AsyncSession) -> None:
    hospital, worker = await given.clinic(session), await county(session)
    await price(session, 10_000, "2026-01-01")
    await came(session, hospital, "2026-10-05")
    first = await confirm(session, hospital, OCTOBER, 10_000)
    assert first.id is not None
    with pytest.raises(StaleVersion):
        await settlements.accept(session, worker, id=first.id, version=7)
    back = await settlements.give_back(session, worker, id=first.id, version=1, reason="请核对")
    assert (back.status, back.reason, len(back.lines)) == ("returned", "请核对", 1)
    draft = await settlements.of_month(session, worker, clinic_id=hospital.clinic.id, month=OCTOBER)
    assert (draft.status, draft.amount_fen) == ("draft", 10_000)
    second = await confirm(session, hospital, OCTOBER, 10_000)
    assert second.id is not None
    done = await settlements.accept(session, worker, id=second.id, version=1)
    assert done.status == "accepted"
    with pytest.raises(WrongState):
        await settlements.give_back(session, worker, id=second.id, version=2, reason="晚了")
    rows = await settlements.listing(session, hospital.actor, before=None, limit=10)
    assert [row.id for row in rows] == [second.id, first.id]
    far = await given.worker(session, "640500000000", Role.COUNTY_ADMINISTRATOR)
    with pytest.raises(NotFound):
        await settlements.detail(session, far, id=second.id)


async def test_a_month_that_a_later_one_builds_upon_is_not_returned(session: AsyncSession) -> None:
    hospital, worker = await given.clinic(session), await county(session)
    await price(session, 10_000, "2026-01-01")
    wrong = await came(session, hospital, "2026-10-05")
    october = await confirm(session, hospital, OCTOBER, 10_000)
    wrong.appointment.status = S.ENTERED_IN_ERROR
    await session.flush()
    with time_machine.travel(LATER, tick=True):
        november = await confirm(session, hospital, NOVEMBER, -10_000)
    assert october.id is not None
    assert november.id is not None
    with pytest.raises(settlements.TakenBackLater):
        await settlements.give_back(session, worker, id=october.id, version=1, reason="请核对")
    # Latest first: nothing was paid then, and nothing is taken back.
    for id in (november.id, october.id):
        await settlements.give_back(session, worker, id=id, version=1, reason="请核对")
    await confirm(session, hospital, OCTOBER, 0)
    with time_machine.travel(LATER, tick=True):
        await confirm(session, hospital, NOVEMBER, 0)


async def test_two_confirmations_of_one_month_are_one(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await price(session, 10_000, "2026-01-01")
    await came(session, hospital, "2026-10-05")
    await confirm(session, hospital, OCTOBER, 10_000)
    with pytest.raises(IntegrityError) as refused:
        await confirm(session, hospital, OCTOBER, 0)
    assert isinstance(to_problem(refused.value), settlements.SettlementExists)


async def test_the_sheet_to_print_says_the_same(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    await price(session, 12_345, "2026-01-01")
    await came(session, hospital, "2026-10-05")
    made = await settlements.workbook(session, hospital.actor, clinic_id=hospital.clinic.id, month=OCTOBER)
    lines = [line.cells for line in read_xlsx(io.BytesIO(made), "a.xlsx")]
    assert lines[2][1:] == [OCTOBER, "1", "0", "0", "0", "123.45", "123.45"]
    assert lines[3][0] == "合计"
