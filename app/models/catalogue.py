"""Services, their items, and what a report may state of each (FHIR R4 nouns)."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Subject(StrEnum):
    """Whom a service is for, and whom one of its items examines."""

    PERSON = "person"
    COUPLE = "couple"


class AppliesTo(StrEnum):
    WIFE = "wife"
    HUSBAND = "husband"
    BOTH = "both"


class Cycle(StrEnum):
    """How often one may have the service: 每孩次一次 once per child, once in `cycle_years`, or once at each date."""

    CHILD = "child"
    YEAR = "year"
    EVENT = "event"


class HealthcareService(Base):
    """A service on offer with its terms of booking. `sensitive`: it yields health data, so the notices must be agreed
    to. `sessions`: a course of so many dates, booked together. `no_show_limit` 0: there is none."""

    __tablename__ = "healthcare_service"
    __table_args__ = (
        CheckConstraint("sessions BETWEEN 1 AND 60", name="sessions"),
        CheckConstraint("places_limit BETWEEN 1 AND 50", name="places_limit"),
        CheckConstraint("cycle_years BETWEEN 1 AND 20", name="cycle_years"),
        CheckConstraint("offer_hours BETWEEN 1 AND 720", name="offer_hours"),
        CheckConstraint("least(cancel_hours, no_show_limit, no_show_days) >= 0", name="terms"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    zh: Mapped[str]
    en: Mapped[str]
    preparation_zh: Mapped[str]
    preparation_en: Mapped[str]
    subject: Mapped[Subject]
    cycle: Mapped[Cycle]
    rule_code: Mapped[str]
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    validity_months: Mapped[int]
    sensitive: Mapped[bool] = mapped_column(server_default="true")
    cycle_years: Mapped[int] = mapped_column(server_default="1")
    sessions: Mapped[int] = mapped_column(server_default="1")
    places_limit: Mapped[int] = mapped_column(server_default="1")
    cancel_hours: Mapped[int] = mapped_column(server_default="0")
    no_show_limit: Mapped[int] = mapped_column(server_default="0")
    no_show_days: Mapped[int] = mapped_column(server_default="0")
    offer_hours: Mapped[int] = mapped_column(server_default="24")
    certificate: Mapped[bool] = mapped_column(server_default="false")
    active: Mapped[bool]


class ServiceItem(Base):
    """One of the items of a service (the 19 of the free pre-pregnancy check), and whom it examines. `region_code`: of
    the clinics there only, as a province adds items to the national ones; empty: of all. A retired one is not reported
    for appointments after that."""

    __tablename__ = "service_item"
    __table_args__ = (
        Index(
            "uq_service_item_service_id_number",
            "service_id",
            "number",
            unique=True,
            postgresql_where=text("region_code IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    number: Mapped[int]
    zh: Mapped[str]
    en: Mapped[str]
    applies_to: Mapped[AppliesTo]
    region_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    retired_at: Mapped[datetime | None]


class ValueType(StrEnum):
    NUMBER = "number"
    CODE = "code"


class RecordForm(StrEnum):
    """Which of the 17 record forms of the national system a value goes into; most are one for each spouse."""

    GENERAL = "general"
    PHYSICAL = "physical"
    GENITAL = "genital"
    LABORATORY = "laboratory"
    HAEMOGLOBIN = "haemoglobin"
    GENE = "gene"
    ULTRASOUND = "ultrasound"


class ObservationDefinition(Base):
    """What a report may state for an item: a number in a unit, or one of a list of codes, each with its
    wording (code, zh, en)."""

    __tablename__ = "observation_definition"

    code: Mapped[str] = mapped_column(primary_key=True)
    service_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("service_item.id"), primary_key=True)
    zh: Mapped[str]
    en: Mapped[str]
    applies_to: Mapped[AppliesTo]
    value_type: Mapped[ValueType]
    unit: Mapped[str | None]
    codes: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    form: Mapped[RecordForm | None]
