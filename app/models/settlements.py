"""What a clinic is paid for: prices of services, and the settlement of each month."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class ServicePrice(Base):
    """What one fulfilled appointment of a service is paid at clinics of a division from a day on, in fen.
    Of several the nearest division's counts, and of that the latest."""

    __tablename__ = "service_price"
    __table_args__ = (
        UniqueConstraint("service_id", "region_code", "valid_from"),
        CheckConstraint("price_fen >= 0", name="price_fen"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    valid_from: Mapped[date]
    price_fen: Mapped[int]
    created_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    created_at: Mapped[datetime]


class SettlementStatus(StrEnum):
    """Confirmed by the hospital, then accepted by the association, or returned to be confirmed anew. A draft is no
    row: it is counted when somebody looks."""

    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    RETURNED = "returned"


class Settlement(Base):
    """A clinic's month as the hospital confirmed it."""

    __tablename__ = "settlement"
    __table_args__ = (
        Index(
            "uq_settlement_clinic_id_month_live", "clinic_id", "month", unique=True,
            postgresql_where=text("status <> 'returned'"),
        ),
        Index("ix_settlement_clinic_id", "clinic_id", "id"),
    )  # fmt: skip

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    clinic_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic.id"))
    month: Mapped[date]
    status: Mapped[SettlementStatus]
    amount_fen: Mapped[int]
    #: Why it was returned: somebody may write about whom.
    reason_sealed: Mapped[bytes | None]
    reason = Sealed()
    version: Mapped[int] = mapped_column(server_default="1")
    confirmed_at: Mapped[datetime]
    decided_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    decided_at: Mapped[datetime | None]

    __mapper_args__ = {"version_id_col": version}


class SettlementLine(Base):
    """One service of one month at one price, as confirmed. Of an earlier `month`: an adjustment."""

    __tablename__ = "settlement_line"
    __table_args__ = (Index("ix_settlement_line_settlement_id", "settlement_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    settlement_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("settlement.id"))
    service_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("healthcare_service.id"))
    month: Mapped[date]
    fulfilled: Mapped[int]
    reversed: Mapped[int]
    arrived: Mapped[int]
    no_shows: Mapped[int]
    # None where nothing is to be paid and no price is set.
    price_fen: Mapped[int | None]
    amount_fen: Mapped[int]


class SettlementItem(Base):
    """Which appointment was paid for (1) or taken back (-1), once each, whatever the month."""

    __tablename__ = "settlement_item"
    __table_args__ = (
        CheckConstraint("quantity IN (1, -1)", name="quantity"),
        UniqueConstraint("appointment_id", "quantity"),
        Index("ix_settlement_item_settlement_id", "settlement_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    settlement_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("settlement.id"))
    appointment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("appointment.id"))
    quantity: Mapped[int]
    price_fen: Mapped[int]
