import asyncio

import pyotp
import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import db, tokens
from app.access import Actor
from app.db import new_id
from app.errors import NotFound, Unauthenticated
from app.models.identity import CITIZEN_DOOR, Role, SignIn
from app.models.staff import RecoveryCode, StaffAccount
from app.services import sign_ins, staff
from app.services.sign_ins import TokenPair
from app.services.staff import AccountLocked, CredentialsRefused, TotpEnrolmentRequired
from tests.clients import (
    OWN_PASSWORD,
    REGION,
    SYSTEM,
    Worker,
    a_new_account,
    a_worker,
    enrol,
    staff_sign_in,
)

COUNTY = "640121000000"


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def actor_of(session: AsyncSession, pair: TokenPair) -> Actor:
    return await staff.actor_of(session, pair.access_token)


# Proofs


@pytest.mark.usefixtures("connection")
async def test_an_unknown_name_is_refused_as_a_wrong_password_is() -> None:
    with pytest.raises(CredentialsRefused):
        await staff.sign_in(username="nobody", password="wrong", totp="000000", device="")


async def test_a_disabled_account_is_refused_as_a_wrong_password_is(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    await staff.disable(session, SYSTEM, worker.account.id)
    await session.commit()
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker)


async def test_the_username_is_the_same_in_capitals(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    name = worker.account.username.upper()
    assert await staff.sign_in(username=name, password=worker.password, totp=worker.code(), device="")


async def test_a_one_time_code_is_accepted_once(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    code = worker.code()
    await staff_sign_in(worker, totp=code)
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, totp=code)


async def test_an_earlier_code_is_refused_after_a_later_one(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    earlier, later = worker.code(), worker.code(1)
    await staff_sign_in(worker, totp=later)
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, totp=earlier)


async def test_the_same_code_sent_four_times_at_once_signs_in_once(committed: str) -> None:
    async with db.begin() as session:
        worker = await a_worker(session, Role.VILLAGE_WORKER)
    code = worker.code()
    answers = await asyncio.gather(
        *(staff_sign_in(worker, totp=code) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["CredentialsRefused"] * 3 + ["TokenPair"]


async def test_only_a_code_of_six_ascii_digits_can_be_right(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    full_width = worker.code().translate({ord("0") + n: 0xFF10 + n for n in range(10)})
    for code in ("", full_width, "\ud800"):
        with pytest.raises(CredentialsRefused):
            await staff_sign_in(worker, totp=code)


# Enrolment


async def test_the_first_sign_in_asks_to_enrol_and_the_enrolment_opens_the_door(
    session: AsyncSession,
) -> None:
    account, initial = await a_new_account(session)
    with pytest.raises(TotpEnrolmentRequired):
        await staff.sign_in(username=account.username, password=initial, device="")
    worker, codes = await enrol(account, initial)
    assert len(set(codes)) == 10
    actor = await actor_of(session, await staff_sign_in(worker, totp=worker.code(1)))
    assert (actor.role, actor.region_code) == (Role.VILLAGE_WORKER, REGION)


async def test_the_initial_password_opens_nothing_after_the_enrolment(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    worker, _ = await enrol(account, initial)
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, password=initial, totp=worker.code(1))


async def test_the_enrolment_uri_names_the_product_and_the_worker(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    enrolment = await staff.begin_enrolment(username=account.username, password=initial)
    parsed = pyotp.parse_uri(enrolment.uri)
    assert (parsed.name, parsed.issuer) == (account.username, "暖心 Nuanxin")


async def test_a_secret_that_no_code_confirmed_does_not_enrol(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    enrolment = await staff.begin_enrolment(username=account.username, password=initial)
    worker = Worker(account, initial, enrolment.secret)
    with pytest.raises(CredentialsRefused):
        await staff.confirm_enrolment(
            **worker.credentials(), code=wrong(worker.code()), new_password=OWN_PASSWORD
        )
    with pytest.raises(TotpEnrolmentRequired):
        await staff_sign_in(worker)


async def test_the_secret_and_the_recovery_codes_are_not_kept_in_the_clear(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    worker, codes = await enrol(account, initial)
    await session.refresh(account)
    assert account.totp_secret_sealed is not None
    assert worker.secret.encode() not in account.totp_secret_sealed
    kept = (
        await session.scalars(select(RecoveryCode.code_hash).where(RecoveryCode.staff_id == account.id))
    ).all()
    assert len(kept) == len(codes)
    assert not set(kept) & {code.encode() for code in codes}


async def test_a_recovery_code_signs_in_once_however_it_is_written(session: AsyncSession) -> None:
    account, initial = await a_new_account(session)
    worker, codes = await enrol(account, initial)
    await staff_sign_in(worker, recovery_code=f" {codes[0].lower().replace('-', ' ').replace('0', 'o')}")
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, recovery_code=codes[0])
    assert await staff_sign_in(worker, recovery_code=codes[1])


async def test_somebody_elses_recovery_code_is_refused(session: AsyncSession) -> None:
    _, codes = await enrol(*await a_new_account(session))
    worker, _ = await enrol(*await a_new_account(session))
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, recovery_code=codes[0])


async def test_recovery_codes_are_renewed_with_the_authenticator_and_the_old_ones_are_void(
    session: AsyncSession,
) -> None:
    worker, old = await enrol(*await a_new_account(session))
    actor = await actor_of(session, await staff_sign_in(worker, recovery_code=old[0]))
    new = await staff.renew_recovery_codes(actor, code=worker.code(1))
    assert len(set(new)) == 10
    with pytest.raises(CredentialsRefused):
        await staff_sign_in(worker, recovery_code=old[1])
    assert await staff_sign_in(worker, recovery_code=new[0])


async def test_a_found_token_buys_no_guesses_at_the_code(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    actor = await actor_of(session, await staff_sign_in(worker))
    for _ in range(5):
        with pytest.raises(staff.CodeWrong):
            await staff.renew_recovery_codes(actor, code=worker.code())  # spent
    with pytest.raises(AccountLocked):
        await staff.renew_recovery_codes(actor, code=worker.code(1))


@pytest.mark.parametrize("weak", ["short", "Eleven-char", "my-{username}-2026", "{initial}"])
async def test_a_weak_password_is_refused(session: AsyncSession, weak: str) -> None:
    account, initial = await a_new_account(session)
    with pytest.raises(staff.PasswordTooWeak):
        await enrol(account, initial, weak.format(username=account.username.upper(), initial=initial))


# Who a token speaks for


async def test_role_and_region_are_fresh_in_every_request(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    pair = await staff_sign_in(worker)
    moved = {"role": Role.TOWNSHIP_OFFICER, "region_code": COUNTY}
    await session.execute(update(StaffAccount).where(StaffAccount.id == worker.account.id).values(**moved))
    actor = await actor_of(session, pair)
    assert (actor.id, actor.role, actor.region_code) == (worker.account.id, Role.TOWNSHIP_OFFICER, COUNTY)


async def test_access_ends_at_once_when_the_account_is_disabled_or_reset(session: AsyncSession) -> None:
    for end in (staff.disable, staff.reset):
        worker = await a_worker(session, Role.VILLAGE_WORKER)
        pair = await staff_sign_in(worker)
        await end(session, SYSTEM, worker.account.id)
        with pytest.raises(Unauthenticated):
            await actor_of(session, pair)


async def test_a_token_of_the_citizen_door_opens_no_staff_door(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    actor = await actor_of(session, await staff_sign_in(worker))
    assert actor.id
    assert actor.sign_in_id
    with pytest.raises(Unauthenticated):
        await staff.actor_of(session, tokens.issue_access("/citizen/v1", actor.id, actor.sign_in_id))


async def test_a_citizens_sign_in_opens_no_staff_door(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    actor = await actor_of(session, await staff_sign_in(worker))
    await session.execute(update(SignIn).where(SignIn.id == actor.sign_in_id).values(door="/citizen/v1"))
    assert actor.id
    assert actor.sign_in_id
    with pytest.raises(Unauthenticated):
        await staff.actor_of(session, tokens.issue_access(staff.DOOR, actor.id, actor.sign_in_id))


async def test_a_worker_with_the_id_of_a_resident_reaches_none_of_the_residents_sign_ins(
    session: AsyncSession,
) -> None:
    """Administrators choose the ids of workers."""
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    actor = await actor_of(session, await staff_sign_in(worker))
    resident = Actor(Role.RESIDENT, id=actor.id)
    pair = await sign_ins.start(
        session, resident, door=CITIZEN_DOOR, account_id=worker.account.id, device="手机"
    )
    theirs = tokens.read_access(CITIZEN_DOOR, pair.access_token).sign_in_id
    assert [row.id for row in await sign_ins.list_own(session, actor)] == [actor.sign_in_id]
    assert [row.id for row in await sign_ins.list_own(session, resident)] == [theirs]
    for who in (actor, Actor(Role.SYSTEM_ADMINISTRATOR, id=new_id(), region_code=REGION)):
        with pytest.raises(NotFound):
            await sign_ins.revoke(session, who, theirs)
    await staff.disable(session, SYSTEM, worker.account.id)
    assert [row.id for row in await sign_ins.list_own(session, resident)] == [theirs]


# Own password


async def test_a_new_password_ends_every_other_sign_in(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    elsewhere, here = await staff_sign_in(worker), await staff_sign_in(worker, totp=worker.code(1))
    actor = await actor_of(session, here)
    await staff.change_password(actor, current=worker.password, new=OWN_PASSWORD)
    assert await actor_of(session, here)
    with pytest.raises(Unauthenticated):
        await actor_of(session, elsewhere)


async def test_guessing_the_current_password_locks_too(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    actor = await actor_of(session, await staff_sign_in(worker))
    for _ in range(5):
        with pytest.raises(staff.CurrentPasswordWrong):
            await staff.change_password(actor, current="wrong", new=OWN_PASSWORD)
    with pytest.raises(AccountLocked):
        await staff.change_password(actor, current=worker.password, new=OWN_PASSWORD)
