"""What funds have received and spent since they were opened, from their balances: no transfer is read for it."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.ledger import AccountBalance, AccountClass, LedgerAccount, LedgerTurnover, TransferKind


@dataclass(frozen=True, slots=True)
class Standing:
    received: int = 0
    spent: int = 0


Standings = dict[tuple[uuid.UUID, bool], Standing]


async def standings(db: AsyncSession, fund_ids: Collection[uuid.UUID]) -> Standings:
    """Of each fund its money (True) and its goods (False): received, less what went back or on to another fund; spent.
    As if no year had ever been closed."""
    closings = select(LedgerTurnover.account_id, LedgerTurnover.debits - LedgerTurnover.credits).where(
        LedgerTurnover.kind == TransferKind.CLOSING
    )
    stands = select(
        AccountBalance.account_id, (AccountBalance.credits - AccountBalance.debits).label("amount")
    )
    part = union_all(stands, closings).subquery("part")
    cost = LedgerAccount.account_class == AccountClass.COST
    money = LedgerAccount.limit_id == LedgerAccount.fund_id
    query = (
        select(
            LedgerAccount.fund_id, money, func.sum(part.c.amount).filter(~cost),
            func.sum(-part.c.amount).filter(cost),
        )
        .join(part, part.c.account_id == LedgerAccount.id)
        .where(LedgerAccount.fund_id.in_(fund_ids))
        .group_by(LedgerAccount.fund_id, money)
    )  # fmt: skip
    return {
        (fund, of_money): Standing(int(received or 0), int(spent or 0))
        for fund, of_money, received, spent in await db.execute(query)
    }
