import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.models.staff import StaffAccount
from app.services import regions, staff
from app.services.idempotency import IdempotencyKeyReused, Key
from app.services.staff import CredentialsRefused
from tests.clients import OWN_PASSWORD, SYSTEM, a_new_account, a_worker, enrol, fail, staff_sign_in

COUNTY, OTHER_CITY = "640121000000", "640200000000"


def key(content: bytes = b"1") -> Key:
    return Key(new_id(), content)


async def create(session: AsyncSession, actor: Actor, key: Key, **changed: str) -> tuple[StaffAccount, str]:
    details = {"username": "zhang.wei", "name": "张伟", "role": Role.VILLAGE_WORKER, "region_code": COUNTY}
    return await staff.create(session, actor, key, **{**details, **changed})


async def test_repeating_the_request_gives_the_same_account_and_no_password(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    request = key()
    account, password = await create(session, actor, request)
    assert await create(session, actor, request) == (account, None)
    assert len(password) >= 16
    with pytest.raises(IdempotencyKeyReused):
        await create(session, actor, Key(request.id, b"2"))


async def test_two_accounts_never_get_the_same_initial_password(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    passwords = {(await create(session, actor, key(), username=f"worker{n}"))[1] for n in range(3)}
    assert len(passwords) == 3


async def test_a_username_is_given_once_whatever_its_capitals(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    await create(session, actor, key())
    with pytest.raises(IntegrityError) as refusal:
        await create(session, actor, key(), username="Zhang.Wei")
    assert errors.to_problem(refusal.value).slug() == "username-taken"


@pytest.mark.parametrize(
    ("region_code", "problem"),
    [
        (OTHER_CITY, regions.RegionOutsideOwn),
        ("640000000000", regions.RegionOutsideOwn),
        ("640199000000", Invalid),
    ],
)
async def test_an_account_belongs_to_a_region_within_the_administrators_own(
    session: AsyncSession, region_code: str, problem: type[errors.Problem]
) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    with pytest.raises(problem):
        await create(session, actor, key(), region_code=region_code)


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.PARTNER, Role.RESIDENT])
async def test_a_worker_has_the_role_of_a_worker(session: AsyncSession, role: Role) -> None:
    with pytest.raises(Invalid):
        await create(session, (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor(), key(), role=role)


async def test_an_administrator_neither_sees_nor_touches_other_regions(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    theirs = (await a_worker(session, Role.VILLAGE_WORKER, OTHER_CITY)).account
    ours = (await a_worker(session, Role.VILLAGE_WORKER, COUNTY)).account
    listed = {account.id for account in await staff.in_region(session, actor, after=None, limit=100)}
    assert ours.id in listed
    assert theirs.id not in listed
    for act in (staff.disable, staff.reset):
        with pytest.raises(NotFound):
            await act(session, actor, theirs.id)


async def test_an_account_is_given_another_region_within_the_administrators_own(
    session: AsyncSession,
) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    worker = await a_worker(session, Role.VILLAGE_WORKER, COUNTY)
    moved = await staff.reassign(session, actor, worker.account.id, "640104000000")
    assert moved.region_code == "640104000000"
    with pytest.raises(regions.RegionOutsideOwn):
        await staff.reassign(session, actor, worker.account.id, OTHER_CITY)
    with pytest.raises(Invalid):
        await staff.reassign(session, actor, worker.account.id, "640199000000")
    with pytest.raises(staff.OwnAccount):
        await staff.reassign(session, actor, actor.account_id, COUNTY)
    theirs = (await a_worker(session, Role.VILLAGE_WORKER, OTHER_CITY)).account
    with pytest.raises(NotFound):
        await staff.reassign(session, actor, theirs.id, COUNTY)


async def test_nobody_locks_the_own_account_out(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.SYSTEM_ADMINISTRATOR)).actor()
    for act in (staff.disable, staff.reset):
        with pytest.raises(staff.OwnAccount):
            await act(session, actor, actor.account_id)


async def test_a_reset_account_enrols_anew_and_its_old_proofs_are_void(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    worker, codes = await enrol(account, initial)
    password = await staff.reset(session, SYSTEM, account.id)
    await session.commit()
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, recovery_code=codes[0])
    again, _ = await enrol(account, password, OWN_PASSWORD + " anew")
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(again, recovery_code=codes[1])
    assert await staff_sign_in(again, totp=again.code(1))


async def test_a_reset_opens_a_locked_account(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    await fail(worker, 5)
    password = await staff.reset(session, SYSTEM, worker.account.id)
    await session.commit()
    assert await enrol(worker.account, password)


async def test_every_attempt_and_every_change_is_on_record(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    worker, _ = await enrol(account, initial)
    await staff_sign_in(worker, totp=worker.code(1))
    actions = set(await session.scalars(select(AuditEvent.action).where(AuditEvent.entity_id == account.id)))
    assert actions >= {"create", "attempt", "begin_enrolment", "enrol"}
    assert await session.scalar(
        select(AuditEvent.id).where(AuditEvent.actor_id == account.id, AuditEvent.action == "sign_in")
    )
