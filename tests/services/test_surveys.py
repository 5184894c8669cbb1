"""Needs surveys: which questions are asked where, what an answer must be, and what the answers add up to."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime

import pytest
import time_machine
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState, from_database
from app.models.audit import AuditEvent
from app.models.handbook import HouseholdEvent
from app.models.households import Household, HouseholdStatus
from app.models.identity import Role
from app.models.surveys import SurveyResponse, SurveyTally, SurveyTemplate
from app.services import reference_data, surveys
from app.services.idempotency import Key
from app.services.regions import RegionOutsideOwn
from app.services.search import statistics
from app.services.surveys import Answer, NewTemplate
from tests.factories import appointments as given

CODE = "family_needs"
TOWN, OTHER_TOWN, NEXT_COUNTY = "640104001000", "640104002000", "640105001000"
COUNTY, PREFECTURE = "640104000000", "640100000000"


def key(id: uuid.UUID | None = None) -> Key:
    return Key(id or new_id(), b"the same")


def answers(**given_to: object) -> list[Answer]:
    """`works=["health"], elders_alone=2, other="…"`."""
    shapes = {list: "choices", int: "number", str: "text"}
    return [
        Answer.model_validate({"question": question, shapes[type(value)]: value})
        for question, value in given_to.items()
    ]


ORDINARY = {"works": ["none"], "contact": ["phone"]}


async def template(session: AsyncSession) -> SurveyTemplate:
    query = select(SurveyTemplate).where(SurveyTemplate.code == CODE, SurveyTemplate.retired_at.is_(None))
    return (await session.scalars(query)).one()


async def answered(session: AsyncSession, actor: Actor, household: Household, **given_to: object):
    return await surveys.answer(
        session, actor, key=key(), household_id=household.id, template_id=(await template(session)).id,
        answers=answers(**given_to or ORDINARY),
    )  # fmt: skip


# What a questionnaire may be


CHOICES = [{"code": "a", "zh": "甲", "en": "A"}, {"code": "b", "zh": "乙", "en": "B"}]


def question(id: str, **changes: object) -> dict[str, object]:
    return {"id": id, "zh": "问题", "en": "Question", "type": "single", "choices": CHOICES, **changes}


def questionnaire(*questions: dict[str, object], code: str = "youth_needs") -> dict[str, object]:
    return {"code": code, "title_zh": "问卷", "title_en": "Survey", "questions": list(questions)}


@pytest.mark.parametrize(
    "questions",
    [
        [question("a"), question("a")],
        [question("a", choices=[])],
        [question("a", choices=CHOICES[:1])],
        [question("a", choices=[CHOICES[0], CHOICES[0]])],
        [question("a", type="number")],
        [question("a", shown_if={"question": "a", "choice": "a"})],
        [question("a", shown_if={"question": "b", "choice": "a"}), question("b")],
        [question("a"), question("b", shown_if={"question": "a", "choice": "c"})],
        [question("Not an id")],
        [],
        [question(f"q{number}") for number in range(61)],
    ],
    ids=[
        "a question twice", "nothing to choose", "one choice", "a choice twice", "a number to choose", "on itself",
        "on a later question", "on a choice there is not", "an id with blanks", "no question", "too many",
    ],
)  # fmt: skip
def test_what_a_questionnaire_may_not_be(questions: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        NewTemplate.model_validate(questionnaire(*questions))


def test_a_question_may_depend_on_an_earlier_one() -> None:
    new = questionnaire(question("a"), question("b", shown_if={"question": "a", "choice": "b"}))
    assert NewTemplate.model_validate(new).questions[1].shown_if is not None


def test_the_questionnaires_that_ship_are_valid_and_cover_the_four_works() -> None:
    files = sorted((reference_data.DATA / "surveys").glob("*.json"))
    shipped = [NewTemplate.model_validate(reference_data.read(f"surveys/{file.name}")) for file in files]
    (needs,) = (one for one in shipped if one.code == CODE)
    (works,) = (one for one in needs.questions if one.id == "works")
    assert {"growth", "livelihood", "health", "ageing"} <= {choice.code for choice in works.choices}


# What an answer must be


@pytest.mark.parametrize(
    ("given_to", "pointers"),
    [
        ({}, ["/answers", "/answers"]),
        ({"works": ["health"], "contact": ["phone"]}, ["/answers"]),
        ({"works": ["none"], "contact": ["phone", "visit"]}, ["/answers/1"]),
        ({"works": ["none"], "contact": ["fax"]}, ["/answers/1"]),
        ({"works": ["none", "none"], "contact": ["phone"]}, ["/answers/0"]),
        ({"works": ["none"], "contact": 3}, ["/answers/1"]),
        ({**ORDINARY, "situation": ["elders_alone"], "elders_alone": 21}, ["/answers/3"]),
        ({**ORDINARY, "situation": ["elders_alone"], "elders_alone": "两位"}, ["/answers/3"]),
        ({**ORDINARY, "elders_alone": 2}, ["/answers/2"]),
        ({**ORDINARY, "health_needs": ["counselling"]}, ["/answers/2"]),
        ({**ORDINARY, "shoe_size": 43}, ["/answers/2/question"]),
        ({**ORDINARY, "other": 1}, ["/answers/2"]),
    ],
    ids=[
        "nothing", "what the choice asks for is missing", "two of one", "an unknown choice", "a choice twice",
        "a number for a choice", "too many elders", "a text for a number", "a number not asked for",
        "a choice not asked for", "an unknown question", "a number for a text",
    ],
)  # fmt: skip
async def test_every_wrong_answer_is_named(session: AsyncSession, given_to, pointers: list[str]) -> None:
    home, worker = (await given.couple(session)).household, await given.worker(session)
    with pytest.raises(Invalid) as refused:
        await surveys.answer(
            session, worker, key=key(), household_id=home.id, template_id=(await template(session)).id,
            answers=answers(**given_to),
        )  # fmt: skip
    assert [wrong["pointer"] for wrong in refused.value.errors or []] == pointers


async def test_a_question_answered_twice_is_named(session: AsyncSession) -> None:
    home, worker = (await given.couple(session)).household, await given.worker(session)
    twice = [*answers(**ORDINARY), *answers(works=["none"])]
    with pytest.raises(Invalid) as refused:
        await surveys.answer(
            session, worker, key=key(), household_id=home.id, template_id=(await template(session)).id,
            answers=twice,
        )  # fmt: skip
    assert [wrong["pointer"] for wrong in refused.value.errors or []] == ["/answers/0"]


# Answering


FULL = {
    "situation": ["elders_alone", "moved_here"], "works": ["livelihood", "ageing"],
    "livelihood_needs": ["loan", "skills"], "loan_yuan": 50000, "ageing_needs": ["meals"], "elders_alone": 2,
    "contact": ["visit"], "other": "老人夜里常摔倒",
}  # fmt: skip


async def test_an_answer_is_kept_with_free_text_sealed_and_leaves_a_step(session: AsyncSession) -> None:
    spouses = await given.couple(session)
    made = await answered(session, spouses.wife_actor, spouses.household, **FULL)
    row = await session.get_one(SurveyResponse, made["id"])
    assert row.answers == {name: value for name, value in FULL.items() if name != "other"}
    assert "摔倒" not in json.dumps(row.answers, ensure_ascii=False)
    assert "摔倒".encode() not in (row.texts_sealed or b"")
    kept = {one["question"]: one["choices"] or one["number"] or one["text"] for one in made["answers"]}
    assert kept == FULL

    steps = select(HouseholdEvent).where(HouseholdEvent.household_id == spouses.household.id)
    (step,) = (await session.scalars(steps)).all()
    assert (step.kind, step.note) == ("survey_answered", f"{CODE} {clock.today().year}")
    files = select(AuditEvent.person_id).where(AuditEvent.action == "survey_answered")
    assert set(await session.scalars(files)) == {spouses.wife.id, spouses.husband.id}


async def test_a_household_answers_once_a_year_whoever_asks(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    await answered(session, worker, spouses.household)
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await answered(session, spouses.wife_actor, spouses.household)
    assert isinstance(from_database(refused.value), surveys.SurveyAnswered)
    with time_machine.travel(datetime(clock.today().year + 1, 3, 1, tzinfo=UTC), tick=False):
        made = await answered(session, worker, spouses.household)
        assert made["year"] == clock.today().year


async def test_the_same_request_again_is_the_same_answer(session: AsyncSession) -> None:
    spouses, asked = await given.couple(session), await template(session)
    once = {
        "key": key(), "household_id": spouses.household.id, "template_id": asked.id, "answers": answers(**ORDINARY),
    }  # fmt: skip
    first = await surveys.answer(session, spouses.wife_actor, **once)
    assert await surveys.answer(session, spouses.wife_actor, **once) == first
    assert await session.scalar(select(func.count()).select_from(SurveyResponse)) == 1


async def test_only_active_households_of_the_own_region_are_asked(session: AsyncSession) -> None:
    spouses, stranger = await given.couple(session), await given.worker(session, NEXT_COUNTY)
    with pytest.raises(NotFound):
        await answered(session, stranger, spouses.household)
    other = await given.couple(session)
    with pytest.raises(NotFound):
        await answered(session, other.wife_actor, spouses.household)
    spouses.household.status = HouseholdStatus.CLOSED
    with pytest.raises(WrongState):
        await answered(session, await given.worker(session), spouses.household)


async def test_answers_change_within_the_year_and_the_counts_with_them(session: AsyncSession) -> None:
    spouses, worker = await given.couple(session), await given.worker(session)
    asked = await template(session)
    made = await answered(session, spouses.wife_actor, spouses.household, **FULL)
    change = {"id": made["id"], "template_id": asked.id, "answers": answers(**ORDINARY)}
    with pytest.raises(StaleVersion):
        await surveys.revise(session, worker, version=made["version"] + 1, **change)
    changed = await surveys.revise(session, worker, version=made["version"], **change)
    assert changed["version"] == made["version"] + 1
    assert {one["question"] for one in changed["answers"]} == set(ORDINARY)
    assert await tallied(session) == await recounted(session)
    stranger = await given.worker(session, NEXT_COUNTY)
    with pytest.raises(NotFound):
        await surveys.revise(session, stranger, version=changed["version"], **change)
    with (
        time_machine.travel(datetime(clock.today().year + 1, 3, 1, tzinfo=UTC), tick=False),
        pytest.raises(surveys.SurveyClosed),
    ):
        await surveys.revise(session, worker, version=changed["version"], **change)


async def test_the_supervisor_reads_choices_but_not_what_was_written(session: AsyncSession) -> None:
    spouses = await given.couple(session)
    await answered(session, spouses.wife_actor, spouses.household, **FULL)
    for role, read in ((Role.VILLAGE_WORKER, True), (Role.SUPERVISOR, False)):
        reader = await given.worker(session, role=role)
        (seen,) = await surveys.asked(session, reader, household_id=spouses.household.id, purpose="audit")
        questions = {one["question"] for one in seen["response"]["answers"]}
        assert ("other" in questions) is read
    reads = select(func.count()).where(AuditEvent.action == "read", AuditEvent.entity == "survey_response")
    assert await session.scalar(reads) == 4


# Which questions are asked where


async def publish(session: AsyncSession, actor: Actor, *questions: dict[str, object], code: str = CODE):
    new = NewTemplate.model_validate(questionnaire(*questions, code=code))
    return await surveys.publish(session, actor, key=key(), new=new)


async def test_a_county_s_own_questionnaire_is_asked_there_and_nowhere_else(session: AsyncSession) -> None:
    county = await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    here, there = await given.couple(session), await given.couple(session, NEXT_COUNTY)
    whole = await template(session)
    own = await publish(session, county, question("works", type="multiple"), question("roads"))
    assert (own.region_code, own.version) == (COUNTY, 1)
    for spouses, expected in ((here, own.id), (there, whole.id)):
        (seen,) = await surveys.asked(session, spouses.wife_actor, purpose="own_file")
        assert seen["template"].id == expected
    answer = {"template_id": whole.id, "answers": answers(**ORDINARY)}
    with pytest.raises(surveys.SurveyReplaced):
        await surveys.answer(session, here.wife_actor, key=key(), **answer)
    made = await surveys.answer(session, there.wife_actor, key=key(), **answer)
    assert made["template_id"] == whole.id


async def test_a_new_version_takes_the_place_of_the_old_and_keeps_its_answers(session: AsyncSession) -> None:
    county = await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    spouses = await given.couple(session)
    first = await publish(session, county, question("likes"), code="likes")
    made = await surveys.answer(
        session, spouses.wife_actor, key=key(), template_id=first.id, answers=answers(likes=["b"])
    )
    second = await publish(
        session,
        county,
        question("likes", choices=[CHOICES[0], {"code": "c", "zh": "丙", "en": "C"}]),
        code="likes",
    )
    assert (first.retired_at is not None, second.retired_at, second.version) == (True, None, 2)
    change = {"id": made["id"], "version": made["version"]}
    with pytest.raises(surveys.SurveyReplaced):
        await surveys.revise(
            session, spouses.wife_actor, template_id=first.id, answers=answers(likes=["a"]), **change
        )
    # What was chosen of the old choices is still counted, under its name.
    found = await surveys.counts(session, county, code="likes", year=None, region_code=None)
    assert [(one["code"], one["households"]) for one in found["questions"][0]["choices"]] == [
        ("a", 0), ("c", 0), ("b", 1),
    ]  # fmt: skip
    changed = await surveys.revise(
        session, spouses.wife_actor, template_id=second.id, answers=answers(likes=["c"]), **change
    )
    assert changed["template_id"] == second.id
    assert await tallied(session) == await recounted(session)


async def test_a_question_keeps_its_type(session: AsyncSession) -> None:
    county = await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)
    with pytest.raises(Invalid) as refused:
        await publish(session, county, question("new"), question("works"))
    assert [wrong["pointer"] for wrong in refused.value.errors or []] == ["/questions/1/type"]
    # Of an older version and of another region too.
    await publish(session, county, question("works", type="multiple"), question("new"))
    await publish(session, county, question("works", type="multiple"))
    elsewhere = await given.worker(session, NEXT_COUNTY, Role.COUNTY_ADMINISTRATOR)
    number = {"id": "new", "zh": "几位？", "en": "How many?", "type": "number"}
    with pytest.raises(Invalid):
        await publish(session, elsewhere, number)


async def test_loading_again_leaves_an_association_s_own_questionnaire(session: AsyncSession) -> None:
    prefecture = await given.worker(session, PREFECTURE, Role.COUNTY_ADMINISTRATOR)
    own = await publish(session, prefecture, question("works", type="multiple"))
    await reference_data.load_surveys(session)
    assert (await template(session)).id == own.id


# What the answers add up to


Tally = dict[tuple[str, int, str, str, str], tuple[int, int]]


async def tallied(session: AsyncSession) -> Tally:
    return {
        (row.code, row.year, row.region_code, row.question, row.choice): (row.households, row.total)
        for row in await session.scalars(select(SurveyTally).execution_options(populate_existing=True))
        if (row.households, row.total) != (0, 0)
    }


async def recounted(session: AsyncSession) -> Tally:
    """From the answers themselves."""
    found: Counter[tuple[str, int, str, str, str]] = Counter()
    totals: Counter[tuple[str, int, str, str, str]] = Counter()
    for row in await session.scalars(select(SurveyResponse)):
        of = (row.code, row.year, row.region_code)
        found[*of, "", ""] += 1
        for name, value in row.answers.items():
            found[*of, name, ""] += 1
            for choice in value if isinstance(value, list) else ():
                found[*of, name, choice] += 1
            totals[*of, name, ""] += value if isinstance(value, int) else 0
    return {place: (number, totals[place]) for place, number in found.items()}


async def test_counts_are_of_the_region_and_all_below_it(session: AsyncSession) -> None:
    officer = await given.worker(session, PREFECTURE)
    homes = {
        place: (await given.couple(session, place)).household for place in (TOWN, OTHER_TOWN, NEXT_COUNTY)
    }
    await answered(session, officer, homes[TOWN], **FULL)
    await answered(session, officer, homes[OTHER_TOWN], **{**FULL, "loan_yuan": 30000})
    await answered(session, officer, homes[NEXT_COUNTY])
    assert await tallied(session) == await recounted(session)

    async def seen(region_code: str) -> tuple[int, int, int, int | None]:
        found = await surveys.counts(session, officer, code=CODE, year=None, region_code=region_code)
        by_id = {one["id"]: one for one in found["questions"]}
        ageing = next(one for one in by_id["works"]["choices"] if one["code"] == "ageing")
        return (
            found["households"],
            by_id["works"]["answered"],
            ageing["households"],
            by_id["loan_yuan"]["total"],
        )

    assert await seen(TOWN) == (1, 1, 1, 50000)
    assert await seen(COUNTY) == (2, 2, 2, 80000)
    assert await seen(PREFECTURE) == (3, 3, 2, 80000)
    other_year = await surveys.counts(
        session, officer, code=CODE, year=clock.today().year - 1, region_code=None
    )
    assert other_year["households"] == 0
    village = await given.worker(session, TOWN, Role.VILLAGE_WORKER)
    with pytest.raises(RegionOutsideOwn):
        await surveys.counts(session, village, code=CODE, year=None, region_code=COUNTY)


async def test_who_moves_is_counted_where_the_last_answer_was_given(session: AsyncSession) -> None:
    officer, spouses = await given.worker(session, PREFECTURE), await given.couple(session)
    made = await answered(session, officer, spouses.household, **FULL)
    spouses.household.region_code = NEXT_COUNTY
    await session.flush()
    assert {place[2] for place in await tallied(session)} == {TOWN}
    await surveys.revise(
        session, officer, id=made["id"], version=made["version"], template_id=(await template(session)).id,
        answers=answers(**ORDINARY),
    )  # fmt: skip
    assert {place[2] for place in await tallied(session)} == {NEXT_COUNTY}
    assert await tallied(session) == await recounted(session)


async def test_households_without_an_answer_this_year_are_due_page_by_page(session: AsyncSession) -> None:
    officer = await given.worker(session, COUNTY)
    homes = [(await given.couple(session)).household for _ in range(4)]
    elsewhere = (await given.couple(session, NEXT_COUNTY)).household
    await answered(session, officer, homes[2])
    with time_machine.travel(datetime(clock.today().year - 1, 6, 1, tzinfo=UTC), tick=False):
        await answered(session, officer, homes[0])  # long ago
    homes[3].status = HouseholdStatus.MOVED_OUT
    await session.flush()

    async def due(after=None, **narrower):
        return await surveys.due(session, officer, code=CODE, after=after, limit=1, **narrower)

    (first,) = await due(region_code=None)
    (second,) = await due((first["region_code"], first["id"]), region_code=TOWN)
    assert [first["id"], second["id"]] == sorted(home.id for home in homes[:2])
    assert await due((second["region_code"], second["id"]), region_code=None) == []
    assert await due(region_code=NEXT_COUNTY) == []
    assert elsewhere.id not in {first["id"], second["id"]}


async def test_progress_is_shown_for_a_region_and_those_below_it(session: AsyncSession) -> None:
    officer = await given.worker(session, COUNTY)
    homes = [(await given.couple(session, place)).household for place in (TOWN, TOWN, OTHER_TOWN)]
    await answered(session, officer, homes[0])
    before = await surveys.progress(session, officer, code=CODE, region_code=None)
    assert (before["households"], before["answered"], before["as_of"]) == (0, 1, None)
    await statistics.recompute(session)
    found = await surveys.progress(session, officer, code=CODE, region_code=None)
    assert (found["region_code"], found["households"], found["answered"]) == (COUNTY, 3, 1)
    below = {one["region_code"]: (one["households"], one["answered"]) for one in found["below"]}
    assert (below[TOWN], below[OTHER_TOWN]) == ((2, 1), (1, 0))
