"""Questionnaires: what they may hold, publishing one, and which one a region is asked."""

import uuid
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter, model_validator
from sqlalchemy import func, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, at_or_above, fetch, visible
from app.errors import Conflict, Invalid, Unfit, place
from app.models.surveys import SurveyTemplate
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Line, Text, example
from app.settings import settings

Code = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,39}$")]
Whole = Annotated[int, Field(ge=0, le=1_000_000_000)]


class PublishedMeanwhile(
    Conflict,
    constraint=(
        "uq_survey_template_code_region_code_version",
        "uq_survey_template_code_region_code_in_force",
    ),
):
    zh, en = "该问卷刚刚有新版本发布", "A new version of this survey has just been published"
    do_zh, do_en = "请查看最新版本后再发布", "Look at the newest version, then publish yours"


class QuestionType(StrEnum):
    SINGLE = "single"
    MULTIPLE = "multiple"
    NUMBER = "number"
    TEXT = "text"


CHOSEN = (QuestionType.SINGLE, QuestionType.MULTIPLE)


class Choice(Body):
    code: Code
    zh: Line
    en: Line


class ShownIf(Body):
    """An earlier question, and the choice with which this one is asked."""

    question: Code
    choice: Code


class Question(Body):
    id: Code
    zh: Annotated[str, Text(200)]
    en: Annotated[str, Text(300)]
    type: QuestionType
    choices: Annotated[list[Choice], Field(max_length=30)] = []
    required: bool = False
    most: Annotated[Whole, Field(description="The largest number taken")] = 1_000_000
    shown_if: ShownIf | None = None

    @model_validator(mode="after")
    def _choices_fit(self) -> "Question":
        if (len(self.choices) >= 2) != (self.type in CHOSEN):
            raise Unfit(
                "单选、多选题至少两个选项，其他题型没有选项",
                "a question to choose has two choices or more, others have none",
            )
        if len({choice.code for choice in self.choices}) < len(self.choices):
            raise Unfit("选项代码重复", "a choice appears twice")
        return self


class NewTemplate(Body):
    """A questionnaire. Each question is asked in order; one may depend on a choice of an earlier one."""

    model_config = example(
        code="family_needs",
        title_zh="家庭需求调查",
        title_en="Needs of the family",
        questions=[
            {
                "id": "works",
                "zh": "您家最需要哪方面的帮助？",
                "en": "Where does your family need help most?",
                "type": "multiple",
                "required": True,
                "choices": [
                    {"code": "health", "zh": "健康", "en": "Health"},
                    {"code": "ageing", "zh": "养老", "en": "Old age"},
                ],
            },
            {
                "id": "elders_alone",
                "zh": "家中独居老人有几位？",
                "en": "How many elders live alone?",
                "type": "number",
                "most": 20,
                "shown_if": {"question": "works", "choice": "ageing"},
            },
        ],
    )

    code: Code
    title_zh: Line
    title_en: Line
    questions: Annotated[list[Question], Field(min_length=1, max_length=60)]

    @model_validator(mode="after")
    def _questions_follow(self) -> "NewTemplate":
        earlier: dict[str, set[str]] = {}
        for question in self.questions:
            if question.id in earlier:
                raise Unfit("题目编号重复", "a question appears twice")
            if question.shown_if and question.shown_if.choice not in earlier.get(
                question.shown_if.question, ()
            ):
                raise Unfit(
                    "显示条件须是前面题目的选项", "a question can depend on a choice of an earlier one only"
                )
            earlier[question.id] = {choice.code for choice in question.choices}
        return self


_questions = TypeAdapter(list[Question])


def questions_of(template: SurveyTemplate) -> list[Question]:
    return _questions.validate_python(template.questions)


async def publish(db: AsyncSession, actor: Actor, *, key: Key, new: NewTemplate) -> SurveyTemplate:
    """The next version for the publisher's own region, in force at once; the one before is retired. What was
    answered this year stays answered. Counts add up over versions, so that a question keeps its type."""
    if await idempotency.claim(db, actor, key):
        region_code = actor.region_code or settings().region_code
        await _require_same_types(db, new)
        await _retire(db, new.code, region_code)
        db.add(
            SurveyTemplate(
                id=key.id,
                version=await _latest(db, new.code, region_code) + 1,
                region_code=region_code,
                published_at=clock.now(),
                published_by=actor.id,
                **new.model_dump(mode="json"),
            )
        )
        await audit.record(db, actor, "publish", "survey_template", key.id)
    return await fetch(db, actor, SurveyTemplate, key.id)


async def _require_same_types(db: AsyncSession, new: NewTemplate) -> None:
    """In whichever region and version it was asked before. A second publisher of this survey, of any region, waits
    here for the first."""
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtext(new.code))))
    asked = (
        func.jsonb_array_elements(SurveyTemplate.questions)
        .table_valued("question", name="asked")
        .render_derived()
    )
    id, type = asked.c.question.op("->>")("id"), asked.c.question.op("->>")("type")
    before = select(id, type).join_from(SurveyTemplate, asked, true()).where(SurveyTemplate.code == new.code)
    known = {id: QuestionType(type) for id, type in await db.execute(before.distinct())}
    why = (
        "该编号的题目已用于其他题型，请换一个编号",
        "this id is of a question of another type: choose another",
    )
    wrong = [n for n, one in enumerate(new.questions) if known.get(one.id, one.type) is not one.type]
    if wrong:
        raise Invalid(errors=[place(f"/questions/{n}/type", *why) for n in wrong])


async def _retire(db: AsyncSession, code: str, region_code: str) -> None:
    in_force = update(SurveyTemplate).where(
        SurveyTemplate.code == code,
        SurveyTemplate.region_code == region_code,
        SurveyTemplate.retired_at.is_(None),
    )
    await db.execute(
        in_force.values(retired_at=clock.now()).execution_options(synchronize_session="evaluate")
    )


async def _latest(db: AsyncSession, code: str, region_code: str) -> int:
    versions = select(SurveyTemplate.version).where(
        SurveyTemplate.code == code, SurveyTemplate.region_code == region_code
    )
    return await db.scalar(versions.order_by(SurveyTemplate.version.desc()).limit(1)) or 0


async def in_force(db: AsyncSession, region_code: str) -> dict[str, SurveyTemplate]:
    """By code, what a household of this region is asked: of the smallest region around it."""
    query = select(SurveyTemplate).where(
        SurveyTemplate.region_code.in_(at_or_above(region_code)), SurveyTemplate.retired_at.is_(None)
    )
    # Codes are padded with zeros: what lies within sorts after what is around it.
    return {row.code: row for row in await db.scalars(query.order_by(SurveyTemplate.region_code))}


async def listing(
    db: AsyncSession, actor: Actor, *, before: uuid.UUID | None, limit: int
) -> list[SurveyTemplate]:
    """Every version of every region, the newest first: questions are no secret."""
    query = select(SurveyTemplate).where(visible(actor, SurveyTemplate))
    query = newest_first(query, SurveyTemplate.published_at, SurveyTemplate.id, before, limit)
    return list(await db.scalars(query))
