"""What the demo starts with, however often it is started."""

from sqlalchemy import delete, func, select

from app import demo
from app.models.donations import Donation
from app.models.funds import BudgetLine, Campaign, Fund
from app.models.identity import STAFF_ROLES, Role
from app.models.staff import StaffAccount
from app.services.transparency import goals


async def count(session, model):
    return await session.scalar(select(func.count()).select_from(model))


async def test_it_is_seeded_once_and_what_is_missing_is_made_good(session):
    await demo.seed(session)
    await session.commit()
    made = [await count(session, model) for model in (Fund, Campaign, BudgetLine, Donation)]
    assert made == [2, 2, 2, 2]
    # A demo of before there were accountants.
    nobody = demo.demo_id(Role.SUPERVISOR)
    await session.execute(delete(StaffAccount).where(StaffAccount.id == nobody))
    await demo.seed(session)
    await session.commit()
    assert [await count(session, model) for model in (Fund, Campaign, BudgetLine, Donation)] == made
    roles = select(StaffAccount.role).where(StaffAccount.id.in_(map(demo.demo_id, STAFF_ROLES)))
    assert set(await session.scalars(roles)) == set(STAFF_ROLES)
    fund = await goals.fund(session, demo.FUND)
    assert (fund.received_fen, fund.gifts) == (520_000, 2)
    assert (await goals.campaign(session, demo.CAMPAIGN)).takes_gifts
    [public] = await goals.campaigns(session, fund_id=None, before=None, limit=9)
    assert (public.zh, public.takes_gifts) == ("暖冬行动（演示）", False)
