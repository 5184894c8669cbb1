"""How many requests a hospital may send: a bucket that fills as time passes, one for all processes."""

import math

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import TooMany
from app.models.partners import Organization, PartnerAllowance

# Reading leaves this part of the burst to what must be said: who has arrived, what was found.
RESERVE = 4
SPEND = text("""
INSERT INTO partner_allowance AS a (organization_id, remaining, at)
VALUES (:organization, CAST(:burst AS float) - 1, :now)
ON CONFLICT (organization_id) DO UPDATE
   SET at = greatest(a.at, excluded.at),
       remaining = least(:burst, a.remaining + :rate * greatest(0, extract(epoch FROM excluded.at - a.at))) - 1
 WHERE least(:burst, a.remaining + :rate * greatest(0, extract(epoch FROM excluded.at - a.at))) >= :needed
RETURNING remaining""")


class TooManyRequests(TooMany):
    zh, en = "请求过于频繁", "Too many requests"
    do_zh = "请在 Retry-After 所示秒数之后重试；轮询请降低频率"
    do_en = "Wait as many seconds as Retry-After says; poll less often"

    def __init__(self, *, seconds: int = 1) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(seconds)}  # type: ignore[misc]  # of this refusal, not of the class


async def spend(db: AsyncSession, organization: Organization, *, reading: bool) -> None:
    """One request, or TooManyRequests with when there will be enough again."""
    rate, burst = organization.requests_per_minute / 60, float(organization.burst)
    needed = 1 + (burst / RESERVE if reading else 0)
    given = {
        "organization": organization.id, "now": clock.now(), "rate": rate, "burst": burst, "needed": needed,
    }  # fmt: skip
    if await db.scalar(SPEND, given) is None:
        query = select(PartnerAllowance.remaining, PartnerAllowance.at)
        query = query.where(PartnerAllowance.organization_id == organization.id)
        remaining, at = (await db.execute(query)).one()
        elapsed = max(0.0, (clock.now() - at).total_seconds())
        raise TooManyRequests(seconds=max(1, math.ceil((needed - remaining) / rate - elapsed)))
