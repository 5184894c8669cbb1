"""公益事业捐赠票据 (财综〔2024〕1号): asked for here, issued by the finance department's e-receipt system; its numbers
come back by form or by file."""

import uuid
from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.errors import Conflict, Invalid, StaleVersion, WrongState
from app.models.donations import Donation, DonationStatus, ReceiptRequest, ReceiptStatus
from app.models.funds import Fund
from app.models.messages import NoticeKind
from app.services import audit, idempotency
from app.services.donations import donors
from app.services.idempotency import Key
from app.services.messages import tell
from app.services.pages import oldest_first
from app.services.payments import refunds
from app.services.payments.refunds import RefundUnderWay
from app.services.plain import Body, Day, Line, Note, example

S = ReceiptStatus
GIVEN = (DonationStatus.RECEIVED, DonationStatus.PART_REFUNDED)
#: 票据代码, 票据号码 and 校验码 as printed.
Printed = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{4,20}$", strip_whitespace=True)]
PayerNumber = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{15,18}$", strip_whitespace=True)]


class ReceiptAlreadyAsked(Conflict, constraint="uq_receipt_request_donation_id_live"):
    zh, en = "该笔捐赠已申请或开具票据", "A receipt for this gift was asked for or issued"
    do_zh, do_en = "请查看申请进度", "See how it stands"


class ReceiptNumberTaken(Conflict, constraint="uq_receipt_request_number"):
    zh, en = "该票据号码已用于另一笔捐赠", "This receipt number belongs to another gift"
    do_zh, do_en = "请核对票据代码和号码", "Check code and number"


class NoReceiptForThis(WrongState):
    zh, en = (
        "该笔捐赠未到账、已退款或冲销，或捐赠人信息已注销，不能开具票据",
        "No receipt for what has not come, has gone back, or whose donor was forgotten",
    )


class Payer(Body):
    """Whose name stands on it; the credit code of a body, or of a person the identity number, if they want it there."""

    model_config = example(payer="宁夏某某乳业有限公司", payer_number="91640100MA7600000F")

    payer: Line
    payer_number: PayerNumber | None = None


class Issued(Body):
    receipt_code: Printed
    receipt_number: Printed
    check_code: Printed
    issued_on: Day


async def request(
    db: AsyncSession, actor: Actor, *, key: Key, donation_id: uuid.UUID, payer: Payer
) -> ReceiptRequest:
    """Once for a gift; anew when it was refused or reversed."""
    if not await idempotency.claim(db, actor, key):
        return await fetch(db, actor, ReceiptRequest, key.id)
    gift = await fetch(db, actor, Donation, donation_id, lock=True)
    if gift.status not in GIVEN or gift.salt is None:
        raise NoReceiptForThis
    row = ReceiptRequest(id=key.id, donation_id=gift.id, status=S.REQUESTED, requested_at=clock.now())
    row.payer, row.payer_number = payer.payer, payer.payer_number and payer.payer_number.upper()
    db.add(row)
    await db.flush()  # the constraint speaks here, and the answer shows its version
    await audit.record(
        db, actor, "request", "receipt_request", row.id, people=[await donors.person_of(db, gift)]
    )
    return row


async def issue(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int | None, issued: Issued
) -> ReceiptRequest:
    """With the numbers of the finance department's system. None: whatever version it has. RefundUnderWay while some of
    the gift goes back: what the receipt is for is not known until then."""
    row, gift = await _hold(db, actor, id, version, S.REQUESTED)
    if gift.status not in GIVEN:
        raise NoReceiptForThis
    if await refunds.under_way(db, gift.id):
        raise RefundUnderWay
    if not donors.day_of(gift) <= issued.issued_on <= clock.today():
        raise Invalid.at(
            "/issued/issued_on", "开票日期应在捐赠之后且不晚于今天", "from the day of the gift until today"
        )
    row.status = S.ISSUED
    for name, value in issued:
        setattr(row, name, value)
    return await _done(db, actor, row, gift, "issue")


async def refuse(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str
) -> ReceiptRequest:
    """The donor sees the reason, and may ask anew."""
    row, gift = await _hold(db, actor, id, version, S.REQUESTED)
    row.status, row.reason = S.REFUSED, reason
    return await _done(db, actor, row, gift, "refuse")


async def reverse(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, version: int, reason: str
) -> ReceiptRequest:
    """红冲, after the finance department's system has done so: before a gift with a receipt is refunded or reversed."""
    row, gift = await _hold(db, actor, id, version, S.ISSUED)
    row.status, row.reason = S.REVERSED, reason
    return await _done(db, actor, row, gift, "reverse")


async def _hold(
    db: AsyncSession, actor: Actor, id: uuid.UUID, version: int | None, status: ReceiptStatus
) -> tuple[ReceiptRequest, Donation]:
    """The gift first, as everywhere."""
    seen = await fetch(db, actor, ReceiptRequest, id)
    gift = await fetch(db, actor, Donation, seen.donation_id, lock=True)
    row = await db.get_one(ReceiptRequest, id, with_for_update=True, populate_existing=True)
    if version not in (None, row.version):
        raise StaleVersion(current_version=row.version)
    if row.status is not status:
        raise WrongState
    return row, gift


async def _done(
    db: AsyncSession, actor: Actor, row: ReceiptRequest, gift: Donation, action: str
) -> ReceiptRequest:
    await db.flush()  # the constraint speaks here, and the answer shows the new version
    person = await donors.person_of(db, gift)
    await audit.record(db, actor, action, "receipt_request", row.id, people=[person])
    fund = await db.get_one(Fund, gift.fund_id)
    await tell(
        db, NoticeKind.RECEIPT_UPDATED, [person], entity="donation", entity_id=gift.id, once=f"{row.id} {row.status}",
        values={"service": fund.zh, "time": gift.donated_at.isoformat()},
    )  # fmt: skip
    return row


class Refusal(Body):
    reason: Note


async def listed(
    db: AsyncSession, actor: Actor, *, status: ReceiptStatus, after: uuid.UUID | None, limit: int
) -> list[tuple[ReceiptRequest, Donation]]:
    """What is to be done: those of a status by when they were asked for."""
    query = (
        select(ReceiptRequest, Donation)
        .join(Donation, Donation.id == ReceiptRequest.donation_id)
        .where(visible(actor, ReceiptRequest), ReceiptRequest.status == status)
    )
    query = oldest_first(query, ReceiptRequest.requested_at, ReceiptRequest.id, after, limit)
    return [(row, gift) for row, gift in await db.execute(query)]


async def of_gift(db: AsyncSession, actor: Actor, donation_id: uuid.UUID) -> list[ReceiptRequest]:
    """Newest first."""
    query = select(ReceiptRequest).where(
        visible(actor, ReceiptRequest), ReceiptRequest.donation_id == donation_id
    )
    return list(await db.scalars(query.order_by(ReceiptRequest.requested_at.desc())))
