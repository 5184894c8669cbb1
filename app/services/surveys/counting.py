"""What the answers of a region add up to, whose answer is still to come, and how far a region is."""

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, at_or_above, lies_in, visible, within
from app.models.households import Household, HouseholdStatus
from app.models.regions import Region
from app.models.surveys import SurveyResponse, SurveyTally, SurveyTemplate
from app.services import regions
from app.services.pages import newest_first
from app.services.search import statistics
from app.services.surveys.templates import CHOSEN, Question, QuestionType, questions_of

Place = tuple[str, int, str, str, str]
KEY = [column.name for column in SurveyTally.__table__.primary_key]


async def tally(db: AsyncSession, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """Count a response once: what it adds now, less what it added before. In one order, so that two answers of a
    village wait for each other and do not deadlock."""
    households, totals = Counter[Place](), Counter[Place]()
    for response, sign in ((before, -1), (after, 1)):
        for place, number in _counted(response) if response else ():
            households[place] += sign
            totals[place] += sign * number
    rows = [
        {**dict(zip(KEY, place, strict=True)), "households": households[place], "total": totals[place]}
        for place in sorted(households)
        if households[place] or totals[place]
    ]
    if rows:
        statement = insert(SurveyTally).values(rows)
        added = {
            "households": SurveyTally.households + statement.excluded.households,
            "total": SurveyTally.total + statement.excluded.total,
        }
        await db.execute(statement.on_conflict_do_update(index_elements=KEY, set_=added))


def _counted(response: Mapping[str, Any]) -> list[tuple[Place, int]]:
    """Every row that a response is counted in, with the number it gives."""
    code, year, region = response["code"], response["year"], response["region_code"]
    counted = [((code, year, region, "", ""), 0)]
    for question, value in response["answers"].items():
        chosen = value if isinstance(value, list) else []
        counted.append(((code, year, region, question, ""), 0 if chosen else value))
        counted += [((code, year, region, question, choice), 0) for choice in chosen]
    return counted


async def due(
    db: AsyncSession, actor: Actor, *, code: str, region_code: str | None, after: tuple[str, uuid.UUID] | None,
    limit: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Active households of the region without an answer this year, by village."""
    answered = exists().where(
        SurveyResponse.household_id == Household.id,
        SurveyResponse.code == code,
        SurveyResponse.year == clock.today().year,
    )
    query = (
        select(Household.id, Household.number, Household.region_code, Region.name.label("region_name"))
        .join(Region, Region.code == Household.region_code)
        .where(visible(actor, Household), Household.status == HouseholdStatus.ACTIVE, ~answered)
        .order_by(Household.region_code, Household.id)
        .limit(limit)
    )
    if region_code is not None:
        query = query.where(within(Household.region_code, region_code))
    if after is not None:
        query = query.where(func.row(Household.region_code, Household.id) > func.row(*after))
    return [dict(row) for row in (await db.execute(query)).mappings()]


async def counts(
    db: AsyncSession, actor: Actor, *, code: str, year: int | None, region_code: str | None
) -> dict[str, Any]:
    """How many households gave which answer, over the region and all below it, in a year. In the words of the
    newest questionnaire; a household counts where it lived when it answered."""
    region_code, year = region_code or actor.region_code, year or clock.today().year
    await regions.require_own_region(db, actor, region_code)
    query = (
        select(
            SurveyTally.question, SurveyTally.choice, func.sum(SurveyTally.households),
            func.sum(SurveyTally.total),
        )
        .where(
            SurveyTally.code == code, SurveyTally.year == year, within(SurveyTally.region_code, region_code)
        )
        .group_by(SurveyTally.question, SurveyTally.choice)
    )  # fmt: skip
    found = {(question, choice): (n, int(total)) for question, choice, n, total in await db.execute(query)}
    return {
        "code": code, "year": year, "region_code": region_code, "households": _many(found, "", ""),
        "questions": [
            _question(one, found)
            for one in await _asked_in(db, code, region_code)
            if one.type is not QuestionType.TEXT
        ],
    }  # fmt: skip


def _many(found: dict[tuple[str, str], tuple[Any, int]], question: str, choice: str) -> int:
    return int(found.get((question, choice), (0, 0))[0])


def _question(one: Question, found: dict[tuple[str, str], tuple[Any, int]]) -> dict[str, Any]:
    choices = [
        {
            "code": choice.code,
            "zh": choice.zh,
            "en": choice.en,
            "households": _many(found, one.id, choice.code),
        }
        for choice in one.choices
    ]
    total = None if one.type in CHOSEN else found.get((one.id, ""), (0, 0))[1]
    return {
        "id": one.id, "zh": one.zh, "en": one.en, "type": one.type, "answered": _many(found, one.id, ""),
        "total": total, "choices": choices,
    }  # fmt: skip


async def progress(db: AsyncSession, actor: Actor, *, code: str, region_code: str | None) -> dict[str, Any]:
    """How many of the active households have answered this year, in the region and in each directly below it. The
    households are those of the last statistics."""
    region_code = region_code or actor.region_code
    places = await statistics.of_region(db, actor, region_code)
    query = select(SurveyTally.region_code, SurveyTally.households).where(
        SurveyTally.code == code, SurveyTally.year == clock.today().year, SurveyTally.question == "",
        within(SurveyTally.region_code, region_code),
    )  # fmt: skip
    answered = (await db.execute(query)).all()
    rows = [
        {
            "region_code": one["region_code"], "region_name": one["region_name"],
            "households": one["figures"].get("households", 0), "as_of": one["as_of"],
            "answered": sum(number for place, number in answered if lies_in(place, one["region_code"])),
        }
        for one in places
    ]  # fmt: skip
    return {**rows[0], "below": rows[1:]}


async def _asked_in(db: AsyncSession, code: str, region_code: str) -> list[Question]:
    """What is or was asked in, around or within the region: each question in its newest words, with every choice
    that it ever had."""
    around = or_(
        SurveyTemplate.region_code.in_(at_or_above(region_code)),
        within(SurveyTemplate.region_code, region_code),
    )
    query = select(SurveyTemplate).where(SurveyTemplate.code == code, around)
    asked: dict[str, Question] = {}
    newest = newest_first(query, SurveyTemplate.published_at, SurveyTemplate.id, None, 50)
    for template in await db.scalars(newest):
        for question in questions_of(template):
            latest = asked.setdefault(question.id, question)
            known = {choice.code for choice in latest.choices}
            gone = [choice for choice in question.choices if choice.code not in known]
            asked[question.id] = latest.model_copy(update={"choices": [*latest.choices, *gone]})
    return list(asked.values())
