"""Needs surveys (需求调查): questionnaires as data, one answer of a household a year, and what they add up to."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.crypto import Sealed
from app.db import Base


class SurveyTemplate(Base):
    """A questionnaire as published for a region and all below it; it never changes, a new version takes its place.
    Of a code and a region one is in force at a time. A household is asked the one of the smallest region that
    it lives in."""

    __tablename__ = "survey_template"
    __table_args__ = (
        UniqueConstraint("code", "region_code", "version"),
        Index(
            "uq_survey_template_code_region_code_in_force",
            "code",
            "region_code",
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str]
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    version: Mapped[int]
    title_zh: Mapped[str]
    title_en: Mapped[str]
    questions: Mapped[list[dict[str, Any]]]
    published_at: Mapped[datetime]
    published_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    retired_at: Mapped[datetime | None]


class SurveyResponse(Base):
    """What a household answered in a year. `answers` holds choices and numbers by question, and the sealed `texts`
    what was written freely. `region_code` is where the household lived when it answered."""

    __tablename__ = "survey_response"
    __table_args__ = (UniqueConstraint("household_id", "code", "year"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    household_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("household.id"))
    code: Mapped[str]
    year: Mapped[int]
    template_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("survey_template.id"))
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    answers: Mapped[dict[str, Any]]
    texts_sealed: Mapped[bytes | None]
    texts = Sealed()
    answered_at: Mapped[datetime]
    answered_by_role: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")

    __mapper_args__ = {"version_id_col": version}


class SurveyTally(Base):
    """How many households of a region gave an answer in a year, kept in the transaction of each answer: a county's
    counts are read from its villages' few rows, not from its households' many answers. Without a choice the row
    is of all who answered the question, and `total` the sum of their numbers; without a question, of all who
    answered the survey."""

    __tablename__ = "survey_tally"

    code: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True)
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"), primary_key=True)
    question: Mapped[str] = mapped_column(primary_key=True)
    choice: Mapped[str] = mapped_column(primary_key=True)
    households: Mapped[int]
    total: Mapped[int]
