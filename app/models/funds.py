"""Funds, campaigns and budgets: what money was given for, and how much of it may be spent on what."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class FundStatus(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Fund(Base):
    """Money under one purpose (慈善法 art. 54: a register of its own). `restricted`: given for that purpose only; a
    general fund is not. Whatever is spent stays within what was received."""

    __tablename__ = "fund"
    __table_args__ = (Index("ix_fund_region_code", "region_code"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Two to eight capital letters or digits: part of its account codes.
    code: Mapped[str] = mapped_column(unique=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    zh: Mapped[str]
    en: Mapped[str]
    purpose_zh: Mapped[str]
    purpose_en: Mapped[str]
    restricted: Mapped[bool]
    status: Mapped[FundStatus]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class CampaignMode(StrEnum):
    """慈善法 arts. 22, 27, 30. `own_site_mirror`: public, on a designated platform and also here; `targeted`: to a
    known circle, never advertised; `platform_import`: the platform takes the money, here it is only shown."""

    OWN_SITE_MIRROR = "own_site_mirror"
    TARGETED = "targeted"
    PLATFORM_IMPORT = "platform_import"


class CampaignStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"


class LeftoverRule(StrEnum):
    """What becomes of money that is left when a campaign ends (慈善法 art. 58): the same purpose goes on, or the fund
    named in `leftover_fund_id` takes it."""

    SAME_FUND = "same_fund"
    OTHER_FUND = "other_fund"


class Campaign(Base):
    """An appeal for one fund: from when to when, how much is hoped for, and the papers that make it lawful."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint("goal_fen > 0", name="goal_fen"),
        CheckConstraint("ends_on >= starts_on", name="dates"),
        CheckConstraint("(leftover_rule = 'other_fund') = (leftover_fund_id IS NOT NULL)", name="leftover"),
        # In-app payment of a public appeal: certificate, filing and platform (慈善法 arts. 22-27).
        CheckConstraint(
            "NOT in_app_payment OR mode = 'targeted' OR (mode = 'own_site_mirror' AND certificate_number IS NOT NULL "
            "AND filing_number IS NOT NULL AND platform_url IS NOT NULL)",
            name="lawful",
        ),
        Index("ix_campaign_fund_id", "fund_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    zh: Mapped[str]
    en: Mapped[str]
    story_zh: Mapped[str]
    story_en: Mapped[str]
    mode: Mapped[CampaignMode]
    in_app_payment: Mapped[bool]
    #: 公开募捐资格证书编号, 募捐方案备案编号.
    certificate_number: Mapped[str | None]
    filing_number: Mapped[str | None]
    platform_name: Mapped[str | None]
    platform_url: Mapped[str | None]
    goal_fen: Mapped[int]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    status: Mapped[CampaignStatus]
    leftover_rule: Mapped[LeftoverRule]
    leftover_fund_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("fund.id"))
    closed_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}


class BudgetLine(Base):
    """How much of a fund may go to one kind of spending in a year. `committed_fen`: approved or paid so far."""

    __tablename__ = "budget_line"
    __table_args__ = (
        UniqueConstraint("fund_id", "year", "code"),
        CheckConstraint("committed_fen BETWEEN 0 AND amount_fen", name="committed_fen"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("fund.id"))
    year: Mapped[int]
    code: Mapped[str]
    zh: Mapped[str]
    en: Mapped[str]
    amount_fen: Mapped[int]
    committed_fen: Mapped[int] = mapped_column(server_default="0")
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}
