"""What may come of a follow-up, one form for each kind: codes and dates, no free text, never foetal sex."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.models.follow_ups import FollowUpKind
from app.services.plain import Body, Day


class ResultTold(Body):
    kind: Literal[FollowUpKind.RESULT_TOLD]
    told: bool
    channel: Literal["in_person", "phone", "wechat", "home_visit"]


class Counselling(Body):
    kind: Literal[FollowUpKind.COUNSELLING]
    attended: bool
    held_on: Day | None = None
    advice: Literal["none", "improve_habits", "treat_first", "monitor", "prenatal_diagnosis", "not_advised"]


class Referral(Body):
    """High risk: flagged, informed, referred, seen, diagnosed."""

    kind: Literal[FollowUpKind.REFERRAL]
    reached: Literal["informed", "refused", "referred", "seen", "diagnosed"]
    seen_on: Day | None = None


Yes = Literal["yes", "no", "unknown"]


class EarlyPregnancy(Body):
    """The early visit of the national system, by 12 weeks of gestation. Folic acid: 0 none, 1 from three
    months before, 2 from one or two months before, 3 after the last menstrual period."""

    kind: Literal[FollowUpKind.EARLY_PREGNANCY]
    result: Literal["pregnant", "not_pregnant", "lost"]
    last_menstrual_period: Day | None = None
    folic_acid: Annotated[int, Field(ge=0, le=3)] | None = None
    smoking_or_alcohol: Yes | None = None
    harmful_factors: Annotated[
        list[Literal["cat_or_dog", "pesticide", "radiation", "passive_smoke", "other"]], Field(max_length=5)
    ] = Field(default_factory=list)
    illnesses: Annotated[
        list[Literal["bleeding", "fever", "diarrhoea", "pain", "flu", "hepatitis", "other"]],
        Field(max_length=7),
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.result == "pregnant" and self.last_menstrual_period is None:
            raise ValueError("a pregnancy needs its last menstrual period")
        return self


class PregnancyOutcome(Body):
    """How the pregnancy ended. The sex of a foetus or child is not asked."""

    kind: Literal[FollowUpKind.OUTCOME]
    result: Literal["delivered", "lost", "not_yet"]
    delivered_on: Day | None = None

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if (self.result == "delivered") != (self.delivered_on is not None):
            raise ValueError("a delivery, and only a delivery, has its date")
        return self


Outcome = Annotated[
    ResultTold | Counselling | Referral | EarlyPregnancy | PregnancyOutcome, Field(discriminator="kind")
]
