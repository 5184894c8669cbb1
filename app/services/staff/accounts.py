"""The accounts of workers: one's own, and those that an administrator keeps for a region."""

import asyncio
import uuid
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, fetch, region_bounds, visible
from app.crypto import blind_index
from app.db import new_id
from app.errors import Conflict, Forbidden, Invalid
from app.models.identity import STAFF_ROLES, Role
from app.models.staff import StaffAccount
from app.services import audit, idempotency, regions, sign_ins
from app.services.idempotency import Key
from app.services.staff import credentials


class UsernameTaken(Conflict, constraint="uq_staff_account_username"):
    zh, en = "用户名已被使用", "The username is taken"
    do_zh, do_en = "请更换用户名", "Choose another username"


class OwnAccount(Conflict):
    """Whoever locks the only administrator out can be let in again by the command line alone."""

    zh, en = "不能停用或重置自己的账号", "Not possible for your own account"
    do_zh, do_en = "请由其他管理员操作", "Ask another administrator"


class CurrentPasswordWrong(Invalid):
    zh, en = "当前密码不正确", "The current password is not right"
    do_zh, do_en = "请核对后重试", "Check and try again"


class RegionOutsideOwn(Forbidden):
    zh, en = "超出您的管辖区域", "Outside your own region"
    do_zh, do_en = "请选择本辖区内的行政区划", "Choose a division within your region"


async def require_own_region(db: AsyncSession, actor: Actor, region_code: str) -> None:
    """A current division, and the actor's own or one below it."""
    first, last = region_bounds(actor.region_code)
    if actor.role is not Role.SYSTEM and not first <= region_code <= last:
        raise RegionOutsideOwn
    await regions.require(db, {"/region_code": region_code})


async def own(db: AsyncSession, actor: Actor) -> StaffAccount:
    return await fetch(db, actor, StaffAccount, actor.account_id)


async def change_password(db: AsyncSession, actor: Actor, *, current: str, new: str) -> None:
    """Asks for the current one, whose failures count as those of a sign-in; every other sign-in ends."""
    username = (await own(db, actor)).username
    try:
        proven = await credentials.prove(username, current)
    except credentials.CredentialsRefused as refusal:
        # 401 would tell the client that its token is no good.
        raise CurrentPasswordWrong(
            errors=[{"pointer": "/current_password", "detail": CurrentPasswordWrong.zh}]
        ) from refusal
    hashed = await credentials.hashed(new, username=username, current=current)
    account = await credentials.hold(db, proven)
    account.password_hash = hashed
    credentials.forgive(account)
    await sign_ins.revoke_all(db, actor, account_id=account.id, keep=actor.sign_in_id)
    await audit.record(db, actor, "change_password", "staff_account", account.id)


@dataclass(frozen=True, slots=True)
class Details:
    username: str
    name: str
    role: Role
    region_code: str


def _grouped(code: str) -> str:
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def _first_password(key: Key) -> str:
    """80 bits that only the server's key can find, the same for the same request: when the answer is lost on
    the line, repeating the request gives the password again. It opens nothing but the enrolment."""
    mac = blind_index("initial-password", f"{key.id}|{key.fingerprint.hex()}")
    return _grouped("".join(tokens.CODE_ALPHABET[byte % len(tokens.CODE_ALPHABET)] for byte in mac[:16]))


async def create(
    db: AsyncSession, actor: Actor, key: Key, *, username: str, name: str, role: Role, region_code: str
) -> tuple[StaffAccount, str]:
    """An account within the administrator's own region, and its one-time initial password."""
    password = _first_password(key)
    hashed = await asyncio.to_thread(tokens.hash_password, password)
    if await idempotency.claim(db, actor, key):
        details = Details(username.lower(), name, role, region_code)
        return await _open(db, actor, key.id, hashed, details), password
    return await fetch(db, actor, StaffAccount, key.id), password


async def create_first(
    db: AsyncSession, actor: Actor, *, username: str, name: str, role: Role, region_code: str
) -> tuple[StaffAccount, str]:
    """The account that can create the others, made from the command line."""
    password = _grouped(tokens.random_code(16))
    hashed = await asyncio.to_thread(tokens.hash_password, password)
    details = Details(username.lower(), name, role, region_code)
    return await _open(db, actor, new_id(), hashed, details), password


async def _open(db: AsyncSession, actor: Actor, id: uuid.UUID, hashed: str, details: Details) -> StaffAccount:
    if details.role not in STAFF_ROLES:
        raise Invalid.at("/role", "不是工作人员角色", "not a role of a worker")
    await require_own_region(db, actor, details.region_code)
    account = StaffAccount(id=id, password_hash=hashed, failures=0, created_at=clock.now(), **asdict(details))
    db.add(account)
    await audit.record(db, actor, "create", "staff_account", account.id)
    return account


async def in_region(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[StaffAccount]:
    """The accounts of the administrator's region, oldest first; one more than `limit` when there are more."""
    query = select(StaffAccount).where(visible(actor, StaffAccount))
    if after is not None:
        query = query.where(StaffAccount.id > after)
    return list(await db.scalars(query.order_by(StaffAccount.id).limit(limit + 1)))


async def _other(db: AsyncSession, actor: Actor, account_id: uuid.UUID) -> StaffAccount:
    if account_id == actor.id:
        raise OwnAccount
    return await fetch(db, actor, StaffAccount, account_id, lock=True)


async def disable(db: AsyncSession, actor: Actor, account_id: uuid.UUID) -> StaffAccount:
    """At the end of a job: no more sign-ins, and the present ones end at once."""
    account = await _other(db, actor, account_id)
    account.disabled_at = account.disabled_at or clock.now()
    await sign_ins.revoke_all(db, actor, account_id=account.id)
    await audit.record(db, actor, "disable", "staff_account", account.id)
    return account


async def reset(db: AsyncSession, actor: Actor, account_id: uuid.UUID) -> str:
    """For a forgotten password or a lost authenticator: a new initial password, to enrol again with."""
    password = _grouped(tokens.random_code(16))
    hashed = await asyncio.to_thread(tokens.hash_password, password)
    account = await _other(db, actor, account_id)
    account.password_hash = hashed
    account.totp_secret = account.totp_enrolled_at = account.totp_last_step = None
    credentials.forgive(account)
    await credentials.void_recovery_codes(db, account)
    await sign_ins.revoke_all(db, actor, account_id=account.id)
    await audit.record(db, actor, "reset", "staff_account", account.id)
    return password
