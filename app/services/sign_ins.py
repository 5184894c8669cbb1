"""Sign-ins of residents and workers: a family of rotating refresh tokens for each device."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch, visible
from app.crypto import digest, same
from app.db import begin, new_id
from app.errors import Unauthenticated
from app.models.identity import SignIn
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


def _pair(row: SignIn, refresh: str) -> TokenPair:
    access = tokens.issue_access(row.door, row.account_id, row.id)
    return TokenPair(access, refresh, int(tokens.ACCESS_LIFETIME.total_seconds()))


async def start(
    db: AsyncSession, actor: Actor, *, door: str, account_id: uuid.UUID, device: str
) -> TokenPair:
    """A new family for this device."""
    id, at = new_id(), clock.now()
    refresh, hashed = tokens.new_refresh(id)
    row = SignIn(
        id=id, account_id=account_id, door=door, refresh_hash=hashed, device=device[:100],
        created_at=at, used_at=at, expires_at=at + tokens.REFRESH_LIFETIME, revoked_at=None,
    )  # fmt: skip
    db.add(row)
    await audit.record(db, actor, "sign_in", "sign_in", id)
    return _pair(row, refresh)


async def refresh(*, door: str, token: str) -> TokenPair:
    """The next pair. A token that is not the newest of its family was copied: the whole family ends, and stays
    ended although the request is refused."""
    async with begin() as db:
        row = await db.scalar(
            select(SignIn)
            .where(SignIn.id == tokens.refresh_family(token), SignIn.door == door)
            .with_for_update()
        )
        if row is None or row.revoked_at or row.expires_at <= clock.now():
            raise RefreshTokenRefused
        if same(row.refresh_hash, digest(token.encode("utf-8", "replace"))):
            new, row.refresh_hash = tokens.new_refresh(row.id)
            row.used_at = clock.now()
            row.expires_at = clock.now() + tokens.REFRESH_LIFETIME
            await audit.record(db, Actor.system("refresh"), "refresh", "sign_in", row.id)
            return _pair(row, new)
        row.revoked_at = clock.now()
        await audit.record(db, Actor.system("refresh"), "revoke_reused", "sign_in", row.id)
    raise RefreshTokenRefused


async def list_own(db: AsyncSession, actor: Actor) -> list[SignIn]:
    """Live sign-ins of the account, newest first."""
    query = select(SignIn).where(
        visible(actor, SignIn),
        SignIn.account_id == actor.account_id,
        SignIn.revoked_at.is_(None),
        SignIn.expires_at > clock.now(),
    )
    return list(await db.scalars(query.order_by(SignIn.created_at.desc()).limit(100)))


async def revoke(db: AsyncSession, actor: Actor, sign_in_id: uuid.UUID) -> None:
    row = await fetch(db, actor, SignIn, sign_in_id, lock=True)
    row.revoked_at = row.revoked_at or clock.now()
    await audit.record(db, actor, "revoke", "sign_in", row.id)


async def revoke_all(
    db: AsyncSession, actor: Actor, *, account_id: uuid.UUID, keep: uuid.UUID | None = None
) -> None:
    """After a password change (which may `keep` the sign-in that made it), a lost phone, the end of a job."""
    await db.execute(
        update(SignIn)
        .where(
            SignIn.account_id == account_id,
            SignIn.revoked_at.is_(None),
            SignIn.id.is_distinct_from(keep),
        )
        .values(revoked_at=clock.now())
    )
    await audit.record(db, actor, "revoke_all", "staff_account", account_id)
