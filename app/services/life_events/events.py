"""What may happen in a family, one form for each kind. `evidence` says what the worker saw: it is kept sealed."""

import uuid
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.errors import Invalid, Unfit
from app.models.households import DocumentKind, HukouType, Relation, Sex
from app.models.life_events import LifeEventKind
from app.services.households.forms import Grade, Phone
from app.services.plain import Body, Day, Line, Note, RegionCode, Text

HeadId = Annotated[uuid.UUID | None, Field(description="The new head, where the head leaves others behind")]


class Newcomer(Body):
    """Somebody by the own document. A child without an identity number yet has the number of the birth certificate
    or of the household book."""

    name: Line
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30)]
    birth_date: Day | None = None
    sex: Sex | None = None
    hukou_region_code: RegionCode
    hukou_type: HukouType
    resident_since: Day | None = None
    phone: Phone | None = None


class _Event(Body):
    happened_on: Day
    evidence: Note


class Birth(_Event):
    """A child is born to the household: `child` of its head, or `other` (a grandchild)."""

    kind: Literal[LifeEventKind.BIRTH]
    child: Newcomer
    relation: Literal[Relation.CHILD, Relation.OTHER] = Relation.CHILD


class Adoption(_Event):
    """A child joins the household. One that is registered in another comes from there."""

    kind: Literal[LifeEventKind.ADOPTION]
    child: Newcomer
    relation: Literal[Relation.CHILD, Relation.OTHER] = Relation.CHILD
    head_id: HeadId = None


class Joined(_Event):
    """Somebody joins the household by the own document who was not born, adopted or married into it. Who is
    registered in another comes from there."""

    kind: Literal[LifeEventKind.JOINED]
    person: Newcomer
    relation: Literal[Relation.CHILD, Relation.PARENT, Relation.OTHER] = Relation.OTHER
    head_id: HeadId = None


class Death(_Event):
    kind: Literal[LifeEventKind.DEATH]
    person_id: uuid.UUID
    head_id: HeadId = None


class Marriage(_Event):
    """Of a member with somebody of the worker's region (`spouse_id`), or by the own document (`spouse`). With
    `moves_in` the spouse joins this household; who belongs to none always does."""

    kind: Literal[LifeEventKind.MARRIAGE]
    person_id: uuid.UUID
    spouse_id: uuid.UUID | None = None
    spouse: Newcomer | None = None
    plans_pregnancy: bool = False
    moves_in: bool = True
    head_id: HeadId = None

    @model_validator(mode="after")
    def _one_spouse(self) -> Self:
        if (self.spouse_id is None) == (self.spouse is None):
            raise Unfit("spouse 与 spouse_id 须填且只填一项", "give either spouse or spouse_id")
        return self


class Leaving(Body):
    """Who leaves after a divorce, with which children, and where to: a household of their own."""

    person_id: uuid.UUID
    children: Annotated[list[uuid.UUID], Field(max_length=10)] = []
    to_region_code: RegionCode
    address: Annotated[str, Text(200)]


class Divorce(_Event):
    kind: Literal[LifeEventKind.DIVORCE]
    person_id: Annotated[uuid.UUID, Field(description="Either spouse")]
    leaves: Leaving | None = None
    head_id: HeadId = None


class CategoryGained(_Event):
    """Of a member, or of the household where `person_id` is absent."""

    kind: Literal[LifeEventKind.CATEGORY_GAINED]
    code: Line
    person_id: uuid.UUID | None = None
    grade: Grade | None = None


class CategoryEnded(_Event):
    kind: Literal[LifeEventKind.CATEGORY_ENDED]
    category_id: uuid.UUID


class HeadChanged(_Event):
    kind: Literal[LifeEventKind.HEAD_CHANGED]
    head_id: uuid.UUID


Happened = Annotated[
    Birth | Adoption | Joined | Death | Marriage | Divorce | CategoryGained | CategoryEnded | HeadChanged,
    Field(discriminator="kind"),
]


def require_not_before(pointer: str, day: date, earliest: date) -> None:
    if day < earliest:
        raise Invalid.at(
            pointer, "早于出生、结婚或取得该类别的日期", "before birth, marriage or the begin of the category"
        )
