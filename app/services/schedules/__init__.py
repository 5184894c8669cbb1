"""Weekly templates that slots are made of, and the rooms and practitioners of a clinic."""

from app.services.schedules.publishing import JOB, Outcome, end, extend_all, preview, publish
from app.services.schedules.resources import (
    InUseBySchedule,
    NameInUse,
    NewPractitioner,
    NewRoom,
    Resource,
    add,
    of_clinic,
    rename,
    retire,
)
from app.services.schedules.templates import NewSchedule, Template, create, get, listing, revise

__all__ = [
    "JOB",
    "InUseBySchedule",
    "NameInUse",
    "NewPractitioner",
    "NewRoom",
    "NewSchedule",
    "Outcome",
    "Resource",
    "Template",
    "add",
    "create",
    "end",
    "extend_all",
    "get",
    "listing",
    "of_clinic",
    "preview",
    "publish",
    "rename",
    "retire",
    "revise",
]
