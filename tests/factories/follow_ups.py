"""Follow-ups of a report, and what workers say about them."""

from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.follow_ups import FollowUp, FollowUpKind
from app.services.follow_ups import Outcome
from app.services.results import reports

_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def said(kind: FollowUpKind, **outcome: Any) -> Outcome:
    return _OUTCOME.validate_python({"kind": kind, **outcome})


TOLD = said(FollowUpKind.RESULT_TOLD, told=True, channel="phone")


async def of(session: AsyncSession, accepted: reports.Accepted) -> list[FollowUp]:
    query = select(FollowUp).where(FollowUp.report_id == accepted.report_id).order_by(FollowUp.id)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def one(session: AsyncSession, accepted: reports.Accepted, kind: FollowUpKind) -> FollowUp:
    (row,) = [row for row in await of(session, accepted) if row.kind is kind]
    return row
