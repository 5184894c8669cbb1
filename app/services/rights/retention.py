"""What may go goes by itself (PIPL art. 19)."""

from datetime import timedelta

from sqlalchemy import text

from app import clock
from app.db import begin
from app.services import idempotency, messages, sign_ins
from app.services.rights import erasing
from app.services.rights.policy import retention

#: Once a night, over tables that grow with every request.
TIMEOUT = text("SET LOCAL statement_timeout = '10min'")


async def purge() -> None:
    """Keys of requests, ended sign-ins and messages after their periods; people whose erasure was granted and whose
    last hold has ended. The audit trail is kept."""
    periods = retention().purge
    async with begin() as db:
        await db.execute(TIMEOUT)
        before = clock.now() - timedelta(days=periods.idempotency_key.days)
        await idempotency.purge(db, before=before)
    async with begin() as db:
        await db.execute(TIMEOUT)
        await sign_ins.purge(db, before=clock.now() - timedelta(days=periods.sign_in.days))
    async with begin() as db:
        await db.execute(TIMEOUT)
        await messages.purge(db, before=clock.now() - timedelta(days=periods.message.days))
    await erasing.finish_due()
