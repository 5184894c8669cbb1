"""A worker's proofs: password, one-time code, recovery codes; and the lock after five failures.

argon2 takes a tenth of a second on purpose: it runs in a thread, and never while a connection is held.
"""

import uuid
from datetime import timedelta
from typing import ClassVar

from sqlalchemy import and_, case, delete, not_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.crypto import blind_index, digest
from app.db import begin
from app.errors import Forbidden, Invalid, TooMany, Unauthenticated
from app.models.staff import RecoveryCode, SignInThrottle, StaffAccount
from app.services import audit

FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
SHORTEST_PASSWORD = 12
RECOVERY_CODES = 10


class CredentialsRefused(Unauthenticated):
    """Says no more: neither which part was wrong, nor whether there is such an account."""

    zh, en = "用户名、密码或动态验证码不正确", "Username, password or code is not right"
    do_zh = "请核对后重试，动态验证码每次只能使用一次；如需重置，请联系管理员"
    do_en = "Check and try again; a code works once. Your administrator can reset the account"


class AccountLocked(TooMany):
    zh, en = "登录失败次数过多，账号已锁定", "Locked after too many failures"
    do_zh, do_en = "请十五分钟后再试", "Try again in fifteen minutes"
    headers: ClassVar = {"Retry-After": str(int(LOCKED_FOR.total_seconds()))}


class TotpEnrolmentRequired(Forbidden):
    zh, en = "请先绑定动态口令", "Set up your one-time codes first"
    do_zh, do_en = "请用验证器应用扫码绑定后登录", "Enrol an authenticator application, then sign in"


class PasswordTooWeak(Invalid):
    zh, en = "密码强度不够", "The password is too weak"
    do_zh = "至少十二个字符，不得包含用户名，不得与当前密码相同"
    do_en = "Twelve characters or more, without the username, other than the current one"


async def prove(username: str, password: str) -> StaffAccount:
    """The account that this password opens, as it stood; or CredentialsRefused, AccountLocked."""
    with tokens.argon2_turn():  # before the attempt is counted: who is turned away has not guessed
        account = await count_attempt(username)
        hashed = account.password_hash if account else None
        right = await tokens.argon2(tokens.verify_password, password, hashed)
    if account is None or account.disabled_at is not None or not right:
        raise CredentialsRefused
    return account


async def count_attempt(username: str) -> StaffAccount | None:
    """Counted and committed before any proof is looked at: a refusal cannot undo it, and guesses sent all at once
    are five as well. Success forgives."""
    locked = SignInThrottle.failed_at > clock.now() - LOCKED_FOR, SignInThrottle.failures >= FAILURES
    attempt = insert(SignInThrottle).values(
        username_hash=_throttled(username), failures=1, failed_at=clock.now()
    )
    counted = attempt.on_conflict_do_update(
        index_elements=[SignInThrottle.username_hash],
        set_={
            "failures": case((SignInThrottle.failures >= FAILURES, 1), else_=SignInThrottle.failures + 1),
            "failed_at": clock.now(),
        },
        where=not_(and_(*locked)),
    )
    async with begin() as db:
        if await db.scalar(counted.returning(SignInThrottle.failures)) is None:
            raise AccountLocked
        account = await db.scalar(select(StaffAccount).where(StaffAccount.username == username.lower()))
        if account is not None:
            await audit.record(db, Actor.system("sign-in"), "attempt", "staff_account", account.id)
    return account


def _throttled(username: str) -> bytes:
    return blind_index("username", username.lower())


async def forgive(db: AsyncSession, account: StaffAccount) -> None:
    """Only after every proof: with the password alone, nobody may buy more guesses at the code."""
    hashed = _throttled(account.username)
    await db.execute(delete(SignInThrottle).where(SignInThrottle.username_hash == hashed))


async def purge_throttle(db: AsyncSession) -> None:
    """Whoever failed last before the time of a lock starts anew anyway."""
    before = clock.now() - LOCKED_FOR
    await db.execute(delete(SignInThrottle).where(SignInThrottle.failed_at < before))


async def hold(db: AsyncSession, proven: StaffAccount) -> StaffAccount:
    """The proven account, locked; refused if it was disabled or its password replaced since the proof."""
    query = select(StaffAccount).where(
        StaffAccount.id == proven.id,
        StaffAccount.password_hash == proven.password_hash,
        StaffAccount.disabled_at.is_(None),
    )
    account = await db.scalar(query.with_for_update().execution_options(populate_existing=True))
    if account is None:
        raise CredentialsRefused
    return account


def use_totp(account: StaffAccount, code: str) -> None:
    """Each step once, and never an earlier one (RFC 6238 §5.2): a code read over a shoulder is spent."""
    step = tokens.totp_step(account.totp_secret, code) if account.totp_secret else None
    if step is None or (account.totp_last_step is not None and step <= account.totp_last_step):
        raise CredentialsRefused
    account.totp_last_step = step


def _recovery_hash(staff_id: uuid.UUID, code: str) -> bytes:
    return digest(f"{staff_id}|{tokens.typed_code(code)}".encode("utf-8", "replace"))


async def new_recovery_codes(db: AsyncSession, account: StaffAccount) -> list[str]:
    """Ten single-use codes, shown once; those from before are void."""
    await void_recovery_codes(db, account)
    codes = [f"{tokens.random_code(5)}-{tokens.random_code(5)}" for _ in range(RECOVERY_CODES)]
    db.add_all(
        RecoveryCode(code_hash=_recovery_hash(account.id, code), staff_id=account.id) for code in codes
    )
    return codes


async def void_recovery_codes(db: AsyncSession, account: StaffAccount) -> None:
    await db.execute(delete(RecoveryCode).where(RecoveryCode.staff_id == account.id))


async def use_recovery_code(db: AsyncSession, account: StaffAccount, code: str) -> None:
    used = await db.scalar(
        update(RecoveryCode)
        .where(
            RecoveryCode.code_hash == _recovery_hash(account.id, code),
            RecoveryCode.staff_id == account.id,
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=clock.now())
        .returning(RecoveryCode.staff_id)
    )
    if used is None:
        raise CredentialsRefused


async def hashed(password: str) -> str:
    with tokens.argon2_turn():
        return await tokens.argon2(tokens.hash_password, password)


def require_strong(new: str, *, username: str, current: str) -> None:
    """PasswordTooWeak unless acceptable. Asked before the proof, so that a weak wish is not a failed sign-in."""
    if len(new) < SHORTEST_PASSWORD or username.lower() in new.lower() or new == current:
        raise PasswordTooWeak.at("/new_password", PasswordTooWeak.do_zh, PasswordTooWeak.do_en)


def first_password() -> str:
    """80 bits to read aloud. It opens nothing but the enrolment."""
    code = tokens.random_code(16)
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))
