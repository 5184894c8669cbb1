"""The rights of residents, exercised at the office: a copy of the file, erasure and its decision."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from app.access import Actor, Permission
from app.api.citizen.rights import DOWNLOAD, ErasureView, HoldView, PersonFile
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Listing,
    Note,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.rights import ErasureStatus
from app.services import rights
from app.services.donations import erasure
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["居民权利 rights"])
Unmask = Annotated[Actor, staff_may(Permission.PERSON_UNMASK)]
Verify = Annotated[Actor, staff_may(Permission.HOUSEHOLD_VERIFY)]
Decide = Annotated[Actor, staff_may(Permission.ERASURE_DECIDE)]
RightsRequest = Annotated[
    str, Header(alias="Purpose", pattern="^rights_request$", description="Only at the person's own request")
]


class RequestErasureFor(Body):
    model_config = example(why="本人到场申请，已核对身份证")

    why: Note


class DecideErasure(Versioned):
    model_config = example(version=1, grant=True, reason="已核实本人申请")

    grant: bool
    reason: Note


class ErasureDetail(View):
    erasure: ErasureView
    why: str | None
    holds_now: list[HoldView]


@router.post(
    "/persons/{id}/file",
    summary="代为导出个人档案 Everything held about a person",
    responses=problems(NotFound),
)
async def person_file(
    db: Db, actor: Unmask, id: uuid.UUID, purpose: RightsRequest, response: Response
) -> PersonFile:
    """For who has no phone and stands before the worker. Recorded in the file."""
    response.headers.update(DOWNLOAD)
    return PersonFile.model_validate(await rights.file_of(db, actor, person_id=id, purpose=purpose))


@router.post(
    "/persons/{id}/erasure",
    status_code=201,
    summary="代为申请注销 Ask for a person's erasure",
    responses=problems(NotFound, rights.ErasurePending, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def request_erasure(
    db: Db, actor: Verify, key: IdempotencyKey, id: uuid.UUID, purpose: RightsRequest, body: RequestErasureFor
) -> ErasureView:
    """On behalf of somebody without a phone, or of the relatives of who has died."""
    asked = await rights.request_for(db, actor, key=key, person_id=id, why=body.why, purpose=purpose)
    return ErasureView.model_validate(asked)


@router.post(
    "/donations/{id}/forget",
    status_code=204,
    summary="抹去捐赠人信息 Forget the donor of a gift",
    responses=problems(NotFound, StaleVersion, erasure.DonorAsksThemselves),
)
async def forget_donor(db: Db, actor: Decide, id: uuid.UUID, purpose: RightsRequest, body: Versioned) -> None:
    """Of a donor by the bank or in cash who has no account here, and shows the number of the gift. It stays in the
    books, and nobody can tell any more whose it was: this cannot be undone. Recorded."""
    await erasure.forget_gift(db, actor, id=id, version=body.version, purpose=purpose)


@router.get("/erasures", summary="注销申请 Requests to be erased", response_model=Listing[ErasureView])
async def list_erasures(
    db: Db, actor: Decide, page: Paging, status: ErasureStatus = ErasureStatus.OPEN
) -> dict[str, Any]:
    """Those who wait longest first. Names are masked."""
    after = page.after(datetime.fromisoformat, uuid.UUID)
    rows = await rights.listing(db, actor, status=status, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.requested_at.isoformat(), row.id))


@router.get("/erasures/{id}", summary="注销申请详情 A request to be erased", responses=problems(NotFound))
async def erasure_detail(db: Db, actor: Decide, id: uuid.UUID, purpose: Purpose) -> ErasureDetail:
    """With each duty to keep that stands against it today. Recorded."""
    return ErasureDetail.model_validate(await rights.detail(db, actor, id=id, purpose=purpose))


@router.post(
    "/erasures/{id}/decide",
    summary="办理注销 Decide on an erasure",
    responses=problems(NotFound, StaleVersion, WrongState, rights.OwnRequest),
)
async def decide_erasure(db: Db, actor: Decide, id: uuid.UUID, body: DecideErasure) -> ErasureView:
    """Refused with the reason; granted and done; or granted and held, with what stands against it and until when:
    meanwhile the data are only stored, and erased by themselves once the last duty has ended. Never by who asked."""
    row = await rights.decide(db, actor, id=id, version=body.version, grant=body.grant, reason=body.reason)
    return ErasureView.model_validate(row)
