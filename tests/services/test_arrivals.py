"""What was given in cash or through a platform reaches the bank: once, and no more than there was."""

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from app import clock
from app.errors import Invalid
from app.models.donations import Channel
from app.models.identity import Role
from app.models.ledger import AccountBalance, LedgerAccount, ReversalReason
from app.services.donations import arrivals
from app.services.donations.arrivals import NewArrival
from app.services.ledger import accounts, reversals
from tests.clients import REGION, a_worker
from tests.factories import gifts as given
from tests.factories import ledger


@pytest.fixture
async def actor(session):
    return (await a_worker(session, Role.ACCOUNTANT, REGION)).actor()


@pytest.fixture
async def fund(session, actor):
    fund = await ledger.fund(session, "GIFT")
    await given.recorded(session, actor, fund, 700)
    await given.recorded(session, actor, fund, 1_000, channel=Channel.PLATFORM, source="P0001")
    return fund


def arrival(channel, amount, **changes):
    new = {"channel": channel, "amount_fen": amount, "arrived_on": clock.today(), "source": "B0001"}
    return NewArrival.model_validate(new | changes)


async def stands(session):
    query = (
        select(LedgerAccount.code, func.sum(AccountBalance.debits - AccountBalance.credits))
        .join(AccountBalance)
        .where(LedgerAccount.code.in_(["1001", "1002", "100902", "5301"]))
        .group_by(LedgerAccount.code)
    )
    return {code: int(fen) for code, fen in await session.execute(query)}


async def test_cash_and_what_a_platform_pays_out_come_to_the_bank(session, actor, fund):
    await arrivals.record(session, actor, key=given.key(), new=arrival("cash", 600))
    key, new = given.key(), arrival("platform", 980, fee_fen=20, source="B0002")
    for _ in range(2):
        parts = await arrivals.record(session, actor, key=key, new=new)
        assert [(one.kind, one.amount_fen) for one in parts] == [("settlement", 980), ("fee", 20)]
    assert await stands(session) == {"1001": 100, "1002": 1_580, "100902": 0, "5301": 20}
    assert await accounts.available(session, fund.id) == 1_700


async def test_no_more_comes_than_there_is_and_each_number_once(session, actor, fund):
    with pytest.raises(arrivals.MoreThanStands) as refused:
        await arrivals.record(session, actor, key=given.key(), new=arrival("platform", 999, fee_fen=2))
    assert refused.value.extensions == {"stands_fen": 1_000}
    [part] = await arrivals.record(session, actor, key=given.key(), new=arrival("cash", 100))
    for amount in (100, 200):
        with pytest.raises(arrivals.AlreadyArrived):
            await arrivals.record(session, actor, key=given.key(), new=arrival("cash", amount))
    wrong = {"transfer_id": part.id, "reason": ReversalReason.WRONG_AMOUNT}
    await reversals.correct(session, actor, key=given.key(), **wrong)
    await arrivals.record(session, actor, key=given.key(), new=arrival("cash", 200))
    assert (await stands(session))["1002"] == 200


@pytest.mark.parametrize(
    ("channel", "amount", "changes"),
    [("cash", 0, {}), ("cash", 1, {"fee_fen": 1}), ("bank", 1, {}), ("cash", 1, {"source": "x"})],
)
def test_an_arrival_that_cannot_be(channel, amount, changes):
    with pytest.raises(ValidationError):
        arrival(channel, amount, **changes)


async def test_nothing_arrives_in_the_future(session, actor, fund):
    later = clock.today().replace(day=1, year=clock.today().year + 1)
    with pytest.raises(Invalid):
        await arrivals.record(session, actor, key=given.key(), new=arrival("cash", 1, arrived_on=later))
