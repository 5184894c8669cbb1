"""A gift is begun, or made one's own, while its donor is erased: whoever is first, no name is left."""

import asyncio

import pytest
from sqlalchemy import select

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.errors import Invalid, Unauthenticated
from app.models.donations import Donation, ShownAs
from app.models.identity import ResidentAccount, Role
from app.services import rights
from app.services.donations import giving, pledges, reading
from app.services.donations.giving import NewGift
from app.services.donations.pledges import NewPledge
from tests.clients import REGION, a_worker
from tests.factories import gifts as given
from tests.factories import ledger


async def begun(db, donor, fund):
    new = NewGift(fund_id=fund.id, amount_fen=100, shown_as="name", donor_name="远方客")
    await giving._begin(db, donor, given.key(), new)


@pytest.mark.parametrize("gift_first", [True, False])
async def test_a_gift_and_an_erasure_that_meet_leave_no_name(committed, gift_first):
    async with begin() as db:
        fund = await ledger.fund(db, "RACE")
        account = ResidentAccount(id=new_id(), openid=f"o{new_id().hex}", created_at=clock.now())
        db.add(account)
        donor = Actor(Role.RESIDENT, id=account.id)

    works = [lambda db: begun(db, donor, fund), lambda db: rights.erase_own(db, donor)]
    first, second = works if gift_first else works[::-1]
    async with begin() as db:
        await first(db)
        other = asyncio.create_task(alone(second))
        await asyncio.wait([other], timeout=0.2)
        assert not other.done(), "it waits"
    if gift_first:
        await other
    else:
        with pytest.raises(Unauthenticated):
            await other
    async with begin() as db:
        gifts = list(await db.scalars(select(Donation)))
    assert [(gift.donor_name, gift.public_name, gift.salt) for gift in gifts] == [
        (None, None, None)
    ] * gift_first


async def test_of_who_is_being_erased_no_gift_is_recorded(committed):
    async with begin() as db:
        accountant = (await a_worker(db, Role.ACCOUNTANT, REGION)).actor()
    async with begin() as db:
        fund = await ledger.fund(db, "RACE")
        account = ResidentAccount(id=new_id(), openid=f"o{new_id().hex}", created_at=clock.now())
        db.add(account)
        donor = Actor(Role.RESIDENT, id=account.id)
    async with begin() as db:
        new = NewPledge(fund_id=fund.id, amount_fen=100, due_on=clock.today())
        pledge = await pledges.promise(db, donor, key=given.key(), new=new)
    async with begin() as db:
        await rights.erase_own(db, donor)
        other = asyncio.create_task(
            alone(lambda db: given.recorded(db, accountant, fund, 100, pledge_id=pledge.id))
        )
        await asyncio.wait([other], timeout=0.2)
        assert not other.done(), "it waits"
    with pytest.raises(Invalid):
        await other
    with pytest.raises(Unauthenticated):
        await alone(lambda db: pledges.promise(db, donor, key=given.key(), new=new))


async def test_who_is_erased_names_themselves_no_more(session):
    fund, donor = await ledger.fund(session, "GIFT"), Actor(Role.RESIDENT, id=new_id())
    account = ResidentAccount(id=donor.id, openid=f"o{new_id().hex}", created_at=clock.now())
    session.add(account)
    await session.flush()
    await begun(session, donor, fund)
    await rights.erase_own(session, donor)
    gift = (await session.scalars(select(Donation).execution_options(populate_existing=True))).one()
    with pytest.raises(Unauthenticated):
        await reading.show_as(
            session, donor, id=gift.id, version=gift.version, shown_as=ShownAs.NAME, name="远方客"
        )


async def alone(work):
    async with begin() as db:
        await work(db)
