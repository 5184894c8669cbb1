"""Accountants who meet: the same lines in two files, the same number by hand, the last of the goods, one receipt."""

import asyncio

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db import begin
from app.errors import Problem
from app.models.donations import (
    Channel,
    Donation,
    DonationFile,
    GoodsDelivery,
    Pledge,
    PledgeStatus,
    ReceiptRequest,
)
from app.models.identity import Role
from app.services.donations import arrivals, correcting, files, pledges, receipts
from app.services.donations.arrivals import NewArrival
from app.services.donations.correcting import NewDelivery
from app.services.donations.files import Into
from app.services.donations.pledges import NewPledgeOfOrganization
from app.services.hospital_files import LineVerdict
from app.services.ledger import accounts
from tests.clients import REGION, a_worker
from tests.factories import gifts as given
from tests.factories import ledger

TODAY = clock.today().isoformat()


async def attempts(*works):
    """What each gave, or None where it was refused."""

    async def one(work):
        try:
            async with begin() as db:
                return await work(db)
        except (Problem, IntegrityError):
            return None

    return await asyncio.gather(*(one(work) for work in works))


async def test_accountants_who_meet_double_nothing(committed):
    async with begin() as db:
        actor = (await a_worker(db, Role.ACCOUNTANT, REGION)).actor()
    async with begin() as db:
        fund = await ledger.fund(db, "RACE")
        goods = await given.recorded(db, actor, fund, 300, channel=Channel.IN_KIND, goods=given.GOODS)
        body = await given.body(db, actor)
        new = NewPledgeOfOrganization(
            fund_id=fund.id, amount_fen=500, due_on=clock.today(), organization_donor_id=body.id
        )
        pledge = await pledges.promise(db, actor, key=given.key(), new=new)
    into = Into(fund.id, Channel.BANK)

    def file(first):
        lines = given.csv(
            *((f"R{number:05}", TODAY, "1", "", "", "") for number in range(first, first + 100))
        )
        return lambda db: files.take(db, actor, data=lines.encode(), into=into, commit=True)

    def typed(number):
        more = {"channel": Channel.BANK, "source": f"R{number:05}"}
        return lambda db: given.recorded(db, actor, fund, 100, **more)

    taken = await attempts(file(0), file(50), file(0), typed(20), typed(120), typed(999), typed(999))
    counted = [one.verdict for file in taken[:3] if file for one in file.judged]
    by_file, by_hand = counted.count(LineVerdict.READY), sum(one is not None for one in taken[3:])
    assert by_file + by_hand == 151
    assert await money(fund) == 151 * 100

    handed = NewDelivery(quantity=8, purpose="慰问", delivered_on=clock.today())
    await attempts(*[lambda db: correcting.hand_out(db, actor, key=given.key(), id=goods.id, new=handed)] * 6)
    payer = receipts.Payer(payer="某人")
    await attempts(
        *[lambda db: receipts.request(db, actor, key=given.key(), donation_id=goods.id, payer=payer)] * 4
    )
    await attempts(*[lambda db: given.recorded(db, actor, fund, 100, pledge_id=pledge.id)] * 4)
    async with begin() as db:
        assert await db.scalar(select(func.sum(GoodsDelivery.quantity))) == 24
        assert await db.scalar(select(func.count()).select_from(ReceiptRequest)) == 1
        assert await db.scalar(select(func.sum(DonationFile.lines))) == by_file
        row = await db.get_one(Pledge, pledge.id)
        assert (row.received_fen, row.status) == (400, PledgeStatus.OPEN)
        given_twice = select(Donation.source).where(Donation.source.is_not(None)).group_by(Donation.source)
        assert list(await db.scalars(given_twice.having(func.count() > 1))) == []


async def test_of_two_who_carry_cash_to_the_bank_the_second_has_what_the_first_left(committed):
    async with begin() as db:
        actor = (await a_worker(db, Role.ACCOUNTANT, REGION)).actor()
    async with begin() as db:
        await given.recorded(db, actor, await ledger.fund(db, "RACE"), 1_000)

    def arrive(source):
        new = NewArrival(channel="cash", amount_fen=600, arrived_on=clock.today(), source=source)
        return lambda db: arrivals.record(db, actor, key=given.key(), new=new)

    async with begin() as db:
        await arrive("B0001")(db)
        other = asyncio.create_task(attempts(arrive("B0002")))
        await asyncio.wait([other], timeout=0.2)
        assert not other.done(), "it waits"
    assert await other == [None]


async def money(fund):
    async with begin() as db:
        return await accounts.available(db, fund.id)
