"""Referrals to the hospital: who is to be seen, and saying what was found."""

import uuid
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, Versioned, View, example, listing, partner_may
from app.errors import Invalid, NotFound, StaleVersion, problems
from app.models.follow_ups import FollowUpStatus, ReferralStep
from app.services import follow_ups

router = APIRouter(tags=["转诊 referrals"])
Answer = Annotated[Actor, partner_may(Permission.REFERRAL_ANSWER)]


class ReferralView(View):
    id: uuid.UUID
    step: ReferralStep | None
    status: FollowUpStatus
    due_on: date
    version: int


class AnswerReferral(Versioned):
    model_config = example(
        version=3,
        step={"step": "diagnosed", "on": "2026-09-20", "diagnosis": "excluded", "note": "羊水穿刺未见异常"},
    )

    step: follow_ups.ReferralRecord


@router.get("/referrals", summary="转诊到本院 Referrals to us", response_model=Listing[follow_ups.Referred])
async def referrals(db: Db, actor: Answer, page: Paging) -> dict[str, Any]:
    """Under way, the most urgent first. Recorded in each person's file."""
    after = page.after(date.fromisoformat, uuid.UUID)
    rows = await follow_ups.list_referred(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.due_on, row.id))


@router.post(
    "/referrals/{id}/steps",
    summary="就诊或诊断结果 Seen, or diagnosed",
    responses=problems(
        NotFound,
        StaleVersion,
        Invalid,
        follow_ups.NotLive,
        follow_ups.NotAReferral,
        follow_ups.StepNotAllowed,
    ),
)
async def answer_referral(db: Db, actor: Answer, id: uuid.UUID, body: AnswerReferral) -> ReferralView:
    """That she was seen, and what was diagnosed. Everything else is the association's."""
    row = await follow_ups.take_step(db, actor, follow_up_id=id, version=body.version, said=body.step)
    return ReferralView.model_validate(row)
