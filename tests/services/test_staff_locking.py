import asyncio
from contextlib import ExitStack
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db, tokens
from app.errors import Unavailable
from app.models.identity import Role
from app.models.staff import SignInThrottle
from app.services import staff
from app.services.staff import AccountLocked, CredentialsRefused
from tests.clients import a_worker, fail, staff_sign_in


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def test_five_failures_lock_the_account_for_fifteen_minutes(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    with time_machine.travel(clock.now()) as time:
        await fail(worker, 5)
        with pytest.raises(AccountLocked):
            await staff_sign_in(worker)
        time.shift(timedelta(minutes=14, seconds=50))
        with pytest.raises(AccountLocked):
            await staff_sign_in(worker)
        time.shift(timedelta(seconds=20))
        assert (await staff_sign_in(worker)).access_token


async def test_after_the_lock_there_are_five_attempts_again(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    with time_machine.travel(clock.now()) as time:
        await fail(worker, 5)
        time.shift(timedelta(minutes=16))
        await fail(worker, 4)
        assert (await staff_sign_in(worker)).access_token


async def test_a_success_forgives_earlier_failures(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    await fail(worker, 4)
    await staff_sign_in(worker)
    await fail(worker, 4)
    assert (await staff_sign_in(worker, totp=worker.code(1))).access_token


async def test_wrong_one_time_codes_lock_as_well(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    for _ in range(5):
        with pytest.raises(CredentialsRefused):
            await staff_sign_in(worker, totp=wrong(worker.code()))
    with pytest.raises(AccountLocked):
        await staff_sign_in(worker)


async def test_a_stolen_password_alone_buys_no_more_guesses_at_the_code(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    for _ in range(5):
        with pytest.raises(CredentialsRefused):
            await staff.begin_enrolment(**worker.credentials())
    with pytest.raises(AccountLocked):
        await staff_sign_in(worker)


async def test_guesses_sent_all_at_once_are_five_as_well(committed: str) -> None:
    async with db.begin() as session:
        worker = await a_worker(session, Role.VILLAGE_WORKER)
    guesses = (staff_sign_in(worker, password="wrong") for _ in range(12))
    answers = [type(answer) for answer in await asyncio.gather(*guesses, return_exceptions=True)]
    assert (answers.count(CredentialsRefused), answers.count(AccountLocked)) == (5, 7)


async def test_an_unknown_name_locks_as_a_known_one_does(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    for name in (worker.account.username, f"nobody-{worker.account.username}"[:50]):
        for spelling in (name, name.upper(), name, name.upper(), name):
            with pytest.raises(CredentialsRefused):
                await staff.sign_in(username=spelling, password="wrong", device="")
        with pytest.raises(AccountLocked):
            await staff.sign_in(username=name, password="wrong", device="")


async def test_failures_are_kept_without_the_name_and_for_a_quarter_of_an_hour(session: AsyncSession) -> None:
    with time_machine.travel(clock.now()) as time:
        with pytest.raises(CredentialsRefused):
            await staff.sign_in(username="a-password-typed-here", password="wrong", device="")
        kept = (await session.scalars(select(SignInThrottle.username_hash))).all()
        assert kept
        assert not any(b"a-password-typed-here" in hashed for hashed in kept)
        await staff.purge_throttle(session)
        assert (await session.scalars(select(SignInThrottle.username_hash))).all() == kept
        time.shift(timedelta(minutes=16))
        await staff.purge_throttle(session)
        assert not (await session.scalars(select(SignInThrottle.username_hash))).all()


async def test_who_is_turned_away_by_a_queue_of_passwords_has_not_guessed(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    with ExitStack() as queue:
        for _ in range(tokens.ARGON2_AT_ONCE + tokens.ARGON2_WAITING):
            queue.enter_context(tokens.argon2_turn())
        for _ in range(6):
            with pytest.raises(Unavailable) as refusal:
                await staff_sign_in(worker)
            assert refusal.value.headers["Retry-After"]
    assert await staff_sign_in(worker)
