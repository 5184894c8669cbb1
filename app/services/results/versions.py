"""The versions of a report, and which of them count.

Every well-formed version is kept, and the state of a report is a function of the *set* of its versions alone:
read them in version order and leave out each that cannot follow the last one left in; the last is current.
So a version that contradicts a lower one (final, then preliminary) is quarantined whichever came first, and
which ones are is worked out when somebody asks, never stored. Two things follow: the current version steps
back only when a late lower one shows that what was current could never have been issued, and a quarantined
version counts again once a late one makes it legal.
Between adjacent versions the step must be in `NEXT`; across a gap some path of legal steps must exist, as
versions may still be on their way. First come is kept when one version number arrives with two contents.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.crypto import digest
from app.db import new_id
from app.models.catalogue import AppliesTo
from app.models.results import DiagnosticReport, Observation, PartnerMessage, ReportStatus, ReportVersion
from app.services.results.posted import PostedReport

S = ReportStatus
_AFTER_RELEASE = frozenset({S.AMENDED, S.CORRECTED, S.APPENDED, S.ENTERED_IN_ERROR})
#: FHIR R4 DiagnosticReport.status: corrections only after a release; what was released can only be withdrawn.
NEXT: dict[ReportStatus, frozenset[ReportStatus]] = {
    S.REGISTERED: frozenset({S.PARTIAL, S.PRELIMINARY, S.FINAL, S.CANCELLED}),
    S.PARTIAL: frozenset({S.PARTIAL, S.PRELIMINARY, S.FINAL, S.CANCELLED}),
    S.PRELIMINARY: frozenset({S.PRELIMINARY, S.FINAL, S.CANCELLED}),
    S.FINAL: _AFTER_RELEASE,
    S.AMENDED: _AFTER_RELEASE,
    S.CORRECTED: _AFTER_RELEASE,
    S.APPENDED: _AFTER_RELEASE,
    S.CANCELLED: frozenset(),
    S.ENTERED_IN_ERROR: frozenset(),
}
RELEASED = frozenset({S.FINAL, S.AMENDED, S.CORRECTED, S.APPENDED})
TAKEN_BACK = frozenset({S.CANCELLED, S.ENTERED_IN_ERROR})


def _reachable(status: ReportStatus) -> frozenset[ReportStatus]:
    found: frozenset[ReportStatus] = frozenset()
    ahead = NEXT[status]
    while ahead - found:
        found |= ahead
        ahead = frozenset(step for one in ahead for step in NEXT[one])
    return found


REACHABLE = {status: _reachable(status) for status in S}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified message: what was posted, the bytes, and who signed or uploaded them."""

    report: PostedReport
    raw: bytes
    signature: str
    organization_id: uuid.UUID
    key_id: uuid.UUID | None
    uploaded_by: uuid.UUID | None = None

    @property
    def content_hash(self) -> bytes:
        """Of the bytes as signed, never of a re-serialisation."""
        return digest(self.raw)


def legal_history(versions: Iterable[ReportVersion]) -> list[ReportVersion]:
    """The versions that count, lowest first (see the head of this file)."""
    history: list[ReportVersion] = []
    for row in sorted(versions, key=lambda row: row.version):
        if history:
            last = history[-1]
            steps = NEXT if row.version == last.version + 1 else REACHABLE
            if row.status not in steps[last.status]:
                continue
        history.append(row)
    return history


def version_of(row: DiagnosticReport, arrival: Arrival) -> ReportVersion:
    version = ReportVersion(
        id=new_id(),
        report_id=row.id,
        version=arrival.report.version,
        status=arrival.report.status,
        issued_at=arrival.report.issued_at,
        stated_risk=arrival.report.stated_risk,
        content_hash=arrival.content_hash,
        attachment_hash=bytes.fromhex(arrival.report.attachment_sha256 or "") or None,
        received_at=clock.now(),
    )
    version.conclusion = arrival.report.conclusion
    return version


async def keep_message(db: AsyncSession, arrival: Arrival, *, reason: str | None = None) -> uuid.UUID:
    """The body as it came, sealed, with its signature: the evidence in a dispute."""
    message = PartnerMessage(
        id=new_id(),
        organization_id=arrival.organization_id,
        key_id=arrival.key_id,
        uploaded_by=arrival.uploaded_by,
        external_id=arrival.report.external_id,
        body_hash=arrival.content_hash,
        signature=arrival.signature,
        reason=reason,
        received_at=clock.now(),
    )
    message.body = arrival.raw.decode()
    db.add(message)
    await db.flush()  # the version refers to it
    return message.id


async def store(
    db: AsyncSession,
    version: ReportVersion,
    arrival: Arrival,
    people: Mapping[AppliesTo, uuid.UUID],
) -> None:
    """The message, the version and its observations."""
    version.message_id = await keep_message(db, arrival)
    db.add(version)
    await db.flush()  # the risk is assessed from what was stored
    if rows := _observation_rows(version, arrival.report, people):
        await db.execute(insert(Observation), rows)


def _observation_rows(
    version: ReportVersion, report: PostedReport, people: Mapping[AppliesTo, uuid.UUID]
) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id(),
            "report_id": version.report_id,
            "version": version.version,
            "person_id": people[role],
            "code": one.code,
            "value_number": one.value if isinstance(one.value, Decimal) else None,
            "value_code": one.value if isinstance(one.value, str) else None,
            "unit": one.unit,
            "range_low": one.range_low,
            "range_high": one.range_high,
            "interpretation": one.interpretation,
        }
        for role in people
        for one in report.of(role)
    ]
