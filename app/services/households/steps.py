"""Where the steps of a handbook come from: each source as rows of the same columns, in time order by `at` and `key`."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Select,
    String,
    Text,
    Uuid,
    and_,
    cast,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible
from app.db import Base
from app.models.appointments import Appointment, AppointmentStatus
from app.models.catalogue import HealthcareService
from app.models.follow_ups import FollowUp, FollowUpStatus
from app.models.handbook import HouseholdEvent
from app.models.households import Category, CategoryDefinition, Household, Membership
from app.models.identity import Role
from app.models.life_events import LifeEvent
from app.models.results import DiagnosticReport
from app.services.results.versions import RELEASED

CAME = (AppointmentStatus.ARRIVED, AppointmentStatus.FULFILLED)


async def steps_of(db: AsyncSession, actor: Actor, row: Household) -> Any:
    # Five tables are asked for the few dozen rows of one household, each by an index: that needs the ids of all who
    # ever belonged to it as values, since beside an OR a subquery has the whole table read.
    members = list(await db.scalars(select(Membership.person_id).where(Membership.household_id == row.id)))
    return union_all(
        _events(row), _import(row), _categories(row, members), _appointments(actor, row, members),
        _reports(actor, row, members), _follow_ups(actor, row, members),
    )  # fmt: skip


def _columns(**given: Any) -> list[Any]:
    """Every source has the same columns."""
    blank: dict[str, Any] = {
        "at": None, "key": None, "kind": None, "person_id": null(), "happened_on": null(), "note": null(),
        "subject_zh": null(), "subject_en": null(), "actor_role": null(), "detail_id": null(),
    }  # fmt: skip
    types: dict[str, Any] = {
        "at": DateTime(timezone=True),
        "person_id": Uuid,
        "happened_on": Date,
        "detail_id": Uuid,
    }
    return [cast(value, types.get(name, Text)).label(name) for name, value in (blank | given).items()]


def _events(row: Household) -> Select[Any]:
    event = HouseholdEvent
    return select(
        *_columns(
            at=event.at, key=func.concat("e", func.lpad(cast(event.id, String), 20, "0")), kind=event.kind,
            person_id=event.person_id, happened_on=event.happened_on, note=event.note,
            actor_role=event.actor_role, detail_id=event.detail_id,
        )
    ).where(event.household_id.in_(merged(row)))  # fmt: skip


def merged(row: Household) -> Select[Any]:
    """The ids of the household and of those that were merged into it."""
    return select(Household.id).where(or_(Household.id == row.id, Household.merged_into == row.id))


def _import(row: Household) -> Select[Any]:
    """A household that came by a list has no step of its own for that."""
    home = Household
    return select(
        *_columns(at=home.created_at, key=func.concat("i", cast(home.id, String)), kind=literal("imported"))
    ).where(home.id.in_(merged(row)), home.import_batch_id.is_not(None))


def _readable(actor: Actor, model: type[Base]) -> ColumnElement[bool]:
    """Who works for a household reads that something was, wherever it was; spouses and children each their own."""
    return visible(actor, model) if actor.role is Role.RESIDENT else true()


def _belonged(row: Household, person: Any, day: Any) -> Any:
    """Whether the person belonged to the household on that day."""
    return exists().where(
        Membership.person_id == person,
        Membership.household_id == row.id,
        Membership.valid_from <= day,
        or_(Membership.valid_to.is_(None), Membership.valid_to >= day),
    )


def _theirs(row: Household, members: Sequence[uuid.UUID], day: Any, *people: Any) -> Any:
    """Of somebody who belonged to the household on that day. The members stand as values, for an index."""
    return or_(*(and_(person.in_(members), _belonged(row, person, day)) for person in people))


def _midnight(day: Any) -> Any:
    return func.timezone("Asia/Shanghai", cast(day, DateTime(timezone=False)))


def _day(moment: Any) -> Any:
    return cast(func.timezone("Asia/Shanghai", moment), Date)


def _categories(row: Household, members: Sequence[uuid.UUID]) -> Select[Any]:
    """Those verified with the household or imported; one that was gained later is a step of its own."""
    held_by_member = exists().where(
        Membership.person_id == Category.person_id,
        Membership.household_id == row.id,
        or_(Membership.valid_to.is_(None), Membership.valid_to >= Category.valid_from),
        or_(Category.valid_to.is_(None), Category.valid_to >= Membership.valid_from),
    )
    held = or_(Category.household_id == row.id, and_(Category.person_id.in_(members), held_by_member))
    recorded = exists().where(LifeEvent.id == Category.id)
    return (
        select(
            *_columns(
                at=_midnight(Category.valid_from), key=func.concat("c", cast(Category.id, String)),
                kind=literal("category_held"), person_id=Category.person_id, happened_on=Category.valid_from,
                subject_zh=CategoryDefinition.zh, subject_en=CategoryDefinition.en,
            )
        )
        .join(CategoryDefinition, CategoryDefinition.code == Category.code)
        .where(held, ~recorded)
    )  # fmt: skip


def _appointments(actor: Actor, row: Household, members: Sequence[uuid.UUID]) -> Select[Any]:
    day = _day(Appointment.starts_at)
    theirs = _theirs(row, members, day, Appointment.person_id, Appointment.spouse_id)
    return (
        select(
            *_columns(
                at=Appointment.starts_at, key=func.concat("a", cast(Appointment.id, String)),
                kind=literal("appointment_attended"), person_id=Appointment.person_id,
                happened_on=day, subject_zh=HealthcareService.zh,
                subject_en=HealthcareService.en,
            )
        )
        .join(HealthcareService, HealthcareService.id == Appointment.service_id)
        .where(_readable(actor, Appointment), Appointment.status.in_(CAME), theirs)
    )  # fmt: skip


def _reports(actor: Actor, row: Household, members: Sequence[uuid.UUID]) -> Select[Any]:
    """That there is one, nothing of what is in it."""
    report = DiagnosticReport
    day = _day(report.issued_at)
    theirs = _theirs(row, members, day, report.person_id, report.spouse_id)
    return (
        select(
            *_columns(
                at=report.issued_at, key=func.concat("r", cast(report.id, String)),
                kind=literal("report_released"), person_id=report.person_id,
                happened_on=day, subject_zh=HealthcareService.zh,
                subject_en=HealthcareService.en,
            )
        )
        .join(HealthcareService, HealthcareService.id == report.service_id)
        .where(_readable(actor, report), report.status.in_(RELEASED), theirs)
    )  # fmt: skip


def _follow_ups(actor: Actor, row: Household, members: Sequence[uuid.UUID]) -> Select[Any]:
    task, day = FollowUp, _day(FollowUp.completed_at)
    return select(
        *_columns(
            at=task.completed_at, key=func.concat("f", cast(task.id, String)),
            kind=literal("follow_up_done"), person_id=task.person_id,
            happened_on=day, note=cast(task.kind, Text),
        )
    ).where(
        _readable(actor, task), task.status == FollowUpStatus.DONE,
        _theirs(row, members, day, task.person_id),
    )  # fmt: skip
