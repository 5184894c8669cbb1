"""Answering a survey: a household once a year, by itself or with a worker at its door; corrected within the year."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, Permission, fetch, fetch_version, own_household, visible
from app.errors import Conflict, NotFound, WrongState
from app.models.households import Household, HouseholdStatus
from app.models.surveys import SurveyResponse, SurveyTemplate
from app.services import audit, idempotency
from app.services.households.handbook import note, people_of
from app.services.idempotency import Key
from app.services.surveys.answers import Answer, as_given, check
from app.services.surveys.counting import tally
from app.services.surveys.templates import in_force, questions_of


class SurveyAnswered(Conflict, constraint="uq_survey_response_household_id_code_year"):
    zh, en = "该家庭今年已答过这份问卷", "This household has answered this survey this year"
    do_zh, do_en = "请打开已有的回答进行修改", "Open the answer there is, and change it"


class SurveyReplaced(Conflict):
    zh, en = "这份问卷已不再使用", "This questionnaire is not in force here"
    do_zh, do_en = "请刷新，按最新的题目作答", "Reload, and answer the questions in force"


class SurveyClosed(Conflict):
    zh, en = "往年的回答不能修改", "Answers of earlier years stay as they are"
    do_zh, do_en = "请填写今年的问卷", "Answer this year's survey"


async def asked(
    db: AsyncSession, actor: Actor, *, household_id: uuid.UUID | None = None, year: int | None = None,
    purpose: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """The surveys of a household in a year, each with its answer if any; this year also those that wait for one. A
    resident's household is the own. Looking is recorded in the members' files; what was written freely is
    for those who take answers."""
    household = await _household(db, actor, household_id)
    this_year = clock.today().year
    answered = select(SurveyResponse, SurveyTemplate).where(
        SurveyTemplate.id == SurveyResponse.template_id,
        SurveyResponse.household_id == household.id,
        SurveyResponse.year == (year or this_year),
        visible(actor, SurveyResponse),
    )
    found = {row.code: (template, row) for row, template in await db.execute(answered)}
    waiting = await in_force(db, household.region_code) if year in {None, this_year} else {}
    people = await people_of(db, household)
    await audit.record(db, actor, "read", "survey_response", household.id, people=people, purpose=purpose)
    codes = sorted({*found, *waiting})
    pairs = [found.get(code) or (waiting[code], None) for code in codes]
    # Who changes an answer answers the questions in force.
    return [
        {"template": waiting.get(template.code, template), "response": row and view(actor, row)}
        for template, row in pairs
    ]


def view(actor: Actor, row: SurveyResponse) -> dict[str, Any]:
    texts = row.texts if actor.may(Permission.SURVEY_ANSWER) else None
    return {
        "id": row.id, "household_id": row.household_id, "template_id": row.template_id, "code": row.code,
        "year": row.year, "answers": as_given(row.answers, texts), "answered_at": row.answered_at,
        "answered_by_role": row.answered_by_role, "version": row.version,
    }  # fmt: skip


async def answer(
    db: AsyncSession, actor: Actor, *, key: Key, household_id: uuid.UUID | None = None,
    template_id: uuid.UUID, answers: list[Answer],
) -> dict[str, Any]:  # fmt: skip
    """This year's answers of an active household, to the questions in force where it lives."""
    household = await _household(db, actor, household_id, lock=True)
    if await idempotency.claim(db, actor, key):
        template = await _asked_here(db, household, template_id)
        row = SurveyResponse(
            id=key.id, household_id=household.id, code=template.code, year=clock.today().year
        )
        _fill(row, actor, household, template, answers)
        db.add(row)
        await db.flush()  # a second answer of the year is refused here, before it is counted
        await tally(db, None, row.__dict__)
        await note(db, actor, household, "survey_answered", f"{row.code} {row.year}")
    return view(actor, await fetch(db, actor, SurveyResponse, key.id))


async def revise(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, template_id: uuid.UUID, answers: list[Answer]
) -> dict[str, Any]:  # fmt: skip
    """Other answers within the same year, in the place of those before."""
    of = select(SurveyResponse.household_id).where(SurveyResponse.id == id, visible(actor, SurveyResponse))
    household = await _household(db, actor, await db.scalar(of) or id, lock=True)
    row = await fetch_version(db, actor, SurveyResponse, id, version)
    if row.year != clock.today().year:
        raise SurveyClosed
    template = await _asked_here(db, household, template_id)
    if template.code != row.code:
        raise SurveyReplaced
    before = {"region_code": row.region_code, "answers": row.answers}
    _fill(row, actor, household, template, answers)
    await db.flush()  # raises the version
    await tally(db, row.__dict__ | before, row.__dict__)
    await note(db, actor, household, "survey_revised", f"{row.code} {row.year}")
    return view(actor, row)


async def _household(
    db: AsyncSession, actor: Actor, id: uuid.UUID | None, *, lock: bool = False
) -> Household:
    """The named household, or the resident's own. To answer, it must be active."""
    id = id or await db.scalar(select(own_household(actor)))
    if id is None:
        raise NotFound
    row = await fetch(db, actor, Household, id, lock=lock)
    if lock and row.status is not HouseholdStatus.ACTIVE:
        raise WrongState(status_now=row.status)
    return row


async def _asked_here(db: AsyncSession, household: Household, template_id: uuid.UUID) -> SurveyTemplate:
    waiting = await in_force(db, household.region_code)
    template = next((one for one in waiting.values() if one.id == template_id), None)
    if template is None:
        raise SurveyReplaced
    return template


def _fill(
    row: SurveyResponse, actor: Actor, household: Household, template: SurveyTemplate, answers: list[Answer]
) -> None:
    row.answers, row.texts = check(questions_of(template), answers)
    row.template_id, row.region_code = template.id, household.region_code
    row.answered_at, row.answered_by_role = clock.now(), actor.role
