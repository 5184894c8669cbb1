"""A gift is begun, or made one's own, while its donor is erased: whoever is first, no name is left."""

import asyncio

import pytest
from sqlalchemy import select

from app import clock
from app.access import Actor
from app.db import begin, new_id
from app.errors import Unauthenticated
from app.models.donations import Donation
from app.models.identity import ResidentAccount, Role
from app.services import rights
from app.services.donations import giving
from app.services.donations.giving import NewGift
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


async def alone(work):
    async with begin() as db:
        await work(db)
