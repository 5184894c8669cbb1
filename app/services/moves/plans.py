"""What a move is to be: who, where to, since when; and who decides about it."""

import uuid
from collections.abc import Collection
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import lies_in
from app.errors import Conflict, Forbidden, Invalid, Unfit
from app.models.households import DocumentKind, Relation
from app.services import regions
from app.services.plain import Body, Day, Line, RegionCode, Text, example, require_past
from app.settings import settings


class MoveUnderWay(Conflict, constraint="uq_household_move_household_id_proposed"):
    zh, en = "该家庭已有待办理的迁移", "A move of this household is already waiting"
    do_zh, do_en = "请先接收、退回或撤回该迁移", "Accept, decline or withdraw that one first"


class OtherSideDecides(Forbidden):
    zh, en = "应由另一方村（社区）办理", "The other village decides about this"
    do_zh, do_en = (
        "发起方可以撤回，由对方接收或退回",
        "Who began it may withdraw it; the other accepts or declines",
    )


class Mover(Body):
    """Who moves, with the relation to the head of the household where they will live."""

    person_id: uuid.UUID
    relation: Relation


class Plan(Body):
    """Where to. A household that exists there is joined, else one is founded at the address."""

    to_region_code: RegionCode
    to_household_id: uuid.UUID | None = None
    address: Annotated[str, Text(200)] | None = None
    moved_on: Day

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.to_household_id is None) == (self.address is None):
            raise Unfit(
                "新地址与接收家庭须填且只填一项", "give either the new address or the household to join"
            )
        return self


class ProposeMove(Plan):
    """By the village that the family leaves. Without `members` the whole household moves."""

    model_config = example(
        household_id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        version=3,
        to_region_code="640104002000",
        address="解放西街 12 号 1 单元 502",
        moved_on="2026-08-15",
    )

    household_id: uuid.UUID
    version: Annotated[int, Field(ge=1, le=2**31, description="The household's, as it was read")]
    members: Annotated[list[Mover], Field(max_length=20)] = []
    head_id: Annotated[
        uuid.UUID | None, Field(description="When the head goes: the new head of those who stay")
    ] = None


class AskForMove(Plan):
    """By the village where somebody has arrived, with the document in hand: what is on file stays unseen until the
    other village has agreed."""

    model_config = example(
        name="王小芳",
        document_kind="resident_id",
        document_number="11010519491231002X",
        to_region_code="640104002000",
        address="解放西街 12 号 1 单元 502",
        moved_on="2026-08-15",
    )

    name: Line
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30)]
    alone: Annotated[bool, Field(description="Only this person, else the whole household")] = False
    relation: Annotated[Relation, Field(description="Alone: to the head there")] = Relation.HEAD


def inside(region_code: str) -> bool:
    """Whether a place is the association's."""
    return lies_in(region_code, settings().region_code)


async def check(db: AsyncSession, plan: Plan, movers: Collection[Mover], *, from_code: str) -> None:
    """Invalid at what cannot be: a place outside the association, a household with two heads or none."""
    await regions.require(db, {"/to_region_code": plan.to_region_code}, lowest_level=regions.TOWN)
    if not inside(plan.to_region_code):
        why = "不在本会辖区内，请办理迁出", "outside the association: record that they moved out"
        raise Invalid.at("/to_region_code", *why)
    require_past("/moved_on", plan.moved_on)
    if not movers and plan.to_household_id is not None:
        why = "请列出并入该家庭的成员及其与户主的关系", "name the members who join it, with their relations"
        raise Invalid.at("/members", *why)
    if not movers and plan.to_region_code == from_code:
        raise Invalid.at("/to_region_code", "该家庭已在此村（社区）", "it lives there already")
    require_one_head(movers, founding=plan.to_household_id is None)


def require_one_head(movers: Collection[Mover], *, founding: bool) -> None:
    heads = sum(mover.relation is Relation.HEAD for mover in movers)
    if movers and heads != int(founding):
        why = (
            "新建家庭须有且只有一位户主，并入的家庭已有户主",
            "a new household has one head, an existing one has its own",
        )
        raise Invalid.at("/members", *why)
    if len({mover.person_id for mover in movers}) < len(movers):
        raise Invalid.at("/members", "成员重复", "somebody is named twice")
