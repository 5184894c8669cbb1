"""The family's own handbook (家庭手册), and what a couple says about itself."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.citizen.households import CoupleView
from app.api.deps import Body, Db, Listing, Paging, View, example, listing, resident_may
from app.errors import NotFound, problems
from app.services import identity, life_events
from app.services.households import history

router = APIRouter(tags=["家庭手册 handbook"])
Register = Annotated[Actor, resident_may(Permission.HOUSEHOLD_REGISTER)]
Read = Annotated[Actor, resident_may(Permission.HOUSEHOLD_READ)]


class HandbookStep(View):
    model_config = example(
        at="2026-08-03T02:00:00Z",
        kind="moved",
        zh="家庭迁移",
        en="The household moved",
        happened_on="2026-08-01",
        person_id=None,
        name=None,
        note="凤凰北街街道 → 解放西街街道",
        subject_zh=None,
        subject_en=None,
        actor_role="village_worker",
        detail=None,
    )

    at: datetime
    kind: str
    zh: str
    en: str
    happened_on: date | None
    person_id: Annotated[uuid.UUID | None, Field(description="Whom it is about; null: the household")]
    name: str | None
    note: str | None
    subject_zh: Annotated[str | None, Field(description="The category or the service")]
    subject_en: str | None
    actor_role: str | None
    detail: Annotated[dict[str, Any] | None, Field(description="Evidence, old and new values")]


class PlanPregnancy(Body):
    model_config = example(plans_pregnancy=True)

    plans_pregnancy: bool


@router.get(
    "/handbook",
    summary="家庭手册 The own household's handbook",
    response_model=Listing[HandbookStep],
    responses=problems(NotFound, identity.NotBound),
)
async def handbook(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """The whole history in time order. Evidence is shown to whom it is about, and to the parents of small children."""
    after = page.after(datetime.fromisoformat, str)
    rows = await history.own(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.at.isoformat(), row.key))


@router.put(
    "/couple",
    summary="变更生育计划 Say whether a pregnancy is planned",
    responses=problems(identity.NotBound, life_events.NotACouple),
)
async def plan_pregnancy(db: Db, actor: Register, body: PlanPregnancy) -> CoupleView:
    """Either spouse says it for both."""
    row = await life_events.plan_pregnancy(db, actor, plans=body.plans_pregnancy)
    return CoupleView.model_validate(row)
