"""What may come of a follow-up, one form for each kind: codes, numbers and dates, no free text, never foetal sex. What
does not conclude it leaves it in progress, to be tried again. `reached`: somebody spoke with the person."""

from datetime import date, timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.errors import Unfit
from app.models.follow_ups import FollowUpKind
from app.services.plain import Body, Day


class Talk(Body):
    """What does not come about is tried again, unless `ended` says that it never will."""

    ended: Literal["declined", "lost_to_follow_up"] | None = None

    @property
    def took_place(self) -> bool:
        raise NotImplementedError

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.took_place and self.ended is not None:
            raise Unfit("已完成的不填终止原因", "what took place was neither declined nor lost")
        return self

    @property
    def concludes(self) -> bool:
        return self.took_place or self.ended is not None

    @property
    def reached(self) -> bool:
        return self.took_place or self.ended == "declined"


class ResultTold(Talk):
    kind: Literal[FollowUpKind.RESULT_TOLD]
    told: bool
    told_on: Day | None = None
    channel: Literal["in_person", "phone", "wechat", "home_visit"]

    @property
    def took_place(self) -> bool:
        return self.told

    @property
    def happened_on(self) -> date | None:
        return self.told_on


class Counselling(Talk):
    kind: Literal[FollowUpKind.COUNSELLING]
    attended: bool
    held_on: Day | None = None
    advice: Literal["none", "improve_habits", "treat_first", "monitor", "prenatal_diagnosis", "not_advised"]

    @property
    def took_place(self) -> bool:
        return self.attended

    @property
    def happened_on(self) -> date | None:
        return self.held_on


class Recheck(Body):
    """Examined elsewhere, or not to be. A later report of a partner hospital ends a recheck by itself."""

    kind: Literal[FollowUpKind.RECHECK]
    result: Literal["done_elsewhere", "declined", "not_needed", "lost_to_follow_up", "not_yet"]
    checked_on: Day | None = None

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if (self.result == "done_elsewhere") != (self.checked_on is not None):
            raise Unfit("在外复查须填日期，其余不填", "a recheck done elsewhere, and only that, has its date")
        return self

    @property
    def concludes(self) -> bool:
        return self.result != "not_yet"

    @property
    def reached(self) -> bool:
        return self.result not in ("lost_to_follow_up", "not_needed")

    @property
    def happened_on(self) -> date | None:
        return None  # the day of the check is not that of the talk about it


Yes = Literal["yes", "no", "unknown"]
Habit = Literal["none", "occasionally", "often", "unknown"]


class EarlyPregnancy(Body):
    """Record form 16 of the national system, by 12 weeks of gestation. Folic acid: 0 none, 1 from three months before,
    2 from one or two months before, 3 after the last menstrual period. Results in the national system: 1 pregnant,
    2 not pregnant, 3 lost to follow-up (失访); `ended`: pregnant, and ended before this visit."""

    FORM: ClassVar[int] = 16

    kind: Literal[FollowUpKind.EARLY_PREGNANCY]
    result: Literal["pregnant", "not_pregnant", "lost_to_follow_up", "ended"]
    visited_on: Day | None = None
    last_menstrual_period: Day | None = None
    period_certain: bool | None = None
    ended_on: Day | None = None
    folic_acid: Annotated[int, Field(ge=0, le=3)] | None = None
    meat_and_eggs: Yes | None = None
    vegetables: Yes | None = None
    smoking_or_alcohol: Yes | None = None
    wife_smokes: Habit | None = None
    wife_drinks: Habit | None = None
    husband_smokes: Habit | None = None
    husband_drinks: Habit | None = None
    harmful_factors: Annotated[
        list[Literal["cat_or_dog", "pesticide", "radiation", "passive_smoke", "other"]], Field(max_length=5)
    ] = Field(default_factory=list)
    illnesses: Annotated[
        list[Literal["bleeding", "fever", "diarrhoea", "pain", "flu", "hepatitis", "other"]],
        Field(max_length=7),
    ] = Field(default_factory=list)
    medicines: Annotated[
        list[Literal["antibiotic", "hormone", "progesterone", "sedative", "traditional", "other"]],
        Field(max_length=6),
    ] = Field(default_factory=list)
    ultrasound: Literal["not_done", "intrauterine", "ectopic", "no_heartbeat", "unclear"] | None = None
    ultrasound_on: Day | None = None
    diagnosed_by: Literal["county_or_above", "township", "village", "self_test"] | None = None

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if self.result == "pregnant" and self.last_menstrual_period is None:
            raise Unfit("怀孕须填末次月经日期", "a pregnancy needs its last menstrual period")
        if (self.result == "ended") != (self.ended_on is not None):
            raise Unfit(
                "妊娠已终止须填日期，其余不填",
                "a pregnancy that ended, and only that, has the date of its end",
            )
        return self

    @property
    def ends_before_it_began(self) -> bool:
        began, ended = self.last_menstrual_period, self.ended_on
        return began is not None and ended is not None and ended < began

    def is_possible(self, visited_on: date) -> bool:
        """Who is pregnant at a visit has had her last period in the 43 weeks before it."""
        began = self.last_menstrual_period if self.result == "pregnant" else None
        return began is None or timedelta() <= visited_on - began <= timedelta(weeks=43)

    @property
    def concludes(self) -> bool:
        return self.result != "not_pregnant"

    @property
    def reached(self) -> bool:
        return self.result != "lost_to_follow_up"

    @property
    def happened_on(self) -> date | None:
        return self.visited_on


class Child(Body):
    """A child as it was born. The sex is not asked."""

    born_alive: bool
    weight_g: Annotated[int, Field(ge=300, le=8000)] | None = None
    birth_defect: Yes | None = None


class PregnancyOutcome(Body):
    """Record form 17: how the pregnancy ended. Results in the national system: 1 delivered, 2 lost to follow-up
    (失访), 3 not yet; for another outcome, which it states elsewhere, the code goes along. Not yet: `expected_on` moves
    the next visit to after that day. The sex of a foetus or child is not asked."""

    FORM: ClassVar[int] = 17
    #: Days that may lie ahead.
    AHEAD: ClassVar[frozenset[str]] = frozenset({"expected_on"})

    kind: Literal[FollowUpKind.OUTCOME]
    result: Literal["delivered", "other_outcome", "lost_to_follow_up", "not_yet"]
    other_outcome: Literal["miscarriage", "stillbirth", "termination", "ectopic", "other"] | None = None
    ended_on: Day | None = None
    expected_on: Day | None = None
    visited_on: Day | None = None
    gestation_weeks: Annotated[int, Field(ge=4, le=45)] | None = None
    place: Literal["county_or_above", "township", "private", "home", "other"] | None = None
    way: Literal["vaginal", "assisted", "caesarean"] | None = None
    children: Annotated[list[Child], Field(max_length=5)] = Field(default_factory=list)
    mother: Literal["well", "in_treatment", "died", "unknown"] | None = None

    @model_validator(mode="after")
    def _dated(self) -> Self:
        if (self.result in ("delivered", "other_outcome")) != (self.ended_on is not None):
            raise Unfit(
                "分娩或其他结局须填日期，其余不填",
                "a delivery or other outcome, and only these, has its date",
            )
        if (self.result == "other_outcome") != (self.other_outcome is not None):
            raise Unfit("其他结局须填类别，其余不填", "another outcome, and only that, says which")
        if self.result != "not_yet" and self.expected_on is not None:
            raise Unfit("仅未分娩时填预产期", "only who has not delivered yet has an expected day")
        if self.result != "delivered" and (self.children or self.way):
            raise Unfit("仅分娩时填新生儿和分娩方式", "only a delivery has children and a way")
        return self

    @property
    def concludes(self) -> bool:
        return self.result != "not_yet"

    @property
    def reached(self) -> bool:
        return self.result != "lost_to_follow_up"

    @property
    def happened_on(self) -> date | None:
        return self.visited_on


Outcome = Annotated[
    ResultTold | Counselling | Recheck | EarlyPregnancy | PregnancyOutcome, Field(discriminator="kind")
]
