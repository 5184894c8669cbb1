"""The yearly needs survey of the own household."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import Body, Db, IdempotencyKey, Version, View, example, resident_may
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.services import surveys
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["需求调查 surveys"])
AnswerIt = Annotated[Actor, resident_may(Permission.SURVEY_ANSWER)]
ANSWERS = [
    {"question": "works", "choices": ["health", "ageing"]},
    {"question": "elders_alone", "number": 1},
    {"question": "other", "text": "希望有人定期上门看望老人"},
]
TEMPLATE = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e20"


class AnswerSurvey(Body):
    """`template_id` is the questionnaire that was shown. Text is kept sealed."""

    model_config = example(template_id=TEMPLATE, answers=ANSWERS)

    template_id: uuid.UUID
    answers: Annotated[list[surveys.Answer], Field(max_length=60)]


class ReviseSurvey(AnswerSurvey):
    model_config = example(version=1, template_id=TEMPLATE, answers=ANSWERS)

    version: Version


class GivenAnswer(View):
    question: str
    choices: list[str]
    number: int | None
    text: str | None


class SurveyResponseView(View):
    id: uuid.UUID
    household_id: uuid.UUID
    template_id: uuid.UUID = Field(description="The questionnaire that was answered")
    code: str
    year: int
    answers: list[GivenAnswer]
    answered_at: datetime
    answered_by_role: str
    version: int


class SurveyTemplateView(View):
    id: uuid.UUID
    code: str
    region_code: str
    version: int
    title_zh: str
    title_en: str
    questions: list[surveys.Question]
    published_at: datetime
    retired_at: datetime | None


class AskedSurvey(View):
    """`template`: the questions to answer or change the answers by. `response` is null while none was given."""

    template: SurveyTemplateView
    response: SurveyResponseView | None


@router.get("/surveys", summary="今年的问卷 This year's surveys", responses=problems(NotFound))
async def my_surveys(db: Db, actor: AnswerIt) -> list[AskedSurvey]:
    """Of the own household, with the answers given so far; a handful at most."""
    found = await surveys.asked(db, actor, purpose="own_file")
    return [AskedSurvey.model_validate(one) for one in found]


@router.post(
    "/survey-responses",
    status_code=201,
    summary="填写问卷 Answer a survey",
    responses=problems(
        Invalid, NotFound, WrongState, surveys.SurveyAnswered, surveys.SurveyReplaced, IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def answer_survey(
    db: Db, actor: AnswerIt, key: IdempotencyKey, body: AnswerSurvey
) -> SurveyResponseView:
    """For the whole household, once a year. Every wrong place is named at once."""
    made = await surveys.answer(db, actor, key=key, template_id=body.template_id, answers=body.answers)
    return SurveyResponseView.model_validate(made)


@router.put(
    "/survey-responses/{id}",
    summary="修改问卷回答 Change this year's answers",
    responses=problems(
        Invalid, NotFound, StaleVersion, WrongState, surveys.SurveyClosed, surveys.SurveyReplaced
    ),
)
async def revise_survey(db: Db, actor: AnswerIt, id: uuid.UUID, body: ReviseSurvey) -> SurveyResponseView:
    """All answers are replaced. Those of earlier years stay as they are."""
    made = await surveys.revise(
        db, actor, id=id, version=body.version, template_id=body.template_id, answers=body.answers
    )
    return SurveyResponseView.model_validate(made)
