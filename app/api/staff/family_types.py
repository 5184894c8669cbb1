"""A household's family type, where the worker knows better than the rule."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.deps import Db, Note, Versioned, View, example, staff_may
from app.errors import NotFound, StaleVersion, WrongState, problems
from app.models.households import FamilyType
from app.services.households import type_overrides

router = APIRouter(tags=["家庭 households"])
Verify = Annotated[Actor, staff_may(Permission.HOUSEHOLD_VERIFY)]


class OverrideFamilyType(Versioned):
    model_config = example(version=3, family_type="elderly", reason="孙辈只是寒暑假来住")

    family_type: FamilyType
    reason: Note


class FamilyTypeView(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03", family_type="elderly", by_rule=False, version=4
    )

    id: uuid.UUID
    family_type: FamilyType | None
    by_rule: bool
    version: int


@router.post(
    "/households/{id}/family-type",
    summary="改定家庭类型 Decide otherwise than the rule",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def override_family_type(
    db: Db, actor: Verify, id: uuid.UUID, body: OverrideFamilyType
) -> FamilyTypeView:
    """With a reason, which the family and those who verify can read. The rule leaves the household alone until
    this is taken back."""
    row = await type_overrides.override(
        db, actor, id=id, version=body.version, family_type=body.family_type, reason=body.reason
    )
    return FamilyTypeView.model_validate(row)


@router.delete(
    "/households/{id}/family-type",
    summary="恢复按规则判定家庭类型 Let the rule decide again",
    responses=problems(NotFound, StaleVersion, WrongState),
)
async def clear_family_type(
    db: Db, actor: Verify, id: uuid.UUID, version: Annotated[int, Query(ge=1, le=2**31)]
) -> FamilyTypeView:
    """At once, and at every birthday and life event from then on."""
    row = await type_overrides.clear(db, actor, id=id, version=version)
    return FamilyTypeView.model_validate(row)
