"""Which days are worked, as the State Council announces each year's holidays and swapped working days."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class DayKind(StrEnum):
    """A holiday is free whatever the weekday, a workday worked (调休上班). A festival has a name, and is worked or
    not as its weekday says; so an ordinary day is written where the calendar has another kind by mistake."""

    HOLIDAY = "holiday"
    WORKDAY = "workday"
    FESTIVAL = "festival"


class CalendarDay(Base):
    """A day that is not like others of its weekday, or has a name. `in_place_of`: the day off that a swapped working
    day makes up for. Where somebody of the association wrote it (`edited_at`), no release of ours changes it."""

    __tablename__ = "calendar_day"
    __table_args__ = (CheckConstraint("kind = 'workday' OR in_place_of IS NULL", name="in_place_of"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    kind: Mapped[DayKind]
    zh: Mapped[str]
    en: Mapped[str]
    in_place_of: Mapped[date | None]
    source: Mapped[str]
    edited_by: Mapped[uuid.UUID | None]
    edited_at: Mapped[datetime | None]
