"""Somebody with a document before a worker, who perhaps lives in no household that anybody may see."""

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import NotFound, TooMany
from app.models.audit import AuditEvent
from app.models.households import DocumentKind, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.services import identity, persons
from app.services.documents import Document
from app.services.identity import known_by
from tests.explain import Explain
from tests.factories import appointments as given

NEXT_COUNTY = "640105001000"


def document(person: Person) -> Document:
    return Document(person.document_kind, person.document_number, None, None)


async def nowhere(session: AsyncSession, name: str = "马秀兰") -> Person:
    """Known from an account alone: in no household."""
    person = given.person(name, Sex.FEMALE)
    person.region_code = None
    session.add(person)
    await session.commit()
    return person


async def find(actor, person: Person) -> persons.Found:
    return await persons.find(actor, document=document(person), purpose="verification")


async def test_who_is_in_no_household_is_found_by_the_document(session: AsyncSession) -> None:
    person, worker = await nowhere(session), await given.worker(session, role=Role.VILLAGE_WORKER)
    await given.account(session, person)
    await session.commit()
    found = await find(worker, person)
    assert (found.id, found.name, found.in_household) == (person.id, "马*兰", False)
    assert found.bound_at is not None
    seen = select(AuditEvent).where(AuditEvent.action == "find")
    event = (await session.scalars(seen)).one()
    assert (event.person_id, event.purpose) == (person.id, "verification")


async def test_the_bearers_of_documents_are_held_by_index(session: AsyncSession) -> None:
    """Each verification holds them, among a million people."""
    kept, lost = await nowhere(session), await nowhere(session, "马秀兰儿")
    held = known_by([document(lost)])
    lost.merged_into = kept.id
    await session.flush()
    assert set(await session.scalars(held)) == {kept.id, lost.id}
    for scan in ("seqscan", "indexscan", "indexonlyscan"):  # in a small table any way is as good
        await session.execute(text(f"SET LOCAL enable_{scan} = off"))
    plan = "\n".join(await session.scalars(Explain(held.order_by(Person.id).with_for_update())))
    assert "Seq Scan" not in plan, plan
    assert "Filter" not in plan, plan


async def test_members_are_found_in_the_own_region_only(session: AsyncSession) -> None:
    here, there = await given.couple(session), await given.couple(session, NEXT_COUNTY)
    worker = await given.worker(session)
    await session.commit()
    assert (await find(worker, here.wife)).in_household
    with pytest.raises(NotFound):
        await find(worker, there.wife)


async def test_the_dead_and_the_restricted_are_not_found(session: AsyncSession) -> None:
    dead, restricted = await nowhere(session), await nowhere(session, "马小丽")
    dead.died_on, restricted.restricted_at = clock.today(), clock.now()
    worker = await given.worker(session, role=Role.VILLAGE_WORKER)
    await session.commit()
    for person in (dead, restricted):
        with pytest.raises(NotFound):
            await find(worker, person)


async def test_nobody_tries_out_numbers(session: AsyncSession) -> None:
    person, worker = await nowhere(session), await given.worker(session)
    colleague = await given.worker(session)
    await session.commit()
    for number in range(5):
        unknown = Document(DocumentKind.PASSPORT, f"E1234567{number}", None, None)
        with pytest.raises(NotFound):
            await persons.find(worker, document=unknown, purpose="verification")
    with pytest.raises(TooMany):
        await find(worker, person)
    assert (await find(colleague, person)).id == person.id
    missed = select(func.count()).where(AuditEvent.action == "find_missed")
    assert await session.scalar(missed) == 5


async def release(actor, person: Person, name: str) -> None:
    await persons.release_binding(
        actor, document=document(person), name=name, phone="13900000009", purpose="complaint"
    )


async def bound(session: AsyncSession, person: Person) -> int | None:
    account = select(func.count()).where(ResidentAccount.person_id == person.id)
    return await session.scalar(account)


async def test_a_wrong_binding_is_released_by_name_and_document(session: AsyncSession) -> None:
    person, worker = await nowhere(session), await given.worker(session, role=Role.VILLAGE_WORKER)
    await given.account(session, person)
    await session.commit()
    with pytest.raises(NotFound):
        await release(worker, person, "马秀英")
    assert await bound(session, person) == 1

    await release(worker, person, "马秀兰")
    assert await bound(session, person) == 0
    await session.refresh(person)
    assert person.phone == "13900000009"
    assert person.phone_index == identity.phone_index("13900000009")
    told = select(AuditEvent.action).where(AuditEvent.person_id == person.id).order_by(AuditEvent.id)
    assert list(await session.scalars(told)) == ["find_missed", "set_phone", "release_binding"]


async def test_a_member_elsewhere_is_not_released(session: AsyncSession) -> None:
    there, worker = await given.couple(session, NEXT_COUNTY), await given.worker(session)
    await session.commit()
    with pytest.raises(NotFound):
        await release(worker, there.wife, there.wife.name)
    assert await bound(session, there.wife) == 1


async def test_the_limits_of_binding_and_finding_are_read_from_their_index(session: AsyncSession) -> None:
    """A worker's trail grows for years; the count of a day's misses must not read it all."""
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    for missed in (identity.BIND_REFUSED, persons.MISSED):
        plan = await session.execute(
            text(
                "EXPLAIN SELECT count(*) FROM audit_event WHERE actor_id = gen_random_uuid() "
                f"AND action = {missed} AND at > now()"
            )
        )
        assert "ix_audit_event_actor_id_missed" in "\n".join(plan.scalars())
