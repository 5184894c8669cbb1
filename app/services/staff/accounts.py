"""The accounts of workers: one's own, and those that an administrator keeps for a region."""

import uuid

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.db import begin, new_id
from app.errors import Conflict, Invalid
from app.models.identity import STAFF_DOOR, STAFF_ROLES, Role
from app.models.staff import StaffAccount
from app.services import audit, idempotency, regions, sign_ins
from app.services.idempotency import Key
from app.services.staff import credentials


class UsernameTaken(Conflict, constraint="uq_staff_account_username"):
    zh, en = "用户名已被使用", "The username is taken"
    do_zh, do_en = "请更换用户名", "Choose another username"


class OwnAccount(Conflict):
    """Whoever locks the only administrator out can be let in again by the command line alone."""

    zh, en = "不能停用、重置或调动自己的账号", "Not possible for your own account"
    do_zh, do_en = "请由其他管理员操作", "Ask another administrator"


class CurrentPasswordWrong(Invalid):
    zh, en = "当前密码不正确", "The current password is not right"
    do_zh, do_en = "请核对后重试", "Check and try again"


async def own(db: AsyncSession, actor: Actor) -> StaffAccount:
    return await fetch(db, actor, StaffAccount, actor.account_id)


async def change_password(actor: Actor, *, current: str, new: str) -> None:
    """Asks for the current one, whose failures count as those of a sign-in; every other sign-in ends."""
    async with begin() as db:
        username = (await own(db, actor)).username
    credentials.require_strong(new, username=username, current=current)
    try:
        proven = await credentials.prove(username, current)
    except credentials.CredentialsRefused as refusal:
        # 401 would tell the client that its token is no good.
        wrong = CurrentPasswordWrong
        raise wrong.at("/current_password", wrong.zh, wrong.en) from refusal
    hashed = await credentials.hashed(new)
    async with begin() as db:
        account = await credentials.hold(db, proven)
        account.password_hash = hashed
        await credentials.forgive(db, account)
        await sign_ins.revoke_all(db, actor, door=STAFF_DOOR, account_id=account.id, keep=actor.sign_in_id)
        await audit.record(db, actor, "change_password", "staff_account", account.id)


async def create(
    db: AsyncSession, actor: Actor, key: Key | None, *, username: str, name: str, role: Role, region_code: str
) -> tuple[StaffAccount, str | None]:
    """An account within the administrator's own region, and its one-time initial password: None when the request
    is repeated, because only its hash is kept (reset the account if the answer was lost). `key` is None for
    commands."""
    password = credentials.first_password()
    hashed = await credentials.hashed(password)  # first: no connection is held yet
    if key is not None and not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, StaffAccount, key.id), None
    if role not in STAFF_ROLES:
        raise Invalid.at("/role", "不是工作人员角色", "not a role of a worker")
    await regions.require_own_region(db, actor, region_code)
    account = StaffAccount(
        id=key.id if key else new_id(), username=username.lower(), name=name, role=role, region_code=region_code,
        password_hash=hashed, created_at=clock.now(),
    )  # fmt: skip
    db.add(account)
    await audit.record(db, actor, "create", "staff_account", account.id)
    return account, password


async def in_region(
    db: AsyncSession, actor: Actor, *, after: uuid.UUID | None, limit: int
) -> list[StaffAccount]:
    """The accounts of the administrator's region, oldest first."""
    query = select(StaffAccount).where(visible(actor, StaffAccount))
    if after is not None:
        query = query.where(StaffAccount.id > after)
    return list(await db.scalars(query.order_by(StaffAccount.id).limit(limit)))


async def _other(db: AsyncSession, actor: Actor, id: uuid.UUID) -> StaffAccount:
    if id == actor.id:
        raise OwnAccount
    return await fetch(db, actor, StaffAccount, id, lock=True)


async def disable(db: AsyncSession, actor: Actor, id: uuid.UUID) -> StaffAccount:
    """At the end of a job: no more sign-ins, and the present ones end at once."""
    account = await _other(db, actor, id)
    account.disabled_at = account.disabled_at or clock.now()
    await sign_ins.revoke_all(db, actor, door=STAFF_DOOR, account_id=account.id)
    await audit.record(db, actor, "disable", "staff_account", account.id)
    return account


async def reassign(db: AsyncSession, actor: Actor, id: uuid.UUID, region_code: str) -> StaffAccount:
    """A worker of another division from now on, also of a part of one that was split. It may be one's own region, never
    one beyond it."""
    account = await _other(db, actor, id)
    await regions.require_own_region(db, actor, region_code)
    account.region_code = region_code
    await audit.record(db, actor, "reassign", "staff_account", account.id)
    return account


async def reset(db: AsyncSession, actor: Actor, id: uuid.UUID) -> str:
    """For a forgotten password or a lost authenticator: a new initial password, to enrol again with."""
    password = credentials.first_password()
    hashed = await credentials.hashed(password)  # first: no connection is held yet
    account = await _other(db, actor, id)
    account.password_hash = hashed
    account.totp_secret = account.totp_enrolled_at = account.totp_last_step = None
    await credentials.forgive(db, account)
    await credentials.void_recovery_codes(db, account)
    await sign_ins.revoke_all(db, actor, door=STAFF_DOOR, account_id=account.id)
    await audit.record(db, actor, "reset", "staff_account", account.id)
    return password
