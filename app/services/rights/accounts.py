"""WeChat accounts in an erasure: of somebody who is registered, and of somebody of whom no more than the account is
known, as of a donor from elsewhere."""

import secrets
import uuid

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Conflict
from app.models.households import PENDING, Household, HouseholdStatus
from app.models.identity import CITIZEN_DOOR, ERASED, ResidentAccount, SignIn
from app.services import audit, sign_ins
from app.services.donations.erasure import forget_donor
from app.services.households import belonging
from app.services.households.handbook import note


class AccountIsBound(Conflict):
    zh, en = "该账号已实名绑定", "This account is bound to a person"
    do_zh, do_en = "请申请注销个人信息（/me/erasures）", "Ask to be erased instead (/me/erasures)"


async def erase_own(db: AsyncSession, actor: Actor) -> None:
    """At once, and nobody decides about it: the books keep what they must without a name. AccountIsBound where more is
    known than the account."""
    await belonging.lock(db, await db.scalars(_forms(actor.account_id)))  # households first, as everywhere
    own = select(ResidentAccount).where(ResidentAccount.id == actor.account_id)
    account = (await db.scalars(own.with_for_update())).one()
    if account.person_id is not None:
        raise AccountIsBound
    await sign_ins.revoke_all(db, actor, door=CITIZEN_DOOR, account_id=account.id)
    await let_go(db, actor, account)
    await audit.record(db, actor, "erase", "resident_account", account.id)


async def let_go(db: AsyncSession, actor: Actor, account: ResidentAccount) -> None:
    """The caller holds it. The WeChat id goes: who signs in again is somebody new. So do the names of gifts, and of
    devices, and a form that nobody has verified."""
    account.openid = ERASED + secrets.token_hex(16)
    await forget_donor(db, account.id)
    devices = update(SignIn).where(SignIn.door == CITIZEN_DOOR, SignIn.account_id == account.id)
    await db.execute(devices.values(device=""))
    await _drop_forms(db, actor, account.id)


def _forms(account_id: uuid.UUID) -> Select[uuid.UUID]:
    return select(Household.id).where(Household.account_id == account_id, Household.status.in_(PENDING))


async def _drop_forms(db: AsyncSession, actor: Actor, account_id: uuid.UUID) -> None:
    pending = select(Household).where(Household.id.in_(_forms(account_id)))
    for form in await db.scalars(pending.with_for_update()):
        form.form, form.marks, form.status = None, [], HouseholdStatus.CLOSED
        await db.flush()  # the step is written about a household without a form
        await note(db, actor, form, "closed_by_erasure")
