"""A county: planned in seconds, and its lists are read by index: from 20,000 rows on the planner decides the same."""

import time
from datetime import date
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.rotations import RotationTurn, TurnStatus
from app.services.rotations.turns import Wanted, found
from tests.explain import Explain
from tests.factories import rotations as made
from tests.factories.families import villages

TURNS = 20_000
FILL = """
INSERT INTO rotation_turn (id, rotation_id, person_id, region_code, first_year, last_year, clinic_id, month, status,
                           changed_at)
SELECT gen_random_uuid(), :rotation, gen_random_uuid(), '640104' || lpad((n % 300 + 1001)::text, 6, '0'), 2027, 2029,
       gen_random_uuid(), CAST('2027-01-01' AS date) + make_interval(months => n % 36),
       CASE WHEN n % 50 = 0 THEN 'not_reached' ELSE 'planned' END, now()
  FROM generate_series(1, :count) AS n
"""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes(part))]


async def test_a_page_of_the_list_is_read_by_index_whatever_is_asked(session: AsyncSession) -> None:
    await villages(session)
    county = await made.county_worker(session)
    rotation = await made.stated(session, county)
    await session.execute(text("SET LOCAL session_replication_role = replica"))  # people who are not there
    await session.execute(text(FILL), {"rotation": rotation.id, "count": TURNS})
    await session.execute(text("SET LOCAL session_replication_role = origin"))
    await session.execute(text("ANALYZE rotation_turn"))
    for wanted in (
        Wanted(region_code="640104001050"),
        Wanted(status=TurnStatus.NOT_REACHED),
        Wanted(month=date(2027, 5, 1)),
        Wanted(),
    ):
        query = select(RotationTurn.id).where(*found(rotation, wanted))
        query = query.order_by(RotationTurn.region_code, RotationTurn.id).limit(21)
        plan = (await session.scalar(Explain(query, "(ANALYZE, BUFFERS, FORMAT JSON)")))[0]["Plan"]
        assert not {node["Node Type"] for node in nodes(plan)} & {"Seq Scan", "Sort"}, wanted
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, wanted


async def test_many_are_planned_in_one_go(session: AsyncSession) -> None:
    """A small county here; the time grows with the number."""
    await villages(session)
    for village in (made.EAST, made.WEST, made.FAR):
        await made.women(session, village, 1_000)
    await session.execute(text("ANALYZE person, household, membership"))
    county = await made.county_worker(session)
    began = time.monotonic()
    rotation = await made.stated(session, county, [100] * 12)
    assert (rotation.people, rotation.placed) == (3_000, 3_000)
    assert time.monotonic() - began < 10
