"""What may go goes by itself (PIPL art. 19)."""

import logging
from datetime import date, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import begin
from app.services import idempotency, messages, sign_ins
from app.services.disbursements.erasure import forget_old_payees
from app.services.donations.erasure import forget_old_payers
from app.services.rights import erasing
from app.services.rights.policy import Period, retention

#: Once a night, over tables that grow with every request.
TIMEOUT = text("SET LOCAL statement_timeout = '10min'")
log = logging.getLogger("nuanxin.rights")


async def purge() -> None:
    """Keys of requests, ended sign-ins and messages after their periods; the names in accounting documents that need
    not be kept any more; people whose erasure was granted and whose last hold has ended. The audit trail is kept.
    Each in a transaction of its own: one that fails is logged and tried again the next night."""
    for forget in (_keys, _sign_ins, _messages, _names_in_the_books):
        try:
            async with begin() as db:
                await db.execute(TIMEOUT)
                await forget(db)
        except Exception:
            log.exception("retention failed", extra={"fields": {"of": forget.__name__.strip("_")}})
    await erasing.finish_due()


async def _keys(db: AsyncSession) -> None:
    await idempotency.purge(db, before=_ago(retention().purge.idempotency_key))


async def _sign_ins(db: AsyncSession) -> None:
    await sign_ins.purge(db, before=_ago(retention().purge.sign_in))


async def _messages(db: AsyncSession) -> None:
    await messages.purge(db, before=_ago(retention().purge.message))


async def _names_in_the_books(db: AsyncSession) -> None:
    first_kept = date(clock.today().year - retention().purge.accounting.years, 1, 1)
    await forget_old_payers(db, before=first_kept)
    await forget_old_payees(db, before=first_kept)


def _ago(period: Period) -> datetime:
    return clock.now() - timedelta(days=period.days)
