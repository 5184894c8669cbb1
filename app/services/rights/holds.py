"""What stands against an erasure: each duty to keep, with its reason and its end (PIPL art. 47)."""

import uuid
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment, AppointmentStatus
from app.models.disbursements import Disbursement
from app.models.follow_ups import FollowUp
from app.models.households import Household, HouseholdStatus, Membership
from app.models.results import DiagnosticReport
from app.models.rosters import RosterMember
from app.services.disbursements.erasure import UNDER_WAY
from app.services.follow_ups.events import LIVE
from app.services.rights.policy import retention

OPEN = (AppointmentStatus.HELD, AppointmentStatus.BOOKED, AppointmentStatus.ARRIVED)


@dataclass(frozen=True, slots=True)
class Hold:
    """`until` is absent where no calendar ends it."""

    code: str
    zh: str
    en: str
    source: str
    until: date | None

    def kept(self) -> dict[str, Any]:
        return asdict(self) | {"until": self.until.isoformat() if self.until else None}


async def holds(db: AsyncSession, person_id: uuid.UUID) -> list[Hold]:
    """Those of today, the lasting ones first."""
    found = {
        "active_membership": await _active_membership(db, person_id),
        "report_retention": await _report_retention(db, person_id),
        "open_follow_up": await _latest(
            db, FollowUp.due_on, FollowUp.person_id == person_id, FollowUp.status.in_(LIVE)
        ),
        "active_roster": await _active_roster(db, person_id),
        "open_appointment": await _latest(
            db, Appointment.ends_at, _of(Appointment, person_id), Appointment.status.in_(OPEN)
        ),
        "open_payment": await _open_payment(db, person_id),
    }
    return [_hold(code, until) for code, until in found.items() if until is not False]


#: False: there is no such hold. None: one without an end.
Until = date | None | bool


def _hold(code: str, until: Until) -> Hold:
    reason = getattr(retention().holds, code)
    return Hold(code, reason.zh, reason.en, reason.source, until if isinstance(until, date) else None)


def _of(model: type[Appointment] | type[DiagnosticReport], person_id: uuid.UUID) -> ColumnElement[bool]:
    return or_(model.person_id == person_id, model.spouse_id == person_id)


async def _active_membership(db: AsyncSession, person_id: uuid.UUID) -> Until:
    query = select(Membership.id).join(Household, Household.id == Membership.household_id)
    mine = query.where(Membership.person_id == person_id, Membership.valid_to.is_(None))
    return None if await db.scalar(mine.where(Household.status == HouseholdStatus.ACTIVE)) else False


async def _active_roster(db: AsyncSession, person_id: uuid.UUID) -> Until:
    query = select(RosterMember.id).where(RosterMember.person_id == person_id, RosterMember.left_on.is_(None))
    return None if await db.scalar(query.limit(1)) else False


async def _open_payment(db: AsyncSession, person_id: uuid.UUID) -> Until:
    query = select(Disbursement.id).where(Disbursement.person_id == person_id)
    return None if await db.scalar(query.where(Disbursement.status.in_(UNDER_WAY)).limit(1)) else False


async def _report_retention(db: AsyncSession, person_id: uuid.UUID) -> Until:
    newest = await _latest(db, DiagnosticReport.issued_at, _of(DiagnosticReport, person_id))
    if not isinstance(newest, date):
        return False
    until = _years_later(newest, retention().holds.report_retention.years)
    return until if until >= clock.today() else False


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, day=28) + timedelta(days=1)


async def _latest(db: AsyncSession, column: Any, *conditions: ColumnElement[bool]) -> Until:
    latest: date | datetime | None = await db.scalar(select(func.max(column)).where(*conditions))
    if isinstance(latest, datetime):
        return clock.day_of(latest)
    return False if latest is None else latest
