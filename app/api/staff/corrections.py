"""Corrections of verified fields, asked for by one worker or resident and decided by another; a new address."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.citizen.corrections import CorrectionView, RequestCorrection
from app.api.citizen.households import HouseholdSummary
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    Purpose,
    Text,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.corrections import CorrectionField, CorrectionStatus
from app.services import corrections, households
from app.services.documents import DocumentNotValid
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["更正 corrections"])
Ask = Annotated[Actor, staff_may(Permission.CORRECTION_REQUEST)]
Decide = Annotated[Actor, staff_may(Permission.HOUSEHOLD_VERIFY)]
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]


class RejectCorrection(Versioned):
    model_config = example(version=1, reason="证件照片不清楚，请重新提供")

    reason: Note


class UnmaskedCorrection(View):
    id: uuid.UUID
    name: str | None
    field: CorrectionField
    old: str | dict[str, str] | None
    new: str | dict[str, str] | None
    evidence: str | None
    reason: str | None


class EditHousehold(Versioned):
    model_config = example(version=3, address="凤凰北街 8 号 3 单元 201")

    address: Annotated[str, Text(200)]


@router.patch(
    "/households/{id}",
    summary="修改家庭住址 Change a household's address",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def edit_household(
    db: Db, actor: Decide, id: uuid.UUID, purpose: Purpose, body: EditHousehold
) -> HouseholdSummary:
    """Within its village. Of two workers who edit at once the second gets 409 with both versions: `current` (masked),
    `yours`, what `differs`, `current_version`, `changed_by_role`, `changed_at`."""
    row = await households.edit(db, actor, id=id, version=body.version, address=body.address, purpose=purpose)
    return HouseholdSummary.model_validate(row)


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
    """One field of a person, or the address of a household, with what proves the new value."""
    asked = await corrections.request(
        db, actor, key=key, subject_id=body.subject_id, change=body.change, evidence=body.evidence
    )
    return CorrectionView.model_validate(asked)


@router.get(
    "/corrections", summary="更正申请 Corrections of the region", response_model=Listing[CorrectionView]
)
async def list_corrections(
    db: Db, actor: Ask, page: Paging, status: CorrectionStatus = CorrectionStatus.OPEN
) -> dict[str, Any]:
    """Those who wait longest first. Names and values are masked."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await corrections.listing(db, actor, status=status, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.requested_at.isoformat(), row.id))


@router.post(
    "/corrections/{id}/unmask",
    summary="更正申请（完整） A correction, unmasked",
    responses=problems(NotFound),
)
async def unmask_correction(db: Db, actor: Unmask, id: uuid.UUID, purpose: Purpose) -> UnmaskedCorrection:
    """Old and new value and the evidence, to compare with the papers. Recorded as such."""
    return UnmaskedCorrection.model_validate(await corrections.unmask(db, actor, id=id, purpose=purpose))


@router.post(
    "/corrections/{id}/approve",
    summary="批准更正 Approve",
    responses=problems(
        NotFound,
        StaleVersion,
        WrongState,
        corrections.OwnRequest,
        corrections.DecidedByOffice,
        corrections.FieldChanged,
        corrections.CannotApply,
        corrections.DocumentRegistered,
        corrections.SexContradictsMarriage,
    ),
)
async def approve_correction(db: Db, actor: Decide, id: uuid.UUID, body: Versioned) -> CorrectionView:
    """By a town or above, never by who asked; that of a phone also by a village worker. Applied at once."""
    return CorrectionView.model_validate(await corrections.approve(db, actor, id=id, version=body.version))


@router.post(
    "/corrections/{id}/reject",
    summary="驳回更正 Reject",
    responses=problems(
        NotFound, StaleVersion, WrongState, corrections.OwnRequest, corrections.DecidedByOffice
    ),
)
async def reject_correction(db: Db, actor: Decide, id: uuid.UUID, body: RejectCorrection) -> CorrectionView:
    """The reason is told to who asked."""
    return CorrectionView.model_validate(
        await corrections.reject(db, actor, id=id, version=body.version, reason=body.reason)
    )


@router.post(
    "/corrections/{id}/withdraw",
    summary="撤回更正申请 Take a correction back",
    responses=problems(NotFound, StaleVersion, WrongState, corrections.NotYours),
)
async def withdraw_correction(db: Db, actor: Ask, id: uuid.UUID, body: Versioned) -> CorrectionView:
    """While nobody has decided."""
    return CorrectionView.model_validate(await corrections.withdraw(db, actor, id=id, version=body.version))
