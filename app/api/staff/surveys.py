"""Needs surveys: publishing questions, answering at the doorstep, who is still to be asked, what it adds up to."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.access import Actor, Permission
from app.api.citizen.surveys import (
    AnswerSurvey,
    AskedSurvey,
    ReviseSurvey,
    SurveyResponseView,
    SurveyTemplateView,
)
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    RegionCode,
    View,
    example,
    listing,
    staff_may,
)
from app.errors import Invalid, NotFound, StaleVersion, WrongState, problems
from app.services import surveys
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.regions import RegionOutsideOwn
from app.services.surveys.templates import Code

router = APIRouter(tags=["需求调查 surveys"])
Read = Annotated[Actor, staff_may(Permission.HOUSEHOLD_READ)]
Count = Annotated[Actor, staff_may(Permission.REGISTRY_COUNT)]
AnswerIt = Annotated[Actor, staff_may(Permission.SURVEY_ANSWER)]
Publish = Annotated[Actor, staff_may(Permission.SURVEY_PUBLISH)]
Year = Annotated[int | None, Query(ge=2000, le=2200, description="This year unless told otherwise")]


class DueHousehold(View):
    model_config = example(
        id="0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e03",
        number=100024,
        region_code="640104001000",
        region_name="凤凰北街街道",
    )

    id: uuid.UUID
    number: int
    region_code: str
    region_name: str


class ChoiceCount(View):
    code: str
    zh: str
    en: str
    households: int


class QuestionCount(View):
    """`total`: the sum of the numbers given, null where there is a choice."""

    id: str
    zh: str
    en: str
    type: surveys.QuestionType
    answered: int
    total: int | None
    choices: list[ChoiceCount]


class SurveyCounts(View):
    """`households`: how many answered the survey."""

    code: str
    year: int
    region_code: str
    households: int
    questions: list[QuestionCount]


class RegionProgress(View):
    """`households`: the active ones, as counted at `as_of`; none while never counted."""

    model_config = example(
        region_code="640104001000",
        region_name="凤凰北街街道",
        households=1210,
        answered=804,
        as_of="2026-09-01T02:00:00Z",
    )

    region_code: str
    region_name: str
    households: int
    answered: int
    as_of: datetime | None


class SurveyProgress(RegionProgress):
    """`below`: the same for each division directly below."""

    model_config = example(
        region_code="640104001000",
        region_name="凤凰北街街道",
        households=1210,
        answered=804,
        as_of="2026-09-01T02:00:00Z",
        below=[],
    )

    below: list[RegionProgress]


@router.get("/survey-templates", summary="问卷 Questionnaires", response_model=Listing[SurveyTemplateView])
async def survey_templates(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """Every version, the newest first; one that is retired is asked no more."""
    before = page.after_one(uuid.UUID)
    rows = await surveys.listing(db, actor, before=before, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/survey-templates",
    status_code=201,
    summary="发布问卷 Publish a questionnaire",
    responses=problems(Invalid, surveys.PublishedMeanwhile, IdempotencyKeyReused, IdempotencyKeyTaken),
)
async def publish_survey(
    db: Db, actor: Publish, key: IdempotencyKey, body: surveys.NewTemplate
) -> SurveyTemplateView:
    """For the publisher's region, in the place of the version before. A question keeps its type, because counts
    add up over versions."""
    return SurveyTemplateView.model_validate(await surveys.publish(db, actor, key=key, new=body))


@router.get(
    "/households/{id}/surveys", summary="家庭的问卷 A household's surveys", responses=problems(NotFound)
)
async def household_surveys(
    db: Db, actor: Read, id: uuid.UUID, purpose: Purpose, year: Year = None
) -> list[AskedSurvey]:
    """Of a year, with the answers; a handful at most. The look is recorded in the file of each member. What was
    written freely is shown to those who take answers."""
    found = await surveys.asked(db, actor, household_id=id, year=year, purpose=purpose)
    return [AskedSurvey.model_validate(one) for one in found]


@router.post(
    "/households/{id}/survey-responses",
    status_code=201,
    summary="入户填写问卷 Answer a survey at the doorstep",
    responses=problems(
        Invalid, NotFound, WrongState, surveys.SurveyAnswered, surveys.SurveyReplaced, IdempotencyKeyReused,
        IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def answer_survey_at_the_door(
    db: Db, actor: AnswerIt, id: uuid.UUID, key: IdempotencyKey, body: AnswerSurvey
) -> SurveyResponseView:
    """What the household says, once a year."""
    made = await surveys.answer(
        db, actor, key=key, household_id=id, template_id=body.template_id, answers=body.answers
    )
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


@router.get(
    "/surveys/{code}/due",
    summary="待调查家庭 Households still to be asked this year",
    response_model=Listing[DueHousehold],
)
async def due_surveys(
    db: Db, actor: AnswerIt, page: Paging, code: Code, region_code: RegionCode | None = None
) -> dict[str, Any]:
    """By village. Only active households are asked."""
    after = page.after(str, uuid.UUID)
    rows = await surveys.due(db, actor, code=code, region_code=region_code, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["region_code"], row["id"]))


@router.get(
    "/surveys/{code}/counts",
    summary="需求统计 How many gave which answer",
    responses=problems(Invalid, RegionOutsideOwn),
)
async def survey_counts(
    db: Db, actor: Count, code: Code, year: Year = None, region_code: RegionCode | None = None
) -> SurveyCounts:
    """Over the region and all below it. A household counts where it lived when it answered."""
    found = await surveys.counts(db, actor, code=code, year=year, region_code=region_code)
    return SurveyCounts.model_validate(found)


@router.get(
    "/surveys/{code}/progress",
    summary="调查进度 How far this year's survey is",
    responses=problems(Invalid, RegionOutsideOwn),
)
async def survey_progress(
    db: Db, actor: Count, code: Code, region_code: RegionCode | None = None
) -> SurveyProgress:
    """Of a region, and of each directly below it."""
    return SurveyProgress.model_validate(
        await surveys.progress(db, actor, code=code, region_code=region_code)
    )
