"""Rotations (轮查): everybody of a group is invited to a service once within some years, village by village."""

from app.services.rotations.coverage import Coverage, measure
from app.services.rotations.invitations import JOB as INVITE_JOB
from app.services.rotations.invitations import NotPublished, invite, remind_all, send
from app.services.rotations.linking import follow_all
from app.services.rotations.plans import (
    JOB,
    AlreadyInRotation,
    Capacities,
    NewRotation,
    NotInRotation,
    RotationEnded,
    Stated,
    StillPlanning,
    create,
    end,
    listing,
    plan,
    publish,
    read,
    renew,
    restate,
    resume,
)
from app.services.rotations.previewing import Preview, preview
from app.services.rotations.work import work
from app.services.rotations.workbook import ListTooLong, workbook

__all__ = [
    "INVITE_JOB", "JOB", "AlreadyInRotation", "Capacities", "Coverage", "ListTooLong", "NewRotation", "NotInRotation",
    "NotPublished", "Preview", "RotationEnded", "Stated", "StillPlanning", "create", "end", "follow_all", "invite",
    "listing", "measure", "plan", "preview", "publish", "read", "remind_all", "renew", "restate", "resume", "send",
    "work", "workbook",
]  # fmt: skip
