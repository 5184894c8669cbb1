"""A hospital tries its signature."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter

from app import clock
from app.access import Actor, Permission
from app.api.deps import Db, View, partner_may
from app.errors import problems
from app.models.partners import Algorithm
from app.services import partners

router = APIRouter(tags=["身份 identity"])


class Caller(View):
    id: uuid.UUID
    name: str
    region_code: str
    algorithm: Algorithm


class Ping(View):
    organization: Caller
    time: datetime


@router.get(
    "/ping",
    summary="验证签名 Test a signature",
    responses=problems(partners.SignatureRefused, partners.ReplayedRequest),
)
async def ping(db: Db, actor: Annotated[Actor, partner_may(Permission.SLOT_READ)]) -> Ping:
    """Answers who signed, and our time, to set the clock by."""
    organization = await partners.own(db, actor)
    return Ping(organization=Caller.model_validate(organization), time=clock.now())
