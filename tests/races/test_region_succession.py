"""A village ends while somebody registers there: whoever comes first, nobody is left behind."""

import asyncio

from sqlalchemy import select

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.errors import Invalid
from app.models.households import Household, HouseholdStatus
from app.models.regions import Region
from app.services import regions
from tests.clients import SYSTEM

TOWN, OLD, NEW = "640104001000", "640104001201", "640104001299"


async def register(checked: asyncio.Event, go: asyncio.Event) -> None:
    """As every registration does: look, then write."""
    async with begin() as db:
        await regions.require(db, {"/region_code": OLD})
        checked.set()
        await go.wait()
        db.add(
            Household(id=new_id(), region_code=OLD, status=HouseholdStatus.SUBMITTED, created_at=clock.now())
        )


async def carry_out() -> int:
    async with begin() as db:
        return await regions.apply_due(db, Actor.system("regions"))


async def test_who_looked_before_the_end_is_waited_for_and_follows(committed: str) -> None:
    async with begin() as db:
        db.add(
            Region(code=OLD, level=5, parent_code=TOWN, name="甲村", valid_from=clock.today(), source="test")
        )
    async with begin() as db:
        row = f"{OLD},{NEW},甲社区,moved,{clock.today()}"
        data = f"old_code,new_code,new_name,kind,effective_on\n{row}".encode()
        await regions.record_file(db, SYSTEM, data, dry_run=False)
    checked, go = asyncio.Event(), asyncio.Event()
    registering = asyncio.create_task(register(checked, go))
    await checked.wait()
    ending = asyncio.create_task(carry_out())
    await asyncio.sleep(0.3)
    assert not ending.done(), "the end waits for who has looked already"
    go.set()
    await registering
    assert await ending == 1
    async with begin() as db:
        assert list(await db.scalars(select(Household.region_code))) == [NEW]
    async with begin() as db:
        try:
            await regions.require(db, {"/region_code": OLD})
        except Invalid:
            return
    raise AssertionError("who looks after the end is refused")


async def test_two_workers_that_carry_out_at_once_carry_out_once(committed: str) -> None:
    async with begin() as db:
        db.add(
            Region(code=OLD, level=5, parent_code=TOWN, name="甲村", valid_from=clock.today(), source="test")
        )
    async with begin() as db:
        data = (
            f"old_code,new_code,new_name,kind,effective_on\n{OLD},{NEW},甲社区,moved,{clock.today()}".encode()
        )
        await regions.record_file(db, SYSTEM, data, dry_run=False)
    assert sorted(await asyncio.gather(carry_out(), carry_out())) == [0, 1]
