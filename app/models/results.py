"""Hospital reports in versions, their observations, and the risk found (FHIR R4 nouns)."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class ReportStatus(StrEnum):
    REGISTERED = "registered"
    PARTIAL = "partial"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    APPENDED = "appended"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered_in_error"


class RiskClass(StrEnum):
    """General population, or A avoidable < B treatable < C controllable < D needs prenatal diagnosis <
    X pregnancy not advised."""

    GENERAL = "general"
    A = "A"
    B = "B"
    C = "C"
    D = "D"
    X = "X"


class Interpretation(StrEnum):
    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"
    ABNORMAL = "abnormal"


class PartnerMessage(Base):
    """A report as it arrived, encrypted, with the key that signed it, or the worker who uploaded the hospital's file:
    the evidence in a dispute. `reason` says why it was refused; what was taken in has none."""

    __tablename__ = "partner_message"
    __table_args__ = (
        CheckConstraint("num_nonnulls(key_id, uploaded_by) = 1", name="one_source"),
        Index("ix_partner_message_organization_id", "organization_id", "external_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organization.id"))
    key_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("partner_key.id"))
    uploaded_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    external_id: Mapped[str]
    body_sealed: Mapped[bytes]
    body = Sealed()
    body_hash: Mapped[bytes]
    signature: Mapped[str]
    reason: Mapped[str | None]
    received_at: Mapped[datetime]


class DiagnosticReport(Base):
    """A hospital's report under the hospital's own number. What is current is the highest legal
    version (services/results/versions)."""

    __tablename__ = "diagnostic_report"
    __table_args__ = (
        UniqueConstraint("organization_id", "external_id"),
        Index("ix_diagnostic_report_person_id", "person_id", "id"),
        Index("ix_diagnostic_report_spouse_id", "spouse_id", "id"),
        Index("ix_diagnostic_report_region_code", "region_code", "id"),
        Index("ix_diagnostic_report_appointment_id", "appointment_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organization.id"))
    external_id: Mapped[str]
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"))
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    spouse_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    region_code: Mapped[str]
    current_version: Mapped[int]
    status: Mapped[ReportStatus]
    risk_class: Mapped[RiskClass | None]
    issued_at: Mapped[datetime]
    created_at: Mapped[datetime]


class ReportVersion(Base):
    """One version as posted, append-only. `attachment_hash`: SHA-256 of the PDF that the hospital sends along."""

    __tablename__ = "report_version"

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("diagnostic_report.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True)
    status: Mapped[ReportStatus]
    issued_at: Mapped[datetime]
    conclusion_sealed: Mapped[bytes | None]
    conclusion = Sealed()
    stated_risk: Mapped[RiskClass | None]
    content_hash: Mapped[bytes]
    attachment_hash: Mapped[bytes | None]
    message_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("partner_message.id"))
    received_at: Mapped[datetime]


class ReportAttachment(Base):
    """The PDF of a report version, with the key and the signature under which it came, append-only. Its content is a
    stored file, sealed in pieces."""

    __tablename__ = "report_attachment"
    __table_args__ = (
        ForeignKeyConstraint(
            ["report_id", "version"], ["report_version.report_id", "report_version.version"]
        ),
        UniqueConstraint("report_id", "version"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID]
    version: Mapped[int]
    file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("stored_file.id"))
    size: Mapped[int]
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("partner_key.id"))
    signature: Mapped[str]
    received_at: Mapped[datetime]


class Observation(Base):
    """One value of one person: a number with its unit and the laboratory's own range, or a code.
    Append-only."""

    __tablename__ = "observation"
    __table_args__ = (
        CheckConstraint("num_nonnulls(value_number, value_code) = 1", name="one_value"),
        Index("ix_observation_person_id", "person_id", "code"),
        UniqueConstraint("report_id", "version", "person_id", "code"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("diagnostic_report.id"))
    version: Mapped[int]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    code: Mapped[str]
    value_number: Mapped[Decimal | None] = mapped_column(Numeric)
    value_code: Mapped[str | None]
    unit: Mapped[str | None]
    range_low: Mapped[Decimal | None] = mapped_column(Numeric)
    range_high: Mapped[Decimal | None] = mapped_column(Numeric)
    interpretation: Mapped[Interpretation | None]


class RiskSource(StrEnum):
    HOSPITAL = "hospital"
    RULE = "rule"


class RiskAssessment(Base):
    """The class of one report version under one rule version, with every finding behind it, append-only."""

    __tablename__ = "risk_assessment"
    __table_args__ = (UniqueConstraint("report_id", "version", "rule_version_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("diagnostic_report.id"))
    version: Mapped[int]
    rule_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("rule_version.id"))
    risk_class: Mapped[RiskClass]
    source: Mapped[RiskSource]
    findings: Mapped[list[dict[str, Any]]]
    assessed_at: Mapped[datetime]
