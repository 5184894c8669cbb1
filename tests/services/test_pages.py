"""Lists go by the moment: the ids come from clients."""

import uuid
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.search import SavedFilter
from app.services.pages import newest_first, oldest_first
from tests.factories import appointments as made


async def test_pages_go_by_the_moment_and_then_by_the_id(session: AsyncSession) -> None:
    worker, now = await made.worker(session), clock.now()
    # The later the smaller; the last two at once.
    for number, minutes in ((9, 0), (7, 1), (3, 2), (5, 2)):
        row = SavedFilter(
            id=uuid.UUID(int=number), created_by=worker.id, name=str(number),
            created_at=now + timedelta(minutes=minutes),
        )  # fmt: skip
        row.criteria = "{}"
        session.add(row)
    await session.flush()
    at, id = SavedFilter.created_at, SavedFilter.id
    own = select(SavedFilter.id).where(SavedFilter.created_by == worker.id)
    for page, order in ((newest_first, [5, 3, 7, 9]), (oldest_first, [9, 7, 3, 5])):
        seen: list[int] = []
        last = None
        while some := list(await session.scalars(page(own, at, id, last, 2))):
            seen += [one.int for one in some]
            last = some[-1]
        assert seen == order
