"""The handbook shows a household its whole history in time order, and nobody more than they may see."""

import ast
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import NotFound
from app.models.audit import AuditEvent
from app.models.follow_ups import FollowUp, FollowUpStatus
from app.models.households import Category, Person, Relation, Sex
from app.models.life_events import LifeEventKind
from app.services import follow_ups, moves
from app.services.follow_ups.outcomes import ResultTold
from app.services.households import history
from app.services.households.steps import steps_of
from app.services.idempotency import Key
from app.settings import ROOT
from tests.explain import Explain
from tests.factories import appointments as given
from tests.factories.families import EAST, TOWN, WEST, belongs, family, happens, newcomer, village_worker
from tests.factories.results import NORMAL_HUSBAND, body, post, with_value


async def read(session: AsyncSession, actor: Actor, id: object, **options: bool) -> list[history.Step]:
    return await history.read(
        session, actor, id=id, after=None, limit=100, purpose="registry_upkeep", **options
    )


async def test_everything_that_happened_is_there_in_time_order(session: AsyncSession) -> None:
    home = await family(session)
    east = await village_worker(session, EAST)
    category = Category(
        id=new_id(), code="five_guarantees", person_id=home.husband.id, valid_from=date(2015, 3, 1),
        verified_by=east.id,
    )  # fmt: skip
    category.evidence = "证书"
    session.add(category)
    attended = await given.attended(session, spouses=home, region_code=EAST)
    attended.appointment.starts_at = clock.now() - timedelta(hours=3)
    told = await post(session, attended, body(
        attended, husband=with_value(NORMAL_HUSBAND, "smoking", "yes"),
        issued_at=(clock.now() - timedelta(hours=2)).isoformat(),
    ))  # fmt: skip
    task = (
        await session.scalars(
            select(FollowUp).filter_by(report_id=told.report_id, person_id=home.wife.id, kind="result_told")
        )
    ).one()
    outcome = ResultTold.model_validate({"kind": "result_told", "told": True, "channel": "home_visit"})
    await follow_ups.complete(session, east, follow_up_id=task.id, version=task.version, outcome=outcome)
    assert task.status is FollowUpStatus.DONE
    await happens(session, east, home.household.id, "birth", child=newcomer())
    officer = await given.worker(session, TOWN)
    plan = moves.ProposeMove(
        household_id=home.household.id, version=home.household.version, to_region_code=WEST, address="西村 5 号",
        moved_on=date(2026, 8, 15),
    )  # fmt: skip
    await moves.propose(session, officer, key=Key(new_id(), b"move"), plan=plan)

    west = await village_worker(session, WEST)
    steps = await read(session, west, home.household.id)
    assert [step.kind for step in steps] == [
        "category_held", "appointment_attended", "report_released", "follow_up_done", "birth", "moved",
    ]  # fmt: skip
    assert [step.name for step in steps] == ["王*军", "李*英", "李*英", "李*英", "王*安", None]
    assert steps[0].subject_zh == "特困供养（五保）"
    assert steps[5].note == "东村 → 西村"
    assert {step.detail is None for step in steps} == {True}
    opened = await read(session, west, home.household.id, opened=True)
    assert opened[4].detail == {"evidence": "证明原件已查验"}
    assert opened[5].detail == {"old": None, "new": "西村 5 号"}
    assert opened[4].name == "王安安"
    actions = select(AuditEvent.action).filter_by(entity="household_handbook", person_id=home.wife.id)
    assert sorted(await session.scalars(actions)) == ["read", "read_unmasked"]
    with pytest.raises(NotFound):
        await read(session, east, home.household.id)


async def test_a_page_follows_the_other(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    for _ in range(3):
        await happens(session, east, home.household.id, "birth", child=newcomer())
    seen: list[str] = []
    after: tuple[datetime, str] | None = None
    for _ in range(3):
        [step] = await history.read(
            session, east, id=home.household.id, after=after, limit=1, purpose="registry_upkeep"
        )
        seen.append(step.key)
        after = step.at, step.key
    assert seen == [step.key for step in await read(session, east, home.household.id)]


async def test_a_resident_reads_the_own_household_with_what_concerns_oneself(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    son = given.person("王小明", Sex.MALE, birth_date=date(2000, 1, 1))
    await belongs(session, home.household, son, Relation.CHILD)
    for person, code in ((home.wife, "five_guarantees"), (son, "left_behind_child")):
        await happens(session, east, home.household.id, "category_gained", code=code, person_id=person.id)
    await happens(session, east, home.household.id, "birth", child=newcomer())
    await happens(session, east, home.household.id, "category_gained", code="minimum_income")
    await given.attended(session, spouses=home, region_code=EAST, service_code=given.FERTILITY)

    wife = await history.own(session, home.wife_actor, after=None, limit=100)
    assert [(step.kind, step.name, step.detail is not None) for step in wife] == [
        ("category_gained", "李秀英", True), ("category_gained", "王小明", False), ("birth", "王安安", True),
        ("category_gained", None, True), ("appointment_attended", "李秀英", False),
    ]  # fmt: skip
    husband = await history.own(session, home.husband_actor, after=None, limit=100)
    assert "appointment_attended" not in [step.kind for step in husband], "her own appointment is hers"
    assert [step.detail is not None for step in husband] == [False, False, True, True]


async def test_who_has_left_the_household_reads_it_no_more(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    leaves = {"person_id": home.wife.id, "to_region_code": EAST, "address": "东村 9 号"}
    await happens(session, east, home.household.id, "divorce", person_id=home.wife.id, leaves=leaves)
    assert [step.kind for step in await history.own(session, home.wife_actor, after=None, limit=10)] == [
        "member_joined"
    ]
    his = await history.own(session, home.husband_actor, after=None, limit=10)
    assert [(step.kind, step.name) for step in his] == [("member_left", "李*英"), ("divorce", "李*英")]
    assert {step.detail is None for step in his} == {True}
    alone = given.person("赵敏", Sex.FEMALE)
    session.add(alone)
    await session.flush()
    stranger = await given.account(session, alone)
    with pytest.raises(NotFound):
        await history.own(session, stranger, after=None, limit=10)


async def test_evidence_about_children_is_their_parents_to_read_while_they_live_there(
    session: AsyncSession,
) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    uncle = given.person("王叔", Sex.MALE, birth_date=date(1980, 1, 1))
    await belongs(session, home.household, uncle, Relation.OTHER)
    await happens(session, east, home.household.id, "birth", child=newcomer())
    leaving = await happens(session, east, home.household.id, "birth", child=newcomer("王乐乐"))

    async def read_by(actor: Actor) -> list[bool]:
        steps = await history.own(session, actor, after=None, limit=50)
        return [step.detail is not None for step in steps if step.kind == "birth"]

    assert await read_by(await given.account(session, uncle)) == [False, False]
    assert await read_by(home.husband_actor) == [True, True]
    assert leaving.person_id is not None
    leaves = {"person_id": home.wife.id, "children": [leaving.person_id]}
    leaves |= {"to_region_code": EAST, "address": "东村 9 号"}
    await happens(session, east, home.household.id, "divorce", person_id=home.wife.id, leaves=leaves)
    assert await read_by(home.husband_actor) == [True, False]


async def test_workers_read_nothing_of_somebody_restricted(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    event = await happens(session, east, home.household.id, "birth", child=newcomer())
    child = await session.get_one(Person, event.person_id)
    child.restricted_at = clock.now()
    await session.flush()
    for opened in (False, True):
        [step] = [one for one in await read(session, east, home.household.id, opened=opened) if one.person_id]
        assert (step.kind, step.name, step.detail) == ("birth", None, None)
    own = await history.own(session, home.wife_actor, after=None, limit=10)
    assert [step.name for step in own if step.kind == "birth"] == ["王安安"], "the family itself does"


async def test_every_table_of_the_handbook_is_read_by_an_index(session: AsyncSession) -> None:
    home, east = await family(session), await village_worker(session, EAST)
    for setting in ("seqscan", "hashjoin", "mergejoin"):
        await session.execute(text(f"SET LOCAL enable_{setting} = off"))
    steps = select((await steps_of(session, east, home.household)).subquery())
    plan = "\n".join(await session.scalars(Explain(steps)))
    small = r"(?! on (category_definition|healthcare_service))"
    assert not re.findall(rf"Seq Scan{small}.*", plan), plan


def noted(tree: ast.Module) -> Iterator[str]:
    """The kinds that calls of `note` name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "note" and len(node.args) >= 4:
            kind = node.args[3]
            if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
                yield kind.value


def test_every_kind_of_step_has_a_wording() -> None:
    files = sorted(Path(ROOT / "app" / "services").rglob("*.py"))
    kinds = {kind for file in files for kind in noted(ast.parse(file.read_text(encoding="utf-8")))}
    computed = {"member_left", "member_joined", "move_declined", "move_withdrawn"}
    computed |= {"region_changed", "family_type_settled"}  # written set-based
    assert kinds >= {"drafted", "verified", "moved", "annulment"}
    missing = (kinds | computed | set(LifeEventKind)) - set(history.wordings())
    assert not missing, f"app/data/handbook.json: {sorted(missing)}"
