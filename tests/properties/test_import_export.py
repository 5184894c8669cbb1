"""What leaves the registry as a full list comes in again as it was: import(export(x)) = x."""

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import db
from app.access import Actor
from app.db import new_id
from app.models.households import Category, Couple, Household, Membership, Person
from app.models.identity import Role
from app.services.idempotency import Key
from app.services.search import HouseholdCriteria, exports
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.properties.test_import_undo import some_lines

HOMES = HouseholdCriteria(kind="households")


async def registry(session: AsyncSession) -> set[Any]:
    """All that is known, without ids and numbers of ours."""
    session.expire_all()
    people = {person.id: person for person in await session.scalars(select(Person))}
    homes = {home.id: home for home in await session.scalars(select(Household))}
    document = {id: person.document_number for id, person in people.items()}
    found: set[Any] = {
        (
            "person", person.name, person.pinyin, person.sex, person.birth_date, person.document_kind,
            person.document_number, person.phone, person.hukou_region_code, person.hukou_type,
            person.resident_since, person.region_code,
        )
        for person in people.values()
    }  # fmt: skip
    lives: dict[uuid.UUID, list[str]] = {}
    for one in await session.scalars(select(Membership).where(Membership.valid_to.is_(None))):
        lives.setdefault(one.household_id, []).append(f"{one.relation} {document[one.person_id]}")
    for home in homes.values():
        members = tuple(sorted(lives[home.id]))
        found.add(("home", home.region_code, home.local_number, home.address, home.family_type, members))
    for two in await session.scalars(select(Couple)):
        found.add(
            ("couple", document[two.wife_id], document[two.husband_id], two.valid_from, two.plans_pregnancy)
        )
    for held in await session.scalars(select(Category)):
        holder = document[held.person_id] if held.person_id else tuple(sorted(lives[held.household_id]))
        found.add(("category", held.code, held.grade, held.valid_from, held.evidence, holder))
    return found


async def exported(session: AsyncSession, actor: Actor) -> bytes:
    key = Key(new_id(), b"")
    await exports.request(
        session, actor, key=key, criteria=HOMES, unmasked=True, purpose="registry_upkeep"
    )  # fmt: skip
    await session.commit()
    await exports.make(key.id)
    with await exports.download(session, actor, id=key.id) as file:
        return file.read()


@pytest.fixture
async def county(committed: str) -> Actor:
    """Real commits: an export reads one moment in a transaction of its own."""
    async with db.begin() as session:
        return await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR)


@settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=some_lines())
async def test_a_full_list_comes_in_again_as_it_was(lines: list[lists.Cells], county: Actor) -> None:
    async with db.sessions() as session:
        await there_and_back(session, county, lines)


async def there_and_back(session: AsyncSession, county: Actor, lines: list[lists.Cells]) -> None:
    first = await lists.committed(session, county, lines)
    before = await registry(session)
    event(f"people: {sum(one[0] == 'person' for one in before)}")
    if not before:
        return
    content = await exported(session, county)
    assert (await lists.undo(session, county, first))["status"] == "undone"
    assert await registry(session) == set()
    again = await lists.upload(county, content, "导出.xlsx")
    await lists.imports.work(again)
    assert not [why for verdict, why in await lists.verdicts(session, again) if verdict == "refused"]
    await lists.commit(session, county, again)
    after = await registry(session)
    await lists.undo(session, county, again)  # the next example begins with nobody
    assert after == before
