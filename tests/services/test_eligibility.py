import json
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pydantic import ValidationError
from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncSession

import app.data
from app import clock
from app.access import Actor
from app.db import Base, new_id
from app.errors import NotFound
from app.models.appointments import Appointment, Clinic, Qualification, Slot
from app.models.audit import AuditEvent
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.households import Couple, Household, Membership, Person
from app.models.identity import ResidentAccount, Role
from app.models.partners import Organization
from app.models.regions import Region
from app.models.rules import RuleKind, RuleVersion
from app.services import eligibility
from app.services.eligibility import Context, NoRuleInForce, NotEligible, parse

COUNTY, ELSEWHERE = "990101000000", "990202000000"
TOWN = "990101100000"
SYSTEM = Actor.system("test")
RULES = Path(app.data.__path__[0]) / "rules"


def body(name: str) -> dict[str, Any]:
    return json.loads((RULES / f"eligibility_{name}.json").read_text(encoding="utf-8"))["body"]


def leaf(fact: str, op: str, value: Any) -> dict[str, Any]:
    return {"fact": fact, "op": op, "value": value, "clause_zh": "条款", "clause_en": "clause"}


def months_ago(months: int) -> date:
    return clock.today() - timedelta(days=31 * months)


class World:
    """Rows written directly, with an answer to every column that a rule does not ask about."""

    def __init__(self, db: AsyncSession) -> None:
        self.db = db
        self.number = 0

    async def add(self, model: type[Base], **values: Any) -> uuid.UUID:
        values.setdefault("id", new_id())
        await self.db.execute(insert(model), [values])
        return values["id"]

    async def regions(self) -> None:
        rows = [(COUNTY, 3, None), (TOWN, 4, COUNTY), (ELSEWHERE, 3, None)]
        await self.db.execute(
            pg_insert(Region)
            .values([
                {"code": code, "level": level, "parent_code": parent, "name": code, "source": "test",
                 "valid_from": date(2026, 1, 1)}
                for code, level, parent in rows
            ])
            .on_conflict_do_nothing()
        )  # fmt: skip

    async def household(self, status: str = "active", region_code: str = TOWN) -> uuid.UUID:
        self.number += 1
        values = {"number": 9_000_000_000 + self.number, "version": 1, "created_at": clock.now()}
        return await self.add(Household, region_code=region_code, status=status, **values)

    async def person(
        self, household: uuid.UUID | None = None, relation: str = "head", **values: Any
    ) -> uuid.UUID:
        household = household or await self.household()
        counted = await self.db.scalar(select(Household.region_code).where(Household.id == household))
        values = {"sex": "female", "birth_date": date(1998, 5, 4), "hukou_region_code": COUNTY} | values
        person = await self.add(
            Person, name="某某", pinyin="mou mou", initials="mm", document_kind="resident_id",
            document_number_sealed=b"", document_index=uuid.uuid4().bytes, created_at=clock.now(), region_code=counted,
            **values,
        )  # fmt: skip
        await self.join(person, household, relation)
        return person

    async def join(self, person: uuid.UUID, household: uuid.UUID, relation: str) -> uuid.UUID:
        return await self.add(
            Membership,
            household_id=household,
            person_id=person,
            relation=relation,
            valid_from=date(2024, 1, 1),
        )

    async def marry(self, wife: uuid.UUID, husband: uuid.UUID, *, plans_pregnancy: bool = True) -> uuid.UUID:
        return await self.add(
            Couple,
            wife_id=wife,
            husband_id=husband,
            plans_pregnancy=plans_pregnancy,
            valid_from=date(2024, 1, 1),
        )

    async def couple(
        self, *, wife: dict[str, Any] | None = None, husband: dict[str, Any] | None = None,
        plans_pregnancy: bool = True,
    ) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:  # fmt: skip
        home = await self.household()
        head = await self.person(home, "head", **{"sex": "male"} | (husband or {}))
        spouse = await self.person(home, "spouse", **(wife or {}))
        return spouse, head, await self.marry(spouse, head, plans_pregnancy=plans_pregnancy)

    async def service(self, name: str, subject: Subject, cycle: Cycle) -> HealthcareService:
        service = HealthcareService(
            id=new_id(), code=f"test-{uuid.uuid4()}", zh="服务", en="Service", preparation_zh="",
            preparation_en="", subject=subject, cycle=cycle, rule_code=f"test-{uuid.uuid4()}",
            region_code=COUNTY, validity_months=6, active=True,
        )  # fmt: skip
        self.db.add(service)
        await self.db.flush()
        if name:
            await self.rule(service, 1, body(name))
        return service

    async def rule(
        self, service: HealthcareService, version: int, rule: dict[str, Any], **period: date
    ) -> uuid.UUID:
        values = {"valid_from": date(2020, 1, 1)} | period
        return await self.add(
            RuleVersion,
            kind=RuleKind.ELIGIBILITY,
            code=service.rule_code,
            version=version,
            body=rule,
            **values,
        )

    async def appointment(
        self, service: HealthcareService, person: uuid.UUID, *, subject: uuid.UUID, cycle: str, status: str
    ) -> uuid.UUID:
        times = {"starts_at": clock.now(), "ends_at": clock.now() + timedelta(hours=1)}
        made = {"created_at": clock.now()}
        hospital = await self.add(
            Organization, name=str(uuid.uuid4()), region_code=COUNTY, algorithm="hmac-sm3", **made
        )
        clinic = await self.add(
            Clinic, organization_id=hospital, region_code=COUNTY, name="", address="", phone="", **made
        )
        slot = await self.add(
            Slot, clinic_id=clinic, service_id=service.id, capacity=1, booked=0, opens_at=clock.now(),
            status="open", **times, **made,
        )  # fmt: skip
        account = await self.add(ResidentAccount, openid=str(uuid.uuid4()), **made)
        return await self.add(
            Appointment, slot_id=slot, clinic_id=clinic, service_id=service.id, subject_id=subject,
            person_id=person, account_id=account, region_code=TOWN, cycle=cycle, code=str(uuid.uuid4()),
            status=status, **times, **made,
        )  # fmt: skip


@pytest.fixture
async def world(session: AsyncSession) -> World:
    world = World(session)
    await world.regions()
    return world


@pytest.fixture
async def check(world: World) -> HealthcareService:
    """The free pre-pregnancy check."""
    return await world.service("pre_pregnancy_check", Subject.COUPLE, Cycle.CHILD)


@pytest.fixture
async def assessment(world: World) -> HealthcareService:
    """The yearly fertility assessment."""
    return await world.service("fertility_assessment", Subject.PERSON, Cycle.YEAR)


async def explain(world: World, service: HealthcareService, person: uuid.UUID, actor: Actor = SYSTEM) -> Any:
    _, rule = await eligibility.rule_in_force(world.db, service)
    return await eligibility.explain(world.db, actor, rule, context=Context.of(service), person_id=person)


async def value(
    world: World, service: HealthcareService, person: uuid.UUID, fact: str, **context: Any
) -> Any:
    given = {
        "service_id": service.id,
        "subject": service.subject,
        "cycle": service.cycle,
        "region_code": COUNTY,
    }
    rule = parse(leaf(fact, "ge", 0))
    explanation = await eligibility.explain(
        world.db,
        SYSTEM,
        rule,
        context=Context(**given, **{"today": clock.today()} | context),
        person_id=person,
    )
    return explanation.criteria[0].value


async def swept(world: World, service: HealthcareService, region_code: str = COUNTY) -> set[uuid.UUID]:
    _, rule = await eligibility.rule_in_force(world.db, service)
    return set(await world.db.scalars(eligibility.sweep(rule, Context.of(service), region_code)))


async def qualifications(world: World, service: HealthcareService) -> dict[uuid.UUID, Qualification]:
    query = select(Qualification).where(Qualification.service_id == service.id)
    rows = await world.db.scalars(query.execution_options(populate_existing=True))
    return {row.person_id: row for row in rows}


def blocking(explanation: Any) -> list[str]:
    return [criterion.fact for criterion in explanation.criteria if criterion.blocking]


async def test_one_local_spouse_makes_both_eligible(world: World, check: HealthcareService) -> None:
    wife, husband, _ = await world.couple(husband={"hukou_region_code": ELSEWHERE})
    for person in (wife, husband):
        explanation = await explain(world, check, person)
        assert explanation.eligible
        facts = {criterion.fact: criterion for criterion in explanation.criteria}
        assert facts["spouses_with_local_hukou"].value == 1
        assert facts["spouses_with_local_hukou"].clause_zh.endswith("夫妻至少一方具有本地户籍")
        assert not facts["months_resident_of_both"].passed
        assert blocking(explanation) == []
    assert await swept(world, check) == await swept(world, check, TOWN) == {wife, husband}
    assert await swept(world, check, ELSEWHERE) == set()


@pytest.mark.parametrize(
    ("wife", "husband", "eligible"), [(7, 7, True), (7, 5, False), (5, 7, False), (7, None, False)]
)
async def test_migrants_need_six_months_of_both(
    world: World, check: HealthcareService, wife: int, husband: int | None, eligible: bool
) -> None:
    def came(months: int | None) -> dict[str, Any]:
        since = months and months_ago(months)
        return {"hukou_region_code": ELSEWHERE, "resident_since": since}

    person, _, _ = await world.couple(wife=came(wife), husband=came(husband))
    explanation = await explain(world, check, person)
    assert explanation.eligible is eligible
    assert blocking(explanation) == (
        [] if eligible else ["spouses_with_local_hukou", "months_resident_of_both"]
    )


async def test_only_what_blocks_is_reported(world: World, check: HealthcareService) -> None:
    migrants = {"hukou_region_code": ELSEWHERE, "resident_since": months_ago(12)}
    wife, _, _ = await world.couple(wife=migrants, husband=migrants, plans_pregnancy=False)
    explanation = await explain(world, check, wife)
    assert blocking(explanation) == ["plans_pregnancy"]
    document = NotEligible(criteria=explanation.failing()).document("zh-CN")
    assert [criterion["fact"] for criterion in document["criteria"]] == ["plans_pregnancy"]
    assert document["status"] == 409
    json.dumps(document)


async def test_a_negated_criterion_blocks_when_it_passes(world: World, check: HealthcareService) -> None:
    await world.rule(check, 2, {"not": leaf("spouses_with_local_hukou", "ge", 1)})
    wife, _, _ = await world.couple()
    assert blocking(await explain(world, check, wife)) == ["spouses_with_local_hukou"]


async def test_an_unverified_household_is_the_first_thing_to_mend(
    world: World, check: HealthcareService
) -> None:
    person = await world.person(await world.household("submitted"))
    explanation = await eligibility.settle(world.db, SYSTEM, service=check, person_id=person)
    assert not explanation.eligible
    assert [criterion.fact for criterion in explanation.criteria] == ["household_verified"]
    assert "核实" in explanation.criteria[0].clause_zh


async def test_a_resident_sees_the_own_household_only(world: World, check: HealthcareService) -> None:
    wife, husband, _ = await world.couple()
    stranger = await world.person()
    account = await world.add(ResidentAccount, openid="o", person_id=wife, created_at=clock.now())
    resident = Actor(Role.RESIDENT, account)
    for person in (wife, husband):
        assert (await explain(world, check, person, resident)).eligible
    with pytest.raises(NotFound):
        await explain(world, check, stranger, resident)
    worker = Actor(Role.VILLAGE_WORKER, uuid.uuid4(), TOWN)
    assert (await explain(world, check, wife, worker)).eligible
    with pytest.raises(NotFound):
        await explain(world, check, wife, Actor(Role.VILLAGE_WORKER, uuid.uuid4(), ELSEWHERE))


@pytest.mark.parametrize(
    ("born", "today", "age"),
    [
        (date(2000, 2, 29), date(2026, 2, 28), 25),
        (date(2000, 2, 29), date(2026, 3, 1), 26),
        (date(2000, 7, 1), date(2026, 6, 30), 25),
        (date(2000, 7, 1), date(2026, 7, 1), 26),
    ],
)
async def test_age_is_full_years(
    world: World, check: HealthcareService, born: date, today: date, age: int
) -> None:
    person = await world.person(birth_date=born)
    assert await value(world, check, person, "age", today=today) == age


@pytest.mark.parametrize(
    ("since", "today", "months"),
    [
        (date(2026, 1, 15), date(2026, 7, 14), 5),
        (date(2026, 1, 15), date(2026, 7, 15), 6),
        (date(2025, 8, 31), date(2026, 2, 28), 5),
        (date(2024, 3, 1), date(2026, 3, 1), 24),
        (None, date(2026, 3, 1), None),
    ],
)
async def test_residence_is_full_months(
    world: World, check: HealthcareService, since: date | None, today: date, months: int | None
) -> None:
    person = await world.person(resident_since=since)
    assert await value(world, check, person, "months_resident", today=today) == months
    assert await value(world, check, person, "months_resident_of_both", today=today) == months


@pytest.mark.parametrize(
    ("status", "counts"), [("booked", 1), ("fulfilled", 1), ("cancelled", 0), ("no_show", 0), ("expired", 0)]
)
async def test_once_per_child(world: World, check: HealthcareService, status: str, counts: int) -> None:
    wife, husband, couple = await world.couple()
    await world.appointment(check, wife, subject=couple, cycle="child-1", status=status)
    for person in (wife, husband):
        assert await value(world, check, person, "services_this_cycle") == counts
        assert blocking(await explain(world, check, person)) == ["services_this_cycle"] * counts
    home = await world.db.scalar(select(Membership.household_id).where(Membership.person_id == wife))
    await world.person(home, "child", birth_date=clock.today())
    for person in (wife, husband):
        assert await value(world, check, person, "children") == 1
        assert (await explain(world, check, person)).eligible


async def test_the_couple_are_not_their_own_children(world: World, check: HealthcareService) -> None:
    home = await world.household()
    await world.person(home, "head", birth_date=date(1970, 1, 1))
    husband = await world.person(home, "child", sex="male")
    wife = await world.person(home, "other")
    await world.marry(wife, husband)
    assert await value(world, check, husband, "children") == 0
    assert await value(world, check, wife, "children") == 0


async def test_settling_qualifies_both_spouses_as_one(world: World, check: HealthcareService) -> None:
    wife, husband, couple = await world.couple()
    await world.rule(check, 9, {"not": leaf("married", "eq", True)}, valid_from=date(2999, 1, 1))
    await world.rule(check, 8, {"not": leaf("married", "eq", True)}, valid_to=clock.today())
    newest = await world.rule(check, 2, body("pre_pregnancy_check"))
    first = await eligibility.settle(world.db, SYSTEM, service=check, person_id=wife)
    before = await qualifications(world, check)
    await eligibility.settle(world.db, SYSTEM, service=check, person_id=husband)
    rows = await qualifications(world, check)
    assert first.eligible
    assert {person: row.id for person, row in rows.items()} == {p: row.id for p, row in before.items()}
    assert {person: row.spouse_id for person, row in rows.items()} == {wife: husband, husband: wife}
    for row in rows.values():
        assert (row.subject_id, row.cycle, row.region_code) == (couple, "child-1", TOWN)
        assert row.rule_version_id == newest
        assert row.facts["spouses_with_local_hukou"] == 2
        assert row.valid_until - row.decided_at == timedelta(days=30)
    decided = await world.db.scalars(
        select(AuditEvent.person_id).where(AuditEvent.action == "decide", AuditEvent.person_id.in_(rows))
    )
    assert sorted(decided) == sorted([wife, wife, husband, husband])


async def test_settling_again_revokes_what_no_longer_holds(world: World, check: HealthcareService) -> None:
    wife, husband, couple = await world.couple()
    await eligibility.settle(world.db, SYSTEM, service=check, person_id=wife)
    await world.db.execute(update(Couple).where(Couple.id == couple).values(plans_pregnancy=False))
    explanation = await eligibility.settle(world.db, SYSTEM, service=check, person_id=husband)
    assert not explanation.eligible
    rows = await qualifications(world, check)
    assert rows.keys() == {wife, husband}
    assert all(row.valid_until <= clock.now() for row in rows.values())


async def test_a_former_spouse_loses_the_qualification(world: World, check: HealthcareService) -> None:
    wife, former, couple = await world.couple()
    await eligibility.settle(world.db, SYSTEM, service=check, person_id=former)
    await world.db.execute(update(Couple).where(Couple.id == couple).values(valid_to=clock.today()))
    husband = await world.person(sex="male")
    remarried = await world.marry(wife, husband)
    await eligibility.settle(world.db, SYSTEM, service=check, person_id=wife)
    rows = await qualifications(world, check)
    assert rows[former].valid_until <= clock.now()
    assert rows[wife].valid_until == rows[husband].valid_until > clock.now()
    assert rows[wife].subject_id == rows[husband].subject_id == remarried


async def test_a_yearly_service_is_for_one_person_and_ends_with_the_year(
    world: World, assessment: HealthcareService
) -> None:
    with time_machine.travel(datetime(2026, 12, 20, 4, tzinfo=UTC)):
        wife, _, _ = await world.couple()
        assert (await eligibility.settle(world.db, SYSTEM, service=assessment, person_id=wife)).eligible
        rows = await qualifications(world, assessment)
        assert rows.keys() == {wife}
        assert (rows[wife].subject_id, rows[wife].spouse_id, rows[wife].cycle) == (wife, None, "2026")
        assert rows[wife].valid_until == datetime(2027, 1, 1, tzinfo=clock.SHANGHAI)
        await world.appointment(assessment, wife, subject=wife, cycle="2026", status="fulfilled")
        assert blocking(await explain(world, assessment, wife)) == ["services_this_cycle"]
    with time_machine.travel(datetime(2026, 12, 31, 16, tzinfo=UTC)):
        assert (await explain(world, assessment, wife)).eligible


async def test_a_couples_service_asks_for_a_couple(world: World, check: HealthcareService) -> None:
    await world.rule(check, 2, leaf("age", "ge", 20))
    single = await world.person()
    explanation = await eligibility.settle(world.db, SYSTEM, service=check, person_id=single)
    assert blocking(explanation) == ["married"]
    assert await qualifications(world, check) == {}


async def test_the_spouse_takes_part_in_a_couples_service_only(
    world: World, check: HealthcareService, assessment: HealthcareService
) -> None:
    wife, husband, _ = await world.couple()
    assert await eligibility.spouse_of(world.db, service=check, person_id=husband) == wife
    assert await eligibility.spouse_of(world.db, service=assessment, person_id=husband) is None
    assert await eligibility.spouse_of(world.db, service=check, person_id=await world.person()) is None


async def test_without_a_rule_nothing_is_decided(world: World) -> None:
    service = await world.service("", Subject.PERSON, Cycle.YEAR)
    with pytest.raises(NoRuleInForce):
        await eligibility.settle(world.db, SYSTEM, service=service, person_id=await world.person())


@pytest.mark.parametrize("path", sorted(RULES.glob("eligibility_*.json")), ids=lambda path: path.stem)
def test_every_rule_file_is_a_rule(path: Path) -> None:
    row = json.loads(path.read_text(encoding="utf-8"))
    assert f"{row['kind']}_{row['code']}" == path.stem
    assert parse(row["body"]).model_dump(mode="json", by_alias=True) == row["body"]


def nested(depth: int) -> dict[str, Any]:
    rule = leaf("age", "ge", 20)
    for _ in range(depth):
        rule = {"not": rule}
    return rule


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (leaf("salary", "ge", 1), "unknown fact 'salary'"),
        (leaf("age", "ge", "20"), "needs a value of type int"),
        (leaf("age", "ge", True), "needs a value of type int"),
        (leaf("age", "ge", 10**12), "needs a value of type int"),
        (leaf("age", "between", 20), "Input should be 'eq'"),
        (leaf("married", "eq", 1), "needs a value of type bool"),
        (leaf("married", "ge", True), "cannot be compared with 'ge'"),
        (leaf("sex", "eq", "woman"), "needs a value of type code of male, female"),
        (leaf("sex", "in", []), "a list of 1 to 50"),
        (leaf("sex", "in", "male"), "a list of 1 to 50"),
        (leaf("birth_date", "ge", "1933-13-01"), "month"),
        (leaf("birth_date", "ge", 19330101), "needs a value of type date"),
        (leaf("age", "ge", 20) | {"note": "x"}, "Extra inputs"),
        ({"all": []}, "at least 1 item"),
        ({"all": [leaf("age", "ge", 20)], "any": []}, "Extra inputs"),
        ({"none": []}, "a rule is one of"),
        ([], "a rule is one of"),
        ({"any": [None]}, "a rule is one of"),
        (nested(8), "at most 8 levels"),
        (nested(400), "at most 8 levels"),
        ({"any": [leaf("age", "ge", 20)] * 100}, "100 nodes"),
    ],
)
def test_what_is_not_a_rule_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse(wrong)


@pytest.mark.parametrize(
    "rule",
    [leaf("sex", "in", ["female"]), leaf("birth_date", "ge", "1933-01-01"), nested(7)],
    ids=["codes", "date", "deep"],
)
def test_a_rule_survives_storage(rule: dict[str, Any]) -> None:
    stored = parse(rule).model_dump(mode="json", by_alias=True)
    assert stored == rule
    assert parse(stored) == parse(rule)


@pytest.mark.parametrize(
    ("rule", "eligible"),
    [(leaf("birth_date", "ge", "1998-05-04"), True), (leaf("sex", "in", ["male"]), False)],
)
async def test_dates_and_codes_compare(
    world: World, check: HealthcareService, rule: Any, eligible: bool
) -> None:
    person = await world.person()
    explanation = await eligibility.explain(
        world.db, SYSTEM, parse(rule), context=Context.of(check), person_id=person
    )
    assert explanation.eligible is eligible
    assert isinstance(explanation.model_dump(mode="json")["criteria"][0]["value"], str)
