"""Attendance certificates of trainings."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response

from app.access import Actor, Permission
from app.api.deps import Db, Listing, Paging, View, example, listing, resident_may
from app.errors import NotFound, problems
from app.services.appointments import certificates

router = APIRouter(tags=["预约 appointments"])
Read = Annotated[Actor, resident_may(Permission.APPOINTMENT_READ)]


class CertificateView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11",
        number="7K2M4FP90132",
        appointment_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e02",
        service_zh="优生优育知识讲座",
        service_en="Lecture on healthy births",
        clinic_name="银川市妇幼保健院优生门诊",
        organization_name="银川市妇幼保健院",
        starts_at="2026-09-01T00:30:00Z",
        issued_at="2026-09-01T02:30:00Z",
        revoked_at=None,
    )

    id: uuid.UUID
    number: str
    appointment_id: uuid.UUID
    service_zh: str
    service_en: str
    clinic_name: str
    organization_name: str
    starts_at: datetime
    issued_at: datetime
    revoked_at: datetime | None


@router.get("/certificates", summary="我的培训证明 My certificates", response_model=Listing[CertificateView])
async def my_certificates(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Of the trainings that one attended, newest first."""
    after = page.after_one(uuid.UUID)
    rows = await certificates.mine(db, actor, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.get(
    "/certificates/{id}/sheet.pdf",
    summary="下载培训证明 A certificate to print",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}}, **problems(NotFound)},
)
async def certificate_sheet(actor: Read, id: uuid.UUID) -> Response:
    """A page that reads the same everywhere: its characters travel inside it."""
    drawn = await certificates.sheet(actor, id=id)
    return Response(drawn, media_type="application/pdf", headers={"Cache-Control": "private, no-store"})
