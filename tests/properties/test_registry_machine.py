"""Whatever happens in families, in whatever order: everybody belongs to one household and is counted once.

The services say what is refused; after each step the database is asked whether the registry still holds together.
"""

import asyncio
from collections.abc import Coroutine
from datetime import date
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Integer, cast, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import db
from app.access import Actor
from app.db import new_id
from app.errors import Conflict, Problem, Unexpected, to_problem
from app.models.households import Couple, Household, HouseholdStatus, Membership, Person, Relation, Sex
from app.models.life_events import LifeEvent
from app.models.moves import Move, MoveStatus
from app.services import moves
from app.services.idempotency import Key
from tests.factories import appointments as given
from tests.factories.families import (
    EAST,
    TOWN,
    WEST,
    annulled,
    family,
    happens,
    newcomer,
    single,
    village_worker,
)

Result = TypeVar("Result")
ANY = st.integers(0, 11)  # of those there are, counted round
TODAY = date(2026, 9, 1)


class RegistryMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.counts = [0, 0, 0, 0]
        self.done: list[str] = []
        self.do(self.open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        """One connection whose outer transaction is rolled back; in it three households of two villages."""
        self.engine = create_async_engine(self.url, poolclass=NullPool)
        self.connection = await self.engine.connect()
        await self.connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        async with db.begin() as session:
            await family(session)
            await single(session, "赵强", Sex.MALE)
            await single(session, "孙丽", Sex.FEMALE, WEST)
            self.officer = await given.worker(session, TOWN)
            self.villages = [await village_worker(session, code) for code in (EAST, WEST)]

    def teardown(self) -> None:
        self.do(self.close())
        self.runner.close()

    async def close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None, join_transaction_mode="conditional_savepoint")

    def attempt(self, name: str, step: Any) -> None:
        """Refused by a problem of ours or by a constraint that speaks for one, or done: never in between."""

        async def in_one_transaction() -> None:
            try:
                async with db.begin() as session:
                    await step(session)
            except (Problem, IntegrityError) as refused:
                problem = to_problem(refused)
                assert type(problem) not in {Conflict, Unexpected}, "a refusal with a reason"
                return
            self.done.append(name)

        self.do(in_one_transaction())

    @staticmethod
    async def member(session: AsyncSession, number: int, *relations: Relation) -> Membership | None:
        """One of those who belong to a household now."""
        query = select(Membership).where(Membership.valid_to.is_(None)).order_by(Membership.id)
        rows = [row for row in await session.scalars(query) if not relations or row.relation in relations]
        return rows[number % len(rows)] if rows else None

    @staticmethod
    async def married(session: AsyncSession, number: int) -> Membership | None:
        """One of those who have a spouse."""
        couple = or_(Couple.wife_id == Membership.person_id, Couple.husband_id == Membership.person_id)
        query = select(Membership).join(Couple, couple & Couple.valid_to.is_(None))
        rows = list(await session.scalars(query.where(Membership.valid_to.is_(None)).order_by(Membership.id)))
        return rows[number % len(rows)] if rows else None

    @staticmethod
    async def other(session: AsyncSession, one: Membership, number: int) -> Membership | None:
        """Another of the same household."""
        query = select(Membership).where(
            Membership.household_id == one.household_id,
            Membership.valid_to.is_(None),
            Membership.id != one.id,
        )
        rows = list(await session.scalars(query.order_by(Membership.id)))
        return rows[number % len(rows)] if rows else None

    async def happen(self, session: AsyncSession, kind: str, one: Membership, **event: Any) -> None:
        await happens(session, self.officer, one.household_id, kind, "2026-08-20", **event)

    @rule(number=ANY)
    def birth(self, number: int) -> None:
        async def step(session: AsyncSession) -> None:
            if one := await self.member(session, number):
                await self.happen(session, "birth", one, child=newcomer(born="2026-08-20"))

        self.attempt("birth", step)

    @rule(number=ANY, heir=ANY)
    def death(self, number: int, heir: int) -> None:
        async def step(session: AsyncSession) -> None:
            if one := await self.member(session, number):
                other = await self.other(session, one, heir)
                await self.happen(
                    session, "death", one, person_id=one.person_id, head_id=other and other.person_id
                )

        self.attempt("death", step)

    @rule(number=ANY, spouse=ANY, moves_in=st.booleans(), heir=st.one_of(st.none(), ANY))
    def marriage(self, number: int, spouse: int, moves_in: bool, heir: int | None) -> None:
        async def step(session: AsyncSession) -> None:
            one, two = await self.member(session, number), await self.member(session, spouse)
            if one and two and one.person_id != two.person_id:
                left = None if heir is None else await self.other(session, two, heir)
                await self.happen(
                    session, "marriage", one, person_id=one.person_id, spouse_id=two.person_id,
                    moves_in=moves_in, head_id=left and left.person_id,
                )  # fmt: skip

        self.attempt("marriage", step)

    @rule(number=ANY, leaves=st.booleans(), heir=ANY, region=st.sampled_from([EAST, WEST]))
    def divorce(self, number: int, leaves: bool, heir: int, region: str) -> None:
        async def step(session: AsyncSession) -> None:
            if one := await self.married(session, number):
                other = await self.other(session, one, heir)
                going = {"person_id": one.person_id, "to_region_code": region, "address": "新址"}
                await self.happen(
                    session, "divorce", one, person_id=one.person_id, head_id=other and other.person_id,
                    leaves=going if leaves else None,
                )  # fmt: skip

        self.attempt("divorce", step)

    @rule(number=ANY)
    def head_changes(self, number: int) -> None:
        async def step(session: AsyncSession) -> None:
            if one := await self.member(session, number, Relation.SPOUSE, Relation.CHILD, Relation.OTHER):
                await self.happen(session, "head_changed", one, head_id=one.person_id)

        self.attempt("head_changed", step)

    @rule(number=st.integers(0, 3))
    def annul(self, number: int) -> None:
        async def step(session: AsyncSession) -> None:
            query = select(LifeEvent).where(LifeEvent.kind.in_(["death", "marriage", "divorce"]))
            rows = list(await session.scalars(query.order_by(LifeEvent.recorded_at.desc(), LifeEvent.id)))
            if rows:
                await annulled(session, self.officer, rows[number % len(rows)])

        self.attempt("annul", step)

    def plan(self, row: Household, **changes: Any) -> moves.ProposeMove:
        return moves.ProposeMove.model_validate({
            "household_id": row.id, "version": row.version, "address": "新址", "moved_on": "2026-08-25",
            "to_region_code": WEST if row.region_code == EAST else EAST, **changes,
        })  # fmt: skip

    @rule(number=ANY, at_once=st.booleans())
    def household_moves(self, number: int, at_once: bool) -> None:
        async def step(session: AsyncSession) -> None:
            if one := await self.member(session, number):
                row = await session.get_one(Household, one.household_id)
                await moves.propose(session, self.mover(row, at_once), key=key(), plan=self.plan(row))

        self.attempt("moved", step)

    def mover(self, row: Household, at_once: bool) -> Actor:
        return self.officer if at_once else self.villages[row.region_code == WEST]

    @rule(number=ANY, heir=ANY, into=st.one_of(st.none(), ANY), at_once=st.booleans())
    def member_moves(self, number: int, heir: int, into: int | None, at_once: bool) -> None:
        async def step(session: AsyncSession) -> None:
            one = await self.member(session, number)
            there = None if into is None else await self.member(session, into)
            if one is None:
                return
            row, other = (
                await session.get_one(Household, one.household_id),
                await self.other(session, one, heir),
            )
            going = [{"person_id": one.person_id, "relation": "other" if there else "head"}]
            changes: dict[str, Any] = {"members": going, "head_id": other and other.person_id}
            if there:
                home = await session.get_one(Household, there.household_id)
                changes |= {"to_household_id": home.id, "to_region_code": home.region_code, "address": None}
            plan = self.plan(row, **changes)
            await moves.propose(session, self.mover(row, at_once), key=key(), plan=plan)

        self.attempt("member moved", step)

    @rule(verb=st.sampled_from([moves.accept, moves.accept, moves.withdraw]))
    def decide(self, verb: Any) -> None:
        async def step(session: AsyncSession) -> None:
            query = select(Move).where(Move.status == MoveStatus.PROPOSED).order_by(Move.id).limit(1)
            if move := await session.scalar(query):
                await verb(session, self.officer, id=move.id, version=move.version)

        self.attempt("decided", step)

    @rule(number=ANY)
    def out_or_back(self, number: int) -> None:
        async def step(session: AsyncSession) -> None:
            one = await self.member(session, number)
            if one is None:
                return
            row = await session.get_one(Household, one.household_id)
            common = {"id": row.id, "version": row.version}
            if row.status is HouseholdStatus.ACTIVE:
                await moves.move_out(session, self.officer, **common, left_on=TODAY, to_region_code=None)
            else:
                await moves.come_back(session, self.officer, **common, returned_on=TODAY, address=None)

        self.attempt("out or back", step)

    @invariant()
    def the_registry_holds_together(self) -> None:
        self.do(self.look())

    async def look(self) -> None:
        async with AsyncSession(self.connection, join_transaction_mode="create_savepoint") as session:
            await nothing_is_deleted(session, self.counts)
            await everybody_is_counted_where_they_live(session)
            await households_have_one_head(session)
            await couples_are_couples(session)


def key() -> Key:
    return Key(new_id(), b"machine")


async def nothing_is_deleted(session: AsyncSession, counts: list[int]) -> None:
    models = (Person, Household, Membership, Couple)
    now = (
        await session.execute(
            select(*(select(func.count()).select_from(m).scalar_subquery() for m in models))
        )
    ).one()
    assert all(count >= before for count, before in zip(now, counts, strict=True))
    counts[:] = now


async def everybody_is_counted_where_they_live(session: AsyncSession) -> None:
    """In the region of the active household, and nowhere without one; the dead belong to none."""
    query = (
        select(Person, Household)
        .outerjoin(Membership, (Membership.person_id == Person.id) & Membership.valid_to.is_(None))
        .outerjoin(Household, Household.id == Membership.household_id)
    )
    rows = list(await session.execute(query))
    assert len(rows) == len({person.id for person, _ in rows}), "two active memberships"
    for person, home in rows:
        lives = home is not None and home.status is HouseholdStatus.ACTIVE
        assert person.region_code == (home.region_code if lives else None)
        assert home is None or person.died_on is None
        assert home is None or home.status in {HouseholdStatus.ACTIVE, HouseholdStatus.MOVED_OUT}


async def households_have_one_head(session: AsyncSession) -> None:
    heads = func.coalesce(func.sum(cast(Membership.relation == Relation.HEAD, Integer)), 0)
    query = (
        select(Household.status, heads, func.count(Membership.id))
        .outerjoin(Membership, (Membership.household_id == Household.id) & Membership.valid_to.is_(None))
        .group_by(Household.id, Household.status)
    )
    for status, count, size in await session.execute(query):
        assert (count, size > 0) == ((0, False) if status is HouseholdStatus.CLOSED else (1, True)), status


async def couples_are_couples(session: AsyncSession) -> None:
    """One at a time for each, of a living woman and a living man; the spouse of a head is married to it."""
    active = select(Couple).where(Couple.valid_to.is_(None))
    couples = list(await session.scalars(active))
    people = [id for couple in couples for id in (couple.wife_id, couple.husband_id)]
    assert len(people) == len(set(people))
    dead = select(Person.id).where(Person.id.in_(people), Person.died_on.is_not(None))
    assert list(await session.scalars(dead)) == []
    spouse, head = Membership.__table__.alias("spouse"), Membership.__table__.alias("head")
    unmarried = (
        select(spouse.c.person_id)
        .join(head, (head.c.household_id == spouse.c.household_id) & (head.c.relation == "head"))
        .where(spouse.c.relation == "spouse", spouse.c.valid_to.is_(None), head.c.valid_to.is_(None))
        .where(
            ~select(Couple.id)
            .where(
                Couple.valid_to.is_(None),
                or_(
                    (Couple.wife_id == spouse.c.person_id) & (Couple.husband_id == head.c.person_id),
                    (Couple.husband_id == spouse.c.person_id) & (Couple.wife_id == head.c.person_id),
                ),
            )
            .exists()
        )
    )
    assert list(await session.scalars(unmarried)) == []


def test_the_registry_holds_together_whatever_happens(database: str) -> None:
    RegistryMachine.url = db.driver(database)
    run_state_machine_as_test(
        RegistryMachine,
        settings=settings(
            max_examples=8, stateful_step_count=20, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
