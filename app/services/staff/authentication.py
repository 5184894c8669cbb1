"""Signing in: who a token speaks for, password with one-time code, enrolment of the authenticator."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch
from app.db import begin
from app.errors import Invalid, Unauthenticated
from app.models.identity import STAFF_DOOR, SignIn
from app.models.staff import StaffAccount
from app.services import audit, sign_ins
from app.services.staff import credentials
from app.services.staff.credentials import CredentialsRefused, TotpEnrolmentRequired

DOOR = STAFF_DOOR


class CodeWrong(Invalid):
    zh, en = "动态验证码不正确", "The one-time code is not right"
    do_zh, do_en = "请等待下一个动态验证码后重试", "Wait for the next code and try again"


async def actor_of(db: AsyncSession, token: str) -> Actor:
    """Role and region as they are now, not as they were when the token was made: a disabled account, a
    revoked sign-in and a reset authenticator lose access at once."""
    claims = tokens.read_access(DOOR, token)
    query = (
        select(StaffAccount.role, StaffAccount.region_code)
        .join(SignIn, SignIn.account_id == StaffAccount.id)
        .where(
            StaffAccount.id == claims.account_id,
            StaffAccount.disabled_at.is_(None),
            StaffAccount.totp_enrolled_at.is_not(None),
            SignIn.id == claims.sign_in_id,
            SignIn.door == DOOR,
            SignIn.revoked_at.is_(None),
            SignIn.expires_at > clock.now(),
        )
    )
    account = (await db.execute(query)).one_or_none()
    if account is None:
        raise Unauthenticated
    return Actor(
        account.role, id=claims.account_id, region_code=account.region_code, sign_in_id=claims.sign_in_id
    )


def _actor(account: StaffAccount) -> Actor:
    return Actor(account.role, id=account.id, region_code=account.region_code)


async def sign_in(
    *, username: str, password: str, device: str, totp: str = "", recovery_code: str = ""
) -> sign_ins.TokenPair:
    """Two factors (GB/T 22239-2019 8.1.4.1): the password, and a one-time code or a recovery code. Five
    failures of any kind lock the account for fifteen minutes."""
    proven = await credentials.prove(username, password)
    if proven.totp_enrolled_at is None:
        await _forgive_unenrolled(proven)
        raise TotpEnrolmentRequired
    async with begin() as db:
        account = await credentials.hold(db, proven)
        if recovery_code:
            await credentials.use_recovery_code(db, account, recovery_code)
        else:
            credentials.use_totp(account, totp)
        await credentials.forgive(db, account)
        return await sign_ins.start(db, _actor(account), door=DOOR, account_id=account.id, device=device)


async def _forgive_unenrolled(proven: StaffAccount) -> None:
    """There is no code to guess yet, so the password alone was every proof asked for."""
    async with begin() as db:
        account = await credentials.hold(db, proven)
        await credentials.forgive(db, account)
        await audit.record(db, _actor(account), "asked_to_enrol", "staff_account", account.id)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator application needs: the secret to type, or the URI to show as a QR code."""

    secret: str
    uri: str


async def begin_enrolment(*, username: str, password: str) -> Enrolment:
    """A new secret, in force once a code made from it is confirmed. Asking again replaces it."""
    proven = await credentials.prove(username, password)
    secret = tokens.new_totp_secret()
    async with begin() as db:
        account = await _unenrolled(db, proven)
        account.totp_secret = secret
        await credentials.forgive(db, account)
        await audit.record(db, _actor(account), "begin_enrolment", "staff_account", account.id)
        return Enrolment(secret, tokens.totp_uri(secret, account.username))


async def confirm_enrolment(*, username: str, password: str, code: str, new_password: str) -> list[str]:
    """Enrols the authenticator and replaces the initial password, which the administrator has seen, by the
    worker's own. Returns ten recovery codes, shown this once."""
    credentials.require_strong(new_password, username=username, current=password)
    proven = await credentials.prove(username, password)
    hashed = await credentials.hashed(new_password)
    async with begin() as db:
        account = await _unenrolled(db, proven)
        credentials.use_totp(account, code)
        account.totp_enrolled_at = clock.now()
        account.password_hash = hashed
        await credentials.forgive(db, account)
        codes = await credentials.new_recovery_codes(db, account)
        await audit.record(db, _actor(account), "enrol", "staff_account", account.id)
        return codes


async def renew_recovery_codes(actor: Actor, *, code: str) -> list[str]:
    """Ten new ones for those that were used, lost or seen, shown this once. Wrong codes count as those of a
    sign-in do: a token that somebody found buys no guesses."""
    async with begin() as db:
        account = await fetch(db, actor, StaffAccount, actor.account_id)
    await credentials.count_attempt(account.username)
    async with begin() as db:
        try:
            account = await credentials.hold(db, account)
            credentials.use_totp(account, code)
        except CredentialsRefused as refusal:
            # 401 would tell the client that its token is no good.
            raise CodeWrong.at("/totp", CodeWrong.zh, CodeWrong.en) from refusal
        await credentials.forgive(db, account)
        codes = await credentials.new_recovery_codes(db, account)
        await audit.record(db, actor, "renew_recovery_codes", "staff_account", account.id)
        return codes


async def _unenrolled(db: AsyncSession, proven: StaffAccount) -> StaffAccount:
    """An enrolled account gets the general refusal, and the attempt stays counted: otherwise this would tell
    a right password from a wrong one."""
    account = await credentials.hold(db, proven)
    if account.totp_enrolled_at is not None:
        raise CredentialsRefused
    return account
