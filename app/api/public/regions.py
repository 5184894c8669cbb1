"""Administrative divisions, for pickers and addresses."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.api.deps import Day, Db, RegionCode, View, example
from app.errors import NotFound, problems
from app.services import regions

router = APIRouter(tags=["行政区划 regions"])
COUNTRY = "000000000000"


class RegionView(View):
    model_config = example(code="640104001000", level=4, parent_code="640104000000", name="凤凰北街街道")

    code: str
    level: int
    parent_code: str | None
    name: str


class RegionDetail(RegionView):
    model_config = example(
        code="640104001000",
        level=4,
        parent_code="640104000000",
        name="凤凰北街街道",
        valid_from="2025-12-31",
        valid_to="2027-01-01",
        successors=["640104099000"],
    )

    valid_from: date
    valid_to: date | None = Field(description="The day on which it ended; it is named in older papers")
    successors: list[str] = Field(description="The codes of what took its place, several after a split")


@router.get("/regions", summary="下级行政区划 Divisions directly below")
async def list_regions(db: Db, parent: Annotated[RegionCode, Query()] = COUNTRY) -> list[RegionView]:
    """Without `parent`: the provinces. Levels are skipped in places, so follow what comes back."""
    return [RegionView.model_validate(row) for row in await regions.children(db, parent)]


@router.get("/regions/{code}", summary="行政区划 A division", responses=problems(NotFound))
async def region(
    db: Db,
    code: RegionCode,
    on: Annotated[Day | None, Query(description="Named as it was on that day")] = None,
) -> RegionDetail:
    """Current or ended."""
    row = await regions.get(db, code)
    known = {name: getattr(row, name) for name in RegionDetail.model_fields if name != "successors"}
    if on is not None:
        known["name"] = await regions.name_on(db, code, on)
    return RegionDetail(**known, successors=await regions.successors(db, code))
