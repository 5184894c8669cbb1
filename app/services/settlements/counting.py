"""What is to be paid for a clinic and a month: its fulfilled appointments, and what has changed about months that were
settled before. The same statement counts a draft and makes the rows of what is confirmed, so that both agree."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Clinic
from app.services.regions.files import above

#: Corrections of what lies further back are settled outside.
LOOKS_BACK = 12

_MONTH_OF = "date_trunc('month', a.starts_at AT TIME ZONE 'Asia/Shanghai')::date"
# Fulfilled and not paid yet: of this month, or of one settled before. And paid, but entered in error since.
ENTRIES = f"""
SELECT a.id AS appointment_id, 1 AS quantity, a.service_id, {_MONTH_OF} AS month, price.price_fen
  FROM appointment a
  LEFT JOIN LATERAL (
    SELECT p.price_fen FROM service_price p
     WHERE p.service_id = a.service_id AND p.region_code = ANY (:codes)
       AND p.valid_from <= (a.starts_at AT TIME ZONE 'Asia/Shanghai')::date
     ORDER BY array_position(CAST(:codes AS text[]), p.region_code), p.valid_from DESC LIMIT 1) price ON true
 WHERE a.clinic_id = :clinic AND a.status = 'fulfilled' AND a.starts_at >= :earliest AND a.starts_at < :until
   AND (a.starts_at >= :since
        OR {_MONTH_OF} IN (SELECT s.month FROM settlement s WHERE s.clinic_id = :clinic AND s.status <> 'returned'))
   AND NOT EXISTS (SELECT FROM settlement_item i WHERE i.appointment_id = a.id AND i.quantity = 1)
 UNION ALL
SELECT a.id, -1, a.service_id, {_MONTH_OF}, i.price_fen
  FROM settlement s JOIN settlement_item i ON i.settlement_id = s.id JOIN appointment a ON a.id = i.appointment_id
 WHERE s.clinic_id = :clinic AND s.month < :month AND a.starts_at >= :earliest AND i.quantity = 1
   AND a.status <> 'fulfilled'
   AND NOT EXISTS (SELECT FROM settlement_item o WHERE o.appointment_id = a.id AND o.quantity = -1)"""  # noqa: S608
OF_SETTLEMENT = f"""
SELECT i.quantity, a.service_id, {_MONTH_OF} AS month, i.price_fen
  FROM settlement_item i JOIN appointment a ON a.id = i.appointment_id WHERE i.settlement_id = :settlement"""  # noqa: S608
LINES = """
SELECT e.service_id, e.month, e.price_fen, count(*) FILTER (WHERE quantity = 1) AS fulfilled,
       count(*) FILTER (WHERE quantity = -1) AS reversed, coalesce(sum(quantity * e.price_fen), 0)::bigint AS amount_fen
  FROM ({entries}) e GROUP BY 1, 2, 3 ORDER BY e.month DESC, e.service_id, e.price_fen"""
OTHERS = text("""
SELECT a.service_id, count(*) FILTER (WHERE a.status = 'arrived') AS arrived,
       count(*) FILTER (WHERE a.status = 'no_show') AS no_shows
  FROM appointment a
 WHERE a.clinic_id = :clinic AND a.starts_at >= :since AND a.starts_at < :until AND a.status IN ('arrived', 'no_show')
 GROUP BY 1""")
DRAFT, CONFIRMED = text(LINES.format(entries=ENTRIES)), text(LINES.format(entries=OF_SETTLEMENT))
KEEP = text(f"""
INSERT INTO settlement_item (id, settlement_id, appointment_id, quantity, price_fen)
SELECT gen_random_uuid(), :settlement, e.appointment_id, e.quantity, e.price_fen FROM ({ENTRIES}) e""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Counted:
    service_id: uuid.UUID
    month: date
    fulfilled: int = 0
    reversed: int = 0
    arrived: int = 0
    no_shows: int = 0
    price_fen: int | None = None
    amount_fen: int = 0


def bounds(month: date) -> tuple[datetime, datetime]:
    """The instants at which a month begins and ends."""
    following = _months_later(month, 1)
    return clock.midnight(month), clock.midnight(following)


def _months_later(month: date, months: int) -> date:
    years, place = divmod(month.month - 1 + months, 12)
    return date(month.year + years, place + 1, 1)


def given(clinic: Clinic, month: date) -> dict[str, Any]:
    since, until = bounds(month)
    return {
        "clinic": clinic.id, "month": month, "since": since, "until": until,
        "earliest": clock.midnight(_months_later(month, -LOOKS_BACK)),
        "codes": [clinic.region_code, *above(clinic.region_code)],
    }  # fmt: skip


async def count(
    db: AsyncSession, clinic: Clinic, month: date, *, settlement: uuid.UUID | None = None
) -> list[Counted]:
    """The lines as they are now, or of what has just been kept for a settlement. Those who arrived or did not come, and
    are not paid for, stand with the service."""
    asked = given(clinic, month)
    if settlement is None:
        rows = (await db.execute(DRAFT, asked)).all()
    else:
        rows = (await db.execute(CONFIRMED, {"settlement": settlement})).all()
    others = {
        row.service_id: {"arrived": row.arrived, "no_shows": row.no_shows}
        for row in await db.execute(OTHERS, {name: asked[name] for name in ("clinic", "since", "until")})
    }
    lines = [
        Counted(**row._asdict(), **(others.pop(row.service_id, {}) if row.month == month else {}))
        for row in rows
    ]
    return lines + [Counted(service, month, **more) for service, more in sorted(others.items())]


async def keep(db: AsyncSession, clinic: Clinic, month: date, *, settlement: uuid.UUID) -> None:
    """Which appointments it pays for. Of two settlements at once only one can have each (a constraint)."""
    await db.execute(KEEP, given(clinic, month) | {"settlement": settlement})
