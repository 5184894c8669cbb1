"""Clinics of the region."""

from typing import Annotated

from fastapi import APIRouter

from app.access import Actor, Permission
from app.api.deps import Db, IdempotencyKey, staff_may
from app.api.slots import ClinicView
from app.errors import Forbidden, NotFound, problems
from app.services.appointments import slots

router = APIRouter(tags=["预约 appointments"])


@router.post(
    "/clinics", status_code=201, summary="开设服务点 Open a clinic", responses=problems(NotFound, Forbidden)
)
async def open_clinic(
    db: Db,
    actor: Annotated[Actor, staff_may(Permission.CLINIC_OPEN)],
    key: IdempotencyKey,
    body: slots.NewClinic,
) -> ClinicView:
    return ClinicView.model_validate(await slots.open_clinic(db, actor, key=key, new=body))
