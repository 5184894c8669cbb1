"""Eligibility is settled before the opening second, so that a booking then is one statement."""

import uuid
from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any as Anything

from sqlalchemy import literal, or_, select, union_all, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Conflict
from app.models.appointments import Qualification
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.households import Couple, Person
from app.models.rules import RuleKind, RuleVersion
from app.services import audit, rules
from app.services.eligibility.engine import Explanation, Standing, read
from app.services.eligibility.facts import Context, population, spouse_id
from app.services.eligibility.rules import All, Leaf, Rule, parse

VALIDITY = timedelta(days=30)

TOGETHER = Leaf(
    fact="married",
    op="eq",
    value=True,
    clause_zh="本服务由夫妻双方共同参加",
    clause_en="This service is for both spouses together",
)


class NotEligible(Conflict):
    """409; raised with `criteria=explanation.failing()`, what the refusal rests on."""

    zh, en = "不符合该服务的享受条件", "Not eligible for this service"
    do_zh, do_en = "请查看未满足的条件及其依据", "See the criteria not met, and the clauses they rest on"


class NoRuleInForce(Conflict):
    zh, en = "该服务尚未发布享受条件", "No eligibility rule is in force for this service"
    do_zh, do_en = (
        "目前不能申请该服务，请留意通知",
        "The service cannot be had for now; wait for it to be announced",
    )


async def rule_in_force(
    db: AsyncSession, service: HealthcareService, today: date | None = None
) -> tuple[RuleVersion, Rule]:
    """The highest version valid on the date, valid_to excluded. A couple's service asks for a couple too."""
    today = today or clock.today()
    version = await rules.in_force(db, kind=RuleKind.ELIGIBILITY, code=service.rule_code, on=today)
    if version is None:
        raise NoRuleInForce
    rule = parse(version.body)
    return version, _for_couple(rule) if service.subject is Subject.COUPLE else rule


def _for_couple(rule: Rule) -> Rule:
    parts = rule.all if isinstance(rule, All) else (rule,)
    asked = any(isinstance(p, Leaf) and (p.fact, p.op, p.value) == ("married", "eq", True) for p in parts)
    return rule if asked else All(all=(TOGETHER, rule))


async def spouse_of(
    db: AsyncSession, *, service: HealthcareService, person_id: uuid.UUID
) -> uuid.UUID | None:
    """Who takes part beside the person: the current spouse in a couple's service, else no one."""
    query = select(spouse_id(Context.of(service))).select_from(population()).where(Person.id == person_id)
    spouse: uuid.UUID | None = await db.scalar(query)
    return spouse


async def settle(
    db: AsyncSession, actor: Actor, *, service: HealthcareService, person_id: uuid.UUID
) -> Explanation:
    """Decide by the rule in force and keep the decision with the facts it saw, for 30 days, a yearly
    service not past the year. Both spouses of a couple qualify as one; who no longer does loses it now."""
    explanation, _ = await settle_standing(db, actor, service=service, person_id=person_id)
    return explanation


async def settle_standing(
    db: AsyncSession, actor: Actor, *, service: HealthcareService, person_id: uuid.UUID
) -> tuple[Explanation, Standing | None]:
    """`settle`, and for whom it was decided: also of who does not qualify, but lives in a verified household."""
    version, rule = await rule_in_force(db, service)
    context = Context.of(service)
    await _hold(db, person_id)
    explanation, standing = await read(db, actor, rule, context=context, person_id=person_id)
    people = sorted({person_id, (standing and standing.spouse_id) or person_id})
    subject = standing.subject_id if standing and explanation.eligible else None
    now = clock.now()
    await _revoke(db, service, people, now, keep=subject)
    if standing and subject:
        decision = {
            "subject_id": subject,
            "cycle": standing.cycle,
            "region_code": standing.region_code,
            "rule_version_id": version.id,
            "facts": {c["fact"]: c["value"] for c in explanation.model_dump(mode="json")["criteria"]},
            "decided_at": now,
            "valid_until": _valid_until(service, context.today, now),
        }
        await _qualify(db, service, _pairs(person_id, standing), decision)
    await audit.record(db, actor, "decide", "qualification", people=people)
    return explanation, standing


async def _hold(db: AsyncSession, person_id: uuid.UUID) -> None:
    """Person and spouse as they are until this is decided: whoever moves, parts or merges them comes before the look at
    the facts, or after the decision and lets it lapse. The lock of the foreign keys, only earlier."""
    active = Couple.valid_to.is_(None)
    both = union_all(
        select(literal(person_id)),
        select(Couple.husband_id).where(Couple.wife_id == person_id, active),
        select(Couple.wife_id).where(Couple.husband_id == person_id, active),
    )
    held = select(Person.id).where(Person.id.in_(both)).order_by(Person.id)
    await db.execute(held.with_for_update(read=True, key_share=True, of=Person))


def _pairs(person_id: uuid.UUID, standing: Standing) -> list[tuple[uuid.UUID, uuid.UUID | None]]:
    """Who qualifies, each with the other. Sorted: two spouses settled at once lock the rows in one order."""
    if standing.spouse_id is None:
        return [(person_id, None)]
    return sorted([(person_id, standing.spouse_id), (standing.spouse_id, person_id)])


def _valid_until(service: HealthcareService, today: date, now: datetime) -> datetime:
    new_year = datetime(today.year + 1, 1, 1, tzinfo=clock.SHANGHAI)
    return min(now + VALIDITY, new_year) if service.cycle is Cycle.YEAR else now + VALIDITY


async def _revoke(
    db: AsyncSession, service: HealthcareService, people: list[uuid.UUID], now: datetime,
    *, keep: uuid.UUID | None,
) -> None:  # fmt: skip
    """End what these people and those they qualified with hold, but for the subject kept: a former spouse
    must not go on booking for a couple that is no more."""
    theirs = (Qualification.service_id == service.id, Qualification.person_id.in_(people))
    spouses = select(Qualification.spouse_id).where(*theirs)
    holders: Anything = union_all(select(Qualification.person_id).where(*theirs), spouses)
    statement = update(Qualification).where(
        Qualification.service_id == service.id,
        Qualification.person_id.in_(holders),
        Qualification.valid_until > now,
    )
    if keep is not None:
        statement = statement.where(Qualification.subject_id != keep)
    await db.execute(statement.values(valid_until=now).execution_options(synchronize_session=False))


async def lapse(db: AsyncSession, people: Collection[uuid.UUID]) -> None:
    """What these people, and their spouses together with them, qualified for is settled anew before they book: they
    married, parted or moved."""
    theirs = or_(Qualification.person_id.in_(people), Qualification.spouse_id.in_(people))
    statement = update(Qualification).where(theirs, Qualification.valid_until > clock.now())
    await db.execute(statement.values(valid_until=clock.now()).execution_options(synchronize_session=False))


async def _qualify(
    db: AsyncSession, service: HealthcareService, pairs: list[tuple[uuid.UUID, uuid.UUID | None]],
    decision: dict[str, Anything],
) -> None:  # fmt: skip
    rows = [
        {"id": new_id(), "service_id": service.id, "person_id": person, "spouse_id": spouse, **decision}
        for person, spouse in pairs
    ]
    statement = insert(Qualification).values(rows)
    renewed = {name: statement.excluded[name] for name in ("spouse_id", *decision)}
    await db.execute(
        statement.on_conflict_do_update(index_elements=["service_id", "person_id"], set_=renewed)
    )


async def explain_service(
    db: AsyncSession, actor: Actor, *, service: HealthcareService, person_id: uuid.UUID
) -> Explanation:
    """Why or why not, by the rule in force; nothing is kept but who asked, in the files that were read."""
    _, rule = await rule_in_force(db, service)
    explanation, standing = await read(db, actor, rule, context=Context.of(service), person_id=person_id)
    spouse = standing and standing.spouse_id
    await audit.record(db, actor, "explain", "qualification", people=[person_id, spouse])
    return explanation
