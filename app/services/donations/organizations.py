"""Companies and other bodies that give. The name may be public; who answers for it is sealed."""

import re
import uuid
from typing import Annotated

from pydantic import AfterValidator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, fetch_version, lies_in, visible
from app.errors import Conflict, Invalid, Unfit
from app.models.donations import OrganizationDonor
from app.models.regions import Region
from app.services import audit, idempotency
from app.services.idempotency import Key
from app.services.pages import newest_first
from app.services.plain import Body, Line, RegionCode, Text, example

#: GB 32100-2015: without I, O, S, V, Z.
CHARACTERS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
FORM = re.compile(f"[{CHARACTERS}]{{2}}[0-9]{{6}}[{CHARACTERS}]{{10}}")


class OrganizationKnown(Conflict, constraint="uq_organization_donor_credit_code"):
    zh, en = "该统一社会信用代码已登记", "A body with this credit code is on record"
    do_zh, do_en = "请查找并使用已登记的捐赠单位", "Look it up and use that"


def check_character(first: str) -> str:
    """GB 32100-2015 §5: weights 3^i modulo 31."""
    total = sum(CHARACTERS.index(one) * pow(3, place, 31) for place, one in enumerate(first))
    return CHARACTERS[-total % 31]


def credit_code(text: str) -> str:
    """统一社会信用代码, in capitals; Unfit with what is wrong."""
    code = text.strip().upper()
    if not FORM.fullmatch(code):
        raise Unfit("统一社会信用代码应为 18 位", "a credit code has 18 characters")
    if check_character(code[:17]) != code[17]:
        raise Unfit("统一社会信用代码校验位不符，请核对", "the check character of the credit code is wrong")
    return code


CreditCode = Annotated[str, Text(30), AfterValidator(credit_code)]
Phone = Annotated[str, Text(30, 5)]


class OrganizationForm(Body):
    model_config = example(
        region_code="640104000000", name="宁夏某某乳业有限公司", credit_code="91640100MA7600000F",
        contact="马主任", phone="0951-1234567",
    )  # fmt: skip

    region_code: RegionCode
    name: Line
    credit_code: CreditCode | None = None
    contact: Line | None = None
    phone: Phone | None = None


async def register(db: AsyncSession, actor: Actor, *, key: Key, new: OrganizationForm) -> OrganizationDonor:
    """OrganizationKnown where its credit code is on record."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, OrganizationDonor, key.id)
    row = OrganizationDonor(id=key.id, created_at=clock.now())
    await _write(db, actor, row, new)
    db.add(row)
    await db.flush()  # the constraint speaks here, and the answer shows its version
    await audit.record(db, actor, "register", "organization_donor", row.id)
    return row


async def change(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, new: OrganizationForm
) -> OrganizationDonor:
    """What was given before stays under the name of then."""
    row = await fetch_version(db, actor, OrganizationDonor, id, version)
    await _write(db, actor, row, new)
    await db.flush()  # as above
    await audit.record(db, actor, "change", "organization_donor", row.id)
    return row


async def _write(db: AsyncSession, actor: Actor, row: OrganizationDonor, new: OrganizationForm) -> None:
    known = await db.scalar(select(Region.code).where(Region.code == new.region_code))
    if known is None or not lies_in(new.region_code, actor.region_code):
        raise Invalid.at("/region_code", "不是本辖区内的行政区划", "not a region of yours")
    row.region_code, row.name, row.credit_code = new.region_code, new.name, new.credit_code
    row.contact, row.phone = new.contact, new.phone


async def listed(
    db: AsyncSession, actor: Actor, *, name: str | None, after: uuid.UUID | None, limit: int
) -> list[OrganizationDonor]:
    """Newest first; `name`: only those whose name holds it."""
    query = select(OrganizationDonor).where(visible(actor, OrganizationDonor))
    if name is not None:
        query = query.where(OrganizationDonor.name.contains(name, autoescape=True))
    query = newest_first(query, OrganizationDonor.created_at, OrganizationDonor.id, after, limit)
    return list(await db.scalars(query))


async def read(db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str) -> OrganizationDonor:
    """With who answers for it; recorded."""
    row = await fetch(db, actor, OrganizationDonor, id)
    await audit.record(db, actor, "read", "organization_donor", row.id, purpose=purpose)
    return row
