"""What may come of a follow-up, one form for each kind: codes and dates, no free text, never foetal sex. What does
not conclude it leaves it in progress, to be tried again."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.errors import Unfit
from app.models.follow_ups import FollowUpKind
from app.services.plain import Body, Day


class ResultTold(Body):
    kind: Literal[FollowUpKind.RESULT_TOLD]
    told: bool
    channel: Literal["in_person", "phone", "wechat", "home_visit"]

    @property
    def concludes(self) -> bool:
        return self.told


class Counselling(Body):
    kind: Literal[FollowUpKind.COUNSELLING]
    attended: bool
    held_on: Day | None = None
    advice: Literal["none", "improve_habits", "treat_first", "monitor", "prenatal_diagnosis", "not_advised"]

    @property
    def concludes(self) -> bool:
        return self.attended


class Referral(Body):
    """High risk: flagged, informed, referred, seen, diagnosed. Who was only told or sent has not been seen yet."""

    kind: Literal[FollowUpKind.REFERRAL]
    reached: Literal["informed", "refused", "referred", "seen", "diagnosed"]
    seen_on: Day | None = None

    @property
    def concludes(self) -> bool:
        return self.reached in ("refused", "seen", "diagnosed")


Yes = Literal["yes", "no", "unknown"]


class EarlyPregnancy(Body):
    """The early visit of the national system, by 12 weeks of gestation. Folic acid: 0 none, 1 from three
    months before, 2 from one or two months before, 3 after the last menstrual period. Results in the national
    system: 1 pregnant, 2 not pregnant, 3 lost to follow-up (失访)."""

    kind: Literal[FollowUpKind.EARLY_PREGNANCY]
    result: Literal["pregnant", "not_pregnant", "lost_to_follow_up"]
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
            raise Unfit("怀孕须填末次月经日期", "a pregnancy needs its last menstrual period")
        return self

    @property
    def concludes(self) -> bool:
        return self.result != "not_pregnant"


class PregnancyOutcome(Body):
    """How the pregnancy ended. Results in the national system: 1 delivered, 2 lost to follow-up (失访), 3 not yet;
    for another outcome, which it states elsewhere, the code goes along. The sex of a foetus or child is not
    asked."""

    kind: Literal[FollowUpKind.OUTCOME]
    result: Literal["delivered", "other_outcome", "lost_to_follow_up", "not_yet"]
    other_outcome: Literal["miscarriage", "stillbirth", "termination", "ectopic", "other"] | None = None
    ended_on: Day | None = None

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if (self.result in ("delivered", "other_outcome")) != (self.ended_on is not None):
            raise Unfit(
                "分娩或其他结局须填日期，其余不填",
                "a delivery or other outcome, and only these, has its date",
            )
        if (self.result == "other_outcome") != (self.other_outcome is not None):
            raise Unfit("其他结局须填类别，其余不填", "another outcome, and only that, says which")
        return self

    @property
    def concludes(self) -> bool:
        return self.result != "not_yet"


Outcome = Annotated[
    ResultTold | Counselling | Referral | EarlyPregnancy | PregnancyOutcome, Field(discriminator="kind")
]
