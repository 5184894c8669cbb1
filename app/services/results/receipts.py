"""What became of what a hospital sent: states, never values."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.errors import NotFound
from app.models.results import (
    DiagnosticReport,
    PartnerMessage,
    ReportAttachment,
    ReportStatus,
    ReportVersion,
)
from app.services.results.versions import legal_history


class MessageState(StrEnum):
    """Stale: it arrived after a newer version."""

    ACCEPTED = "accepted"
    STALE = "stale"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Message:
    """`attachment`: of the PDF that the report states, whether it has come; None where it states none."""

    received_at: datetime
    state: MessageState
    reason: str | None
    attachment: Literal["awaited", "received"] | None = None


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
    report_id = report.id if report else None
    versions = await db.scalars(select(ReportVersion).where(ReportVersion.report_id == report_id))
    attached = set(
        await db.scalars(select(ReportAttachment.version).where(ReportAttachment.report_id == report_id))
    )
    counted = {version.message_id: version for version in legal_history(versions)}
    messages = [_message(row, counted, attached) for row in rows]
    if not messages:
        raise NotFound
    return Receipt(
        external_id, report.current_version if report else None, report.status if report else None, messages
    )


def _message(
    row: PartnerMessage, counted: Mapping[uuid.UUID, ReportVersion], attached: Collection[int]
) -> Message:
    version = counted.get(row.id)
    if version is None:
        return Message(row.received_at, MessageState.QUARANTINED, row.reason or "illegal_status")
    late = any(
        other.version > version.version and other.received_at < version.received_at
        for other in counted.values()
    )
    state = MessageState.STALE if late else MessageState.ACCEPTED
    if version.attachment_hash is None:
        return Message(row.received_at, state, None)
    return Message(row.received_at, state, None, "received" if version.version in attached else "awaited")
