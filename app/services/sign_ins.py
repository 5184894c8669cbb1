"""Sign-ins of residents and workers: a family of rotating refresh tokens for each device."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch, visible
from app.db import begin, new_id
from app.errors import Unauthenticated
from app.models.identity import STAFF_DOOR, SignIn
from app.services import audit


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105


class RefreshTokenRefused(Unauthenticated):
    zh, en = "登录已失效", "This sign-in has ended"
    do_zh, do_en = "请重新登录", "Sign in again"


def _pair(row: SignIn) -> TokenPair:
    access = tokens.issue_access(row.door, row.account_id, row.id)
    refresh = tokens.issue_refresh(row.id, row.generation)
    return TokenPair(access, refresh, int(tokens.ACCESS_LIFETIME.total_seconds()))


async def start(
    db: AsyncSession, actor: Actor, *, door: str, account_id: uuid.UUID, device: str
) -> TokenPair:
    """A new family for this device."""
    id, at = new_id(), clock.now()
    row = SignIn(
        id=id, account_id=account_id, door=door, generation=0, device=device[:100],
        created_at=at, used_at=at, expires_at=at + tokens.REFRESH_LIFETIME, revoked_at=None,
    )  # fmt: skip
    db.add(row)
    await audit.record(db, actor, "sign_in", "sign_in", id)
    return _pair(row)


async def refresh(*, door: str, token: str) -> TokenPair:
    """The next pair. A token of this family that is not its newest was copied: the whole family ends, and stays
    ended although the request is refused. One that was never issued ends nothing."""
    try:
        id, generation = tokens.read_refresh(token)
    except Unauthenticated as error:
        raise RefreshTokenRefused from error
    async with begin() as db:
        query = select(SignIn).where(SignIn.id == id, SignIn.door == door)
        row = await db.scalar(query.with_for_update())
        if row is None or row.revoked_at or row.expires_at <= clock.now():
            raise RefreshTokenRefused
        if row.generation == generation:
            row.generation += 1
            row.used_at = clock.now()
            row.expires_at = clock.now() + tokens.REFRESH_LIFETIME
            await audit.record(db, Actor.system("refresh"), "refresh", "sign_in", row.id)
            return _pair(row)
        row.revoked_at = clock.now()
        await audit.record(db, Actor.system("refresh"), "revoke_reused", "sign_in", row.id)
    raise RefreshTokenRefused


async def list_own(db: AsyncSession, actor: Actor) -> list[SignIn]:
    """Live sign-ins of the account, newest first; one hundred at most."""
    query = select(SignIn).where(
        visible(actor, SignIn),
        SignIn.account_id == actor.account_id,
        SignIn.revoked_at.is_(None),
        SignIn.expires_at > clock.now(),
    )
    return list(await db.scalars(query.order_by(SignIn.created_at.desc()).limit(100)))


async def revoke(db: AsyncSession, actor: Actor, id: uuid.UUID) -> None:
    row = await fetch(db, actor, SignIn, id, lock=True)
    row.revoked_at = row.revoked_at or clock.now()
    await audit.record(db, actor, "revoke", "sign_in", row.id)


async def revoke_all(
    db: AsyncSession, actor: Actor, *, door: str, account_id: uuid.UUID, keep: uuid.UUID | None = None
) -> None:
    """After a password change (which may `keep` the sign-in that made it), a reset, a lost phone, the end of a
    job."""
    await db.execute(
        update(SignIn)
        .where(
            SignIn.door == door,
            SignIn.account_id == account_id,
            SignIn.revoked_at.is_(None),
            SignIn.id.is_distinct_from(keep),
        )
        .values(revoked_at=clock.now())
    )
    entity = "staff_account" if door == STAFF_DOOR else "resident_account"
    await audit.record(db, actor, "revoke_all", entity, account_id)


async def purge(db: AsyncSession, *, before: datetime) -> None:
    """Those that ended before then."""
    ended = func.least(SignIn.expires_at, SignIn.revoked_at)  # of PostgreSQL: without the nulls
    await db.execute(delete(SignIn).where(ended < before))
