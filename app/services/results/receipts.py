"""What became of what a hospital sent: states, never values."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.errors import NotFound
from app.models.partners import MessageState, PartnerMessage
from app.models.results import DiagnosticReport, ReportStatus


@dataclass(frozen=True, slots=True)
class Message:
    received_at: datetime
    state: MessageState
    reason: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of everything a hospital sent under one number. `current_version` is None while nothing but
    quarantine holds it."""

    external_id: str
    current_version: int | None
    status: ReportStatus | None
    messages: list[Message]


async def receipt(db: AsyncSession, actor: Actor, *, external_id: str) -> Receipt:
    """The hospital's own: states, never values."""
    report = await db.scalar(
        select(DiagnosticReport).where(
            visible(actor, DiagnosticReport),
            DiagnosticReport.organization_id == actor.account_id,
            DiagnosticReport.external_id == external_id,
        )
    )
    rows = await db.scalars(
        select(PartnerMessage)
        .where(PartnerMessage.organization_id == actor.account_id, PartnerMessage.external_id == external_id)
        .order_by(PartnerMessage.received_at.desc(), PartnerMessage.id)
        .limit(100)
    )
    messages = [Message(row.received_at, row.state, row.reason) for row in rows]
    if not messages:
        raise NotFound
    return Receipt(
        external_id, report.current_version if report else None, report.status if report else None, messages
    )
