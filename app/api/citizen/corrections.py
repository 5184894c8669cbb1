"""Asking for a correction of what was verified (PIPL art. 46)."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    Versioned,
    View,
    example,
    listing,
    resident_may,
)
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.corrections import CorrectionField, CorrectionStatus
from app.models.identity import Role
from app.services import corrections
from app.services.documents import DocumentNotValid
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["更正 corrections"])
Ask = Annotated[Actor, resident_may(Permission.CORRECTION_REQUEST)]


class RequestCorrection(Body):
    model_config = example(
        subject_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        change={"field": "name", "value": "王晓芳"},
        evidence="身份证：姓名为王晓芳",
    )

    subject_id: Annotated[uuid.UUID, Field(description="The person; for the address the household")]
    change: corrections.Change
    evidence: Annotated[Note, Field(description="What proves the new value; sealed")]


class CorrectionView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e08",
        person_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e07",
        household_id=None,
        name="王*芳",
        field="name",
        old="王*芳",
        new="王*芳",
        status="open",
        reason=None,
        requester_role="resident",
        requested_at="2026-08-01T02:00:00Z",
        decided_at=None,
        version=1,
    )

    id: uuid.UUID
    person_id: uuid.UUID | None
    household_id: uuid.UUID | None
    name: str | None
    field: CorrectionField
    old: Annotated[str | None, Field(description="Masked")]
    new: Annotated[str | None, Field(description="Masked")]
    status: CorrectionStatus
    reason: Annotated[str | None, Field(description="Why it was rejected, for who asked")]
    requester_role: Role
    requested_at: datetime
    decided_at: datetime | None
    version: int


@router.post(
    "/corrections",
    status_code=201,
    summary="申请更正 Ask for a correction",
    responses=problems(
        NotFound,
        WrongState,
        DocumentNotValid,
        corrections.CorrectionPending,
        corrections.SexContradictsMarriage,
        IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)
async def request_correction(
    db: Db, actor: Ask, key: IdempotencyKey, body: RequestCorrection
) -> CorrectionView:
    """Of one's own household once it is verified: one field, with what proves the new value. A worker decides."""
    asked = await corrections.request(
        db, actor, key=key, subject_id=body.subject_id, change=body.change, evidence=body.evidence
    )
    return CorrectionView.model_validate(asked)


@router.get("/corrections", summary="我的更正申请 My corrections", response_model=Listing[CorrectionView])
async def own_corrections(db: Db, actor: Ask, page: Paging) -> dict[str, Any]:
    """What one asked for, and what others asked about oneself, newest first; values are masked."""
    rows = await corrections.own(db, actor, before=page.after_one(uuid.UUID), limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/corrections/{id}/withdraw",
    summary="撤回更正申请 Take a correction back",
    responses=problems(NotFound, StaleVersion, WrongState, corrections.NotYours),
)
async def withdraw_correction(db: Db, actor: Ask, id: uuid.UUID, body: Versioned) -> CorrectionView:
    """While nobody has decided."""
    return CorrectionView.model_validate(await corrections.withdraw(db, actor, id=id, version=body.version))
