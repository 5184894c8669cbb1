"""Notices in force, giving and withdrawing consent, and who looked at one's file."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, View, example, resident_may
from app.errors import NotFound, problems
from app.models.consents import Purpose
from app.services import consents, identity

router = APIRouter(tags=["知情同意 consents"])
Own = Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)]


class NoticeView(View):
    id: uuid.UUID
    purpose: Purpose
    version: int
    title_zh: str
    title_en: str
    body_zh: str
    body_en: str
    published_at: datetime


class GiveConsent(Body):
    model_config = example(notice_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01")

    notice_id: uuid.UUID
    person_id: uuid.UUID | None = None


class ConsentView(View):
    id: uuid.UUID
    person_id: uuid.UUID
    notice_id: uuid.UUID
    guardian_id: uuid.UUID | None
    given_at: datetime
    withdrawn_at: datetime | None


@router.get("/notices", summary="告知书 Notices in force")
async def list_notices(db: Db, actor: Own) -> list[NoticeView]:
    return [NoticeView.model_validate(row) for row in await consents.notices(db)]


@router.post(
    "/consents",
    status_code=201,
    summary="同意告知书 Agree to a notice",
    responses=problems(NotFound, identity.NotBound, consents.NoticeRetired, consents.GuardianNeeded),
)
async def give_consent(db: Db, actor: Own, key: IdempotencyKey, body: GiveConsent) -> ConsentView:
    """For oneself; a parent names a child under 14 in `person_id`."""
    given = await consents.give(db, actor, key=key, notice_id=body.notice_id, person_id=body.person_id)
    return ConsentView.model_validate(given)


@router.get("/consents", summary="同意记录 My consents")
async def list_consents(db: Db, actor: Own) -> list[ConsentView]:
    """Given by the resident, or as a guardian for a child under 14; the newest 200 at once."""
    return [ConsentView.model_validate(row) for row in await consents.history(db, actor)]


@router.post("/consents/{id}/withdraw", summary="撤回同意 Withdraw consent", responses=problems(NotFound))
async def withdraw_consent(db: Db, actor: Own, id: uuid.UUID) -> ConsentView:
    """From now on; what was done before stays."""
    return ConsentView.model_validate(await consents.withdraw(db, actor, consent_id=id))
