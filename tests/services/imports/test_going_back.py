"""How long an import can be committed and undone, what half a commit leaves, what stands in the way of an undo."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import WrongState
from app.models.handbook import HouseholdEvent
from app.models.households import Couple, FamilyType, Household, Membership, Person, Relation
from app.models.imports import KEPT, ImportBatch, ImportRow, ImportStatus
from app.services import imports
from app.services.households import family_types
from app.services.imports import batches, committing
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.factories.imports import family, known_person, line, number_of


@pytest.fixture
async def officer(session: AsyncSession) -> Actor:
    actor = await made.worker(session, made.REGION)
    await session.commit()
    return actor


async def aged(session: AsyncSession, by: timedelta = KEPT + timedelta(days=1)) -> None:
    await session.execute(
        update(ImportBatch).values(
            created_at=ImportBatch.created_at - by, committed_at=ImportBatch.committed_at - by
        )
    )
    await session.commit()


async def purged(session: AsyncSession) -> None:
    await imports.purge(session)
    await session.commit()


async def test_what_is_too_old_is_not_undone(session: AsyncSession, officer: Actor) -> None:
    id = await lists.committed(session, officer, family("1"))
    await aged(session)
    with pytest.raises(imports.ImportTooOld):
        await lists.undo(session, officer, id)
    await session.rollback()
    await purged(session)
    assert await lists.rows_of(session, id) == []
    with pytest.raises(imports.ImportTooOld):
        await lists.undo(session, officer, id)
    await session.rollback()
    assert await number_of(session, Person) == 3


async def test_a_list_that_nobody_committed_in_time_is_given_up(
    session: AsyncSession, officer: Actor
) -> None:
    id = await lists.checked(officer, family("1"))
    await purged(session)
    assert len(await lists.rows_of(session, id)) == 3, "not before its time"
    await aged(session)
    with pytest.raises(imports.ImportTooOld):
        await lists.commit(session, officer, id)
    await session.rollback()
    await purged(session)
    shown = await imports.detail(session, officer, id=id)
    assert shown["status"] is ImportStatus.DISCARDED
    assert await lists.rows_of(session, id) == []


async def half_committed(session: AsyncSession, officer: Actor, monkeypatch: pytest.MonkeyPatch) -> uuid.UUID:
    """The second chunk fails again and again."""
    monkeypatch.setattr(committing, "CHUNK", 3)
    id = await lists.checked(officer, family("1") + family("2") + family("3"))
    batch = await lists.batch_of(session, id)
    await imports.commit(session, officer, id=id, version=batch.version)
    await session.commit()
    insert, chunks = committing._insert, 0

    async def poisoned(*given: Any) -> int:
        nonlocal chunks
        chunks += 1
        if chunks > 1:
            raise RuntimeError
        return await insert(*given)

    with monkeypatch.context() as patched:
        patched.setattr(committing, "_insert", poisoned)
        for _ in range(batches.ATTEMPTS + 2):
            try:
                await imports.work(id)
            except RuntimeError:
                continue
    await session.commit()
    assert (await lists.batch_of(session, id)).status is ImportStatus.CHECKED
    assert 0 < await number_of(session, Household) < 3
    return id


async def test_half_a_commit_is_undone(
    session: AsyncSession, officer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await half_committed(session, officer, monkeypatch)
    await aged(session)
    await purged(session)
    assert len(await lists.rows_of(session, id)) == 9, "they say what there is to undo"
    with pytest.raises(WrongState):
        await imports.discard(session, officer, id=id, version=(await lists.batch_of(session, id)).version)
    shown = await lists.undo(session, officer, id)
    assert shown["status"] is ImportStatus.UNDONE
    assert await number_of(session, Household) == await number_of(session, Person) == 0


async def test_half_a_commit_goes_on(
    session: AsyncSession, officer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await half_committed(session, officer, monkeypatch)
    shown = await lists.commit(session, officer, id)
    assert (shown["status"], shown["rows_done"]) == (ImportStatus.COMMITTED, 9)
    assert await number_of(session, Household) == 3


async def test_half_a_commit_that_is_in_use_stays_half(
    session: AsyncSession, officer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await half_committed(session, officer, monkeypatch)
    batch = await lists.batch_of(session, id)
    await imports.undo_all(session, officer, id=id, version=batch.version)
    await session.execute(update(Person).values(version=2))
    await session.commit()
    await imports.work(id)
    shown = await imports.detail(session, officer, id=id)
    assert (shown["status"], shown["problem"][0]["kind"]) == (ImportStatus.CHECKED, "person")


async def test_of_a_long_list_the_job_says_what_depends(
    session: AsyncSession, officer: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LOOKED_AT_ONCE", 2)
    first = await lists.committed(session, officer, family("1"))
    await lists.committed(session, officer, [line("1", "子女", "王小丽", female=True)])
    shown = await lists.undo(session, officer, first)
    assert shown["status"] is ImportStatus.COMMITTED
    assert [(found["kind"], found["count"]) for found in shown["problem"]] == [("membership", 1)]


async def filled(session: AsyncSession, table: str, **values: object) -> None:
    """A row of a table with what its columns demand and what the test is about; references are not looked at."""
    columns = await session.execute(
        text(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :table "
            "AND table_schema = 'public' AND is_nullable = 'NO' AND column_default IS NULL"
        ),
        {"table": table},
    )
    made = {
        "uuid": "gen_random_uuid()", "text": "'x'", "timestamp with time zone": "now()", "jsonb": "'{}'",
        "bigint": "1", "character varying": "'booked'",
    }  # fmt: skip
    given = {name: made[kind] for name, kind in columns if name not in values}
    names = ", ".join([*given, *values])
    places = ", ".join([*given.values(), *(f":{name}" for name in values)])
    await session.execute(text("SET LOCAL session_replication_role = replica"))
    await session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)
    await session.execute(text("SET LOCAL session_replication_role = origin"))
    await session.commit()


async def couple_of_two_known(session: AsyncSession, officer: Actor) -> tuple[uuid.UUID, Couple]:
    lines = family("1")[:2]
    for cells in lines:
        await known_person(session, cells["证件号码"], cells["姓名"], cells["手机号"])
    id = await lists.committed(session, officer, lines)
    return id, (await session.scalars(select(Couple))).one()


@pytest.mark.parametrize("whose", ["couple", "person"])
async def test_an_appointment_made_as_a_member_stands_in_the_way(
    session: AsyncSession, officer: Actor, whose: str
) -> None:
    id, couple = await couple_of_two_known(session, officer)
    subject = couple.id if whose == "couple" else couple.wife_id
    await filled(session, "appointment", subject_id=subject, person_id=couple.wife_id, created_at=clock.now())
    with pytest.raises(imports.ImportInUse) as refused:
        await lists.undo(session, officer, id)
    assert "appointment" in {found["kind"] for found in refused.value.extensions["depends"]}


async def test_an_appointment_from_before_does_not(session: AsyncSession, officer: Actor) -> None:
    id, couple = await couple_of_two_known(session, officer)
    before = clock.now() - timedelta(days=2)
    own: dict[str, object] = {"subject_id": couple.wife_id, "person_id": couple.wife_id}
    await filled(session, "appointment", **own, created_at=before)
    assert (await lists.undo(session, officer, id))["status"] is ImportStatus.UNDONE


async def test_what_was_derived_of_a_couple_goes_with_it(session: AsyncSession, officer: Actor) -> None:
    id, couple = await couple_of_two_known(session, officer)
    before, elsewhere = clock.now() - timedelta(days=2), uuid.uuid4()
    wife: dict[str, object] = {"person_id": couple.wife_id, "decided_at": clock.now()}
    await filled(session, "qualification", **wife, subject_id=couple.id)
    await filled(session, "qualification", **wife, subject_id=couple.wife_id)
    wife |= {"decided_at": before, "service_id": elsewhere}
    await filled(session, "qualification", **wife, subject_id=couple.wife_id)
    assert (await lists.undo(session, officer, id))["status"] is ImportStatus.UNDONE
    assert await session.scalar(text("SELECT array_agg(service_id) FROM qualification")) == [elsewhere]


async def test_a_birthday_does_not_stand_in_the_way(session: AsyncSession, officer: Actor) -> None:
    id = await lists.committed(session, officer, [line("1", "户主", "王建军")])
    await session.execute(update(Household).values(family_type=FamilyType.ELDERLY))
    await session.commit()
    assert await family_types.settle_all() == 1
    assert await number_of(session, HouseholdEvent) == 0
    assert (await lists.undo(session, officer, id))["status"] is ImportStatus.UNDONE


async def test_of_a_household_that_stays_it_is_a_step(session: AsyncSession, officer: Actor) -> None:
    await lists.committed(session, officer, [line("1", "户主", "王建军")])
    await session.execute(update(Household).values(family_type=FamilyType.ELDERLY))
    await aged(session)
    assert await family_types.settle_all() == 1
    assert list(await session.scalars(select(HouseholdEvent.note))) == [FamilyType.STABLE]


async def test_a_household_that_is_joined_and_left_is_of_the_type_of_its_members(
    session: AsyncSession, officer: Actor
) -> None:
    await lists.committed(session, officer, [line("1", "户主", "王建军")])
    assert await session.scalar(select(Household.family_type)) is FamilyType.STABLE
    second = await lists.committed(session, officer, [line("1", "子女", "王小明")])
    assert await session.scalar(select(Household.family_type)) is FamilyType.DEVELOPING
    await lists.undo(session, officer, second)
    assert await session.scalar(select(Household.family_type)) is FamilyType.STABLE
    relations = list(await session.scalars(select(Membership.relation)))
    assert relations == [Relation.HEAD]
    assert await session.scalar(select(func.count()).select_from(ImportRow)) == 1
