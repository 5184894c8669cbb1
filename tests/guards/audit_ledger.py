"""The ledger, played: a fee that was entered twice is reversed, and last month is closed."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from app.services.ledger import posting
from tests.factories import ledger as given
from tests.guards.cast import STAFF, bearer, worker
from tests.guards.playing import Played


async def the_ledger(story: Played, session: AsyncSession) -> None:
    actor = await worker(session, Role.ACCOUNTANT, demo.PREFECTURE)
    accountant = Caller(story.http, STAFF, await bearer(session, STAFF, actor))
    fee = given.fee(60)
    await posting.record(session, fee)
    await session.commit()
    await accountant.create(f"/ledger/transfers/{fee.id}/reverse", {"reason": "entered_twice"})
    last = clock.today().replace(day=1) - timedelta(days=1)
    await accountant.create("/ledger/periods", {"month": f"{last:%Y-%m}"})
