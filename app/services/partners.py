"""Partner hospitals: the signature on each of their requests, their keys, who they are.

The form is that of Standard Webhooks 1.0.0 (headers, ±5 minutes, a list of signatures), with the method and
the path signed as well and HMAC-SM3 (GB/T 32905) as a second algorithm.
"""

import base64
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.crypto import same, sign
from app.db import new_id, statements
from app.errors import Conflict, NotFound, Unauthenticated, WrongState
from app.models.identity import Role
from app.models.partners import Algorithm, Organization, PartnerKey, PartnerNonce
from app.services import allowances, audit, idempotency, regions
from app.services.idempotency import Key

TOLERANCE = timedelta(minutes=5)
NONCES_KEPT = timedelta(minutes=15)
LIVE_KEYS = 2
SECRET_SHOWN = timedelta(minutes=15)
SECRET_PREFIX = "whsec_"  # noqa: S105
# No blank inside: the first blank of the signed content then always ends "id.timestamp.METHOD".
MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,100}")
TIMESTAMP = re.compile(r"[0-9]{1,10}")


class SignatureRefused(Unauthenticated):
    """One answer for an unknown key, a revoked one, a disabled hospital and a wrong signature."""

    zh, en = "签名验证未通过", "The signature is not accepted"
    do_zh = "请检查密钥编号、密钥、签名内容，以及服务器时钟（误差五分钟以内）"
    do_en = "Check key id, secret, signed content, and that the clock is right within five minutes"
    headers: ClassVar = {"WWW-Authenticate": "Nuanxin-Signature"}


class ReplayedRequest(Conflict):
    zh, en = "该请求已处理，请勿重复提交", "This very request was accepted before"
    do_zh = "重试请使用相同的 Webhook-Id 和新的时间戳重新签名"
    do_en = "To retry, keep the Webhook-Id, take a new timestamp and sign again"


class OrganizationNameTaken(Conflict, constraint="uq_organization_name"):
    zh, en = "该机构名称已登记", "An organization of this name exists"
    do_zh, do_en = "请核对是否重复登记", "Check whether it is registered already"


class OrganizationDisabled(WrongState):
    zh, en = "该机构已停用", "The organization is disabled"


class TwoKeysLive(Conflict):
    zh, en = "已有两个有效密钥", "Two keys are live already"
    do_zh, do_en = "请先吊销不再使用的密钥", "Revoke the one no longer in use first"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """As received: the headers, the method, the raw path with its query, the raw body."""

    key_id: str
    message_id: str
    timestamp: str
    signature: str
    method: str
    path: str
    body: bytes


def signature(
    algorithm: str, secret: str, message_id: str, timestamp: int, method: str, path: str, body: bytes
) -> str:
    """One entry of Webhook-Signature. `secret` as handed out (whsec_…), `path` as sent, with its query."""
    # Method and path are signed too, beyond Standard Webhooks: one secret serves many operations here, and a
    # signature over the body alone could be moved from one operation to another.
    content = f"{message_id}.{timestamp}.{method.upper()} {path}\n".encode() + body
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(sign(algorithm, key, content)).decode()


async def authenticate(db: AsyncSession, signed: SignedRequest) -> Actor:
    """The hospital that signed this request, each request once, and no more of them than it may send. A request that
    fails leaves no trace of its nonce and may be sent again as it is, unless the failure kept something
    (results/reports)."""
    sent = _sent_at(signed)
    # What it has spent stays spent whatever becomes of the request, and is locked for one statement only.
    async with statements() as own:
        key, organization = await _signer(own, signed)
        await allowances.spend(own, organization, reading=signed.method == "GET")
        await own.commit()  # gives the connection back before the request takes its own
    await _accept_once(db, organization.id, signed.message_id, sent)
    return Actor(Role.PARTNER, id=organization.id, region_code=organization.region_code, key_id=key.id)


async def _signer(db: AsyncSession, signed: SignedRequest) -> tuple[PartnerKey, Organization]:
    found = await db.execute(
        select(PartnerKey, Organization)
        .join(Organization, Organization.id == PartnerKey.organization_id)
        .where(
            PartnerKey.id == _key_id(signed),
            PartnerKey.revoked_at.is_(None),
            Organization.disabled_at.is_(None),
        )
    )
    row = found.one_or_none()
    if row is None or not _signed_with(*row, signed):
        raise SignatureRefused
    key, organization = row
    return key, organization


def _key_id(signed: SignedRequest) -> uuid.UUID:
    try:
        return uuid.UUID(signed.key_id)
    except ValueError as error:
        raise SignatureRefused from error


def _sent_at(signed: SignedRequest) -> datetime:
    """Within five minutes of our clock, either way."""
    if not MESSAGE_ID.fullmatch(signed.message_id) or not TIMESTAMP.fullmatch(signed.timestamp):
        raise SignatureRefused
    sent = datetime.fromtimestamp(int(signed.timestamp), UTC)
    if abs(clock.now() - sent) > TOLERANCE:
        raise SignatureRefused
    return sent


def _signed_with(key: PartnerKey, organization: Organization, signed: SignedRequest) -> bool:
    """The algorithm is the organization's setting: a request cannot ask for a weaker one."""
    expected = signature(
        organization.algorithm, key.secret, signed.message_id, int(signed.timestamp),
        signed.method, signed.path, signed.body,
    )  # fmt: skip
    offered = signed.signature.encode("utf-8", "replace").split(b" ")
    return any(same(expected.encode(), entry) for entry in offered)


async def _accept_once(db: AsyncSession, organization_id: uuid.UUID, message_id: str, sent: datetime) -> None:
    """A concurrent twin waits at the index until the first request commits or is rolled back."""
    nonce = {"organization_id": organization_id, "message_id": message_id, "sent_at": sent}
    made = await db.scalar(
        insert(PartnerNonce).values(nonce).on_conflict_do_nothing().returning(PartnerNonce.message_id)
    )
    if made is None:
        raise ReplayedRequest


async def purge_nonces(db: AsyncSession) -> None:
    """Those whose timestamp is refused by now anyway."""
    await db.execute(delete(PartnerNonce).where(PartnerNonce.sent_at < clock.now() - NONCES_KEPT))


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as it is handed over. A repeated request gets the secret for a quarter of an hour, then None."""

    id: uuid.UUID
    created_at: datetime
    revoked_at: datetime | None
    secret: str | None


async def create(
    db: AsyncSession, actor: Actor, key: Key | None, *, name: str, region_code: str, algorithm: Algorithm
) -> tuple[Organization, IssuedKey]:
    """A hospital and its first key. `key` is None for commands."""
    if key is not None and not await idempotency.claim(db, actor, key):
        organization = await fetch(db, actor, Organization, key.id)
        return organization, await _shown_again(db, actor, (await keys_of(db, actor, organization.id))[0])
    await regions.require_own_region(db, actor, region_code)
    organization = Organization(
        id=key.id if key else new_id(), name=name, region_code=region_code, algorithm=algorithm,
        created_at=clock.now(),
    )  # fmt: skip
    db.add(organization)
    await db.flush()  # the key refers to it
    first = await _new_key(db, actor, organization, new_id())
    await audit.record(db, actor, "create", "organization", organization.id)
    return organization, first


async def _new_key(db: AsyncSession, actor: Actor, organization: Organization, id: uuid.UUID) -> IssuedKey:
    key = PartnerKey(id=id, organization_id=organization.id, created_at=clock.now())
    key.secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    db.add(key)
    await audit.record(db, actor, "create", "partner_key", key.id)
    return IssuedKey(key.id, key.created_at, None, key.secret)


async def _shown_again(db: AsyncSession, actor: Actor, key: PartnerKey) -> IssuedKey:
    """For an answer that was lost on the line. Later it would be a way to read secrets in passing."""
    if clock.now() - key.created_at > SECRET_SHOWN:
        return IssuedKey(key.id, key.created_at, key.revoked_at, None)
    await audit.record(db, actor, "read_secret", "partner_key", key.id)
    return IssuedKey(key.id, key.created_at, key.revoked_at, key.secret)


async def add_key(db: AsyncSession, actor: Actor, key: Key, *, organization_id: uuid.UUID) -> IssuedKey:
    """A second live key, so that the hospital changes over without a pause; never a third."""
    organization = await fetch(db, actor, Organization, organization_id, lock=True)
    if not await idempotency.claim(db, actor, key):
        return await _shown_again(db, actor, await _key_of(db, organization, key.id))
    if organization.disabled_at is not None:
        raise OrganizationDisabled
    live = select(func.count()).where(
        PartnerKey.organization_id == organization.id, PartnerKey.revoked_at.is_(None)
    )
    if (await db.scalars(live)).one() >= LIVE_KEYS:
        raise TwoKeysLive
    return await _new_key(db, actor, organization, key.id)


async def _key_of(db: AsyncSession, organization: Organization, key_id: uuid.UUID) -> PartnerKey:
    query = select(PartnerKey).where(PartnerKey.id == key_id, PartnerKey.organization_id == organization.id)
    key = await db.scalar(query.with_for_update())
    if key is None:
        raise NotFound
    return key


async def revoke_key(
    db: AsyncSession, actor: Actor, *, organization_id: uuid.UUID, key_id: uuid.UUID
) -> PartnerKey:
    """At once. The last one may be revoked as well: a leaked key must not wait for its successor."""
    organization = await fetch(db, actor, Organization, organization_id, lock=True)
    key = await _key_of(db, organization, key_id)
    key.revoked_at = key.revoked_at or clock.now()
    await audit.record(db, actor, "revoke", "partner_key", key.id)
    return key


async def disable(db: AsyncSession, actor: Actor, id: uuid.UUID) -> Organization:
    """No request of this hospital is accepted any more."""
    organization = await fetch(db, actor, Organization, id, lock=True)
    organization.disabled_at = organization.disabled_at or clock.now()
    await audit.record(db, actor, "disable", "organization", organization.id)
    return organization


async def limit(
    db: AsyncSession, actor: Actor, id: uuid.UUID, *, requests_per_minute: int, burst: int
) -> Organization:
    """How many requests it may send from now on."""
    organization = await fetch(db, actor, Organization, id, lock=True)
    organization.requests_per_minute, organization.burst = requests_per_minute, burst
    await audit.record(db, actor, "limit", "organization", organization.id)
    return organization


async def own(db: AsyncSession, actor: Actor) -> Organization:
    """The hospital that is calling."""
    return await fetch(db, actor, Organization, actor.account_id)


async def in_region(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[Organization]:
    """The hospitals of the worker's region, oldest first."""
    query = select(Organization).where(visible(actor, Organization))
    if after is not None:
        query = query.where(Organization.id > after)
    return list(await db.scalars(query.order_by(Organization.id).limit(limit)))


async def keys_of(db: AsyncSession, actor: Actor, id: uuid.UUID) -> list[PartnerKey]:
    """Live and revoked, oldest first: revoked ones explain old signatures."""
    organization = await fetch(db, actor, Organization, id)
    query = select(PartnerKey).where(PartnerKey.organization_id == organization.id)
    return list(await db.scalars(query.order_by(PartnerKey.created_at, PartnerKey.id).limit(100)))
