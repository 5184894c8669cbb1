"""A worker's proofs: password, one-time code, recovery codes; and the lock after five failures.

argon2 takes a tenth of a second on purpose: it runs in a thread, and outside transactions wherever it can.
"""

import asyncio
import uuid
from datetime import timedelta
from functools import cache
from typing import ClassVar

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.crypto import digest
from app.db import begin
from app.errors import Forbidden, Invalid, TooMany, Unauthenticated
from app.models.staff import RecoveryCode, StaffAccount
from app.services import audit

FAILURES = 5
LOCKED_FOR = timedelta(minutes=15)
SHORTEST_PASSWORD = 12
RECOVERY_CODES = 10


class CredentialsRefused(Unauthenticated):
    """Says no more: neither which part was wrong, nor whether there is such an account."""

    zh, en = "用户名、密码或验证码不正确", "Username, password or code is not right"
    do_zh = "请核对后重试,验证码每次只能使用一次;如需重置,请联系管理员"
    do_en = "Check and try again; a code works once. Your administrator can reset the account"


class AccountLocked(TooMany):
    zh, en = "登录失败次数过多,账号已锁定", "Locked after too many failures"
    do_zh, do_en = "请十五分钟后再试", "Try again in fifteen minutes"
    headers: ClassVar = {"Retry-After": str(int(LOCKED_FOR.total_seconds()))}


class TotpEnrolmentRequired(Forbidden):
    zh, en = "请先绑定动态口令", "Set up your one-time codes first"
    do_zh, do_en = "请用验证器应用扫码绑定后登录", "Enrol an authenticator application, then sign in"


class PasswordTooWeak(Invalid):
    zh, en = "密码强度不够", "The password is too weak"
    do_zh = "至少十二个字符,不得包含用户名,不得与当前密码相同"
    do_en = "Twelve characters or more, without the username, other than the current one"


async def prove(username: str, password: str) -> StaffAccount:
    """The account that this password opens, as it stood; or CredentialsRefused, AccountLocked."""
    account = await _count_attempt(username)
    right = await asyncio.to_thread(_verify, password, account.password_hash if account else None)
    if account is None or account.disabled_at is not None or not right:
        raise CredentialsRefused
    return account


async def _count_attempt(username: str) -> StaffAccount | None:
    """Counted and committed before the password is looked at: a refusal cannot undo it, and guesses sent all
    at once are five as well. Success forgives."""
    async with begin() as db:
        query = select(StaffAccount).where(StaffAccount.username == username.lower()).with_for_update()
        account = await db.scalar(query)
        if account is None:
            return None
        if account.locked_until is not None and account.locked_until > clock.now():
            raise AccountLocked
        account.failures = 1 if account.locked_until else account.failures + 1
        account.locked_until = clock.now() + LOCKED_FOR if account.failures >= FAILURES else None
        await audit.record(db, Actor.system("sign-in"), "attempt", "staff_account", account.id)
    return account


def _verify(password: str, hashed: str | None) -> bool:
    """Takes as long when there is no such account."""
    return tokens.verify_password(password, hashed or _nobodys_hash()) and hashed is not None


@cache
def _nobodys_hash() -> str:
    return tokens.hash_password(tokens.random_code(16))


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


def forgive(account: StaffAccount) -> None:
    """Only after every proof: with the password alone, nobody may buy more guesses at the code."""
    account.failures, account.locked_until = 0, None


def use_totp(account: StaffAccount, code: str) -> None:
    """Each step once, and never an earlier one (RFC 6238 §5.2): a code read over a shoulder is spent."""
    step = tokens.totp_step(account.totp_secret, code) if account.totp_secret else None
    if step is None or (account.totp_last_step is not None and step <= account.totp_last_step):
        raise CredentialsRefused
    account.totp_last_step = step


def _recovery_hash(staff_id: uuid.UUID, code: str) -> bytes:
    """As read aloud or copied by hand: dashes, case, O for 0, I and L for 1 do not matter."""
    plain = "".join(code.upper().split()).replace("-", "").translate(str.maketrans("OIL", "011"))
    return digest(f"{staff_id}|{plain}".encode("utf-8", "replace"))


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


async def hashed(new: str, *, username: str, current: str = "") -> str:
    """The hash of an acceptable new password, or PasswordTooWeak."""
    if len(new) < SHORTEST_PASSWORD or username.lower() in new.lower() or new == current:
        detail = f"{PasswordTooWeak.do_zh} / {PasswordTooWeak.do_en}"
        raise PasswordTooWeak(errors=[{"pointer": "/new_password", "detail": detail}])
    return await asyncio.to_thread(tokens.hash_password, new)
