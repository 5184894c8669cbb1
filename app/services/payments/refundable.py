"""What a refund is of: how much of a gift may go back and by which payment it came, and what going back does to it."""

import uuid
from datetime import date, timedelta

from sqlalchemy import case, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Conflict, WrongState
from app.models.donations import Donation, DonationStatus, ReceiptRequest, ReceiptStatus
from app.models.funds import Fund
from app.models.ledger import Phase, TransferKind
from app.models.payments import OrderStatus, PaymentOrder, Refund
from app.services.donations import pledges
from app.services.ledger import accounts, posting
from app.services.reconciliation import suspense
from app.services.reconciliation.suspense import NotAPayment

#: WeChat takes none after that.
LATEST = timedelta(days=365)


class RefundTooMuch(Conflict, constraint="ck_donation_refunded_fen"):
    """Says `left_fen`: what was given and not refunded."""

    zh, en = "退款金额超过可退金额", "More than is left of the gift"
    do_zh, do_en = "请核对金额", "Check the amount"


class RefundTooLate(Conflict):
    zh, en = "支付已超过一年，无法原路退款", "Paid more than a year ago: WeChat Pay refunds it no more"
    do_zh, do_en = "请通过银行转账退还", "Pay it back through the bank"


class ReceiptStillValid(Conflict):
    zh, en = "该笔捐款已开具捐赠票据", "A receipt was issued for this gift"
    do_zh, do_en = "请先红冲票据，再申请退款", "Have the receipt reversed first"


async def of_gift(db: AsyncSession, gift: Donation, amount_fen: int) -> str:
    """WeChat's number of the payment, if that much of the gift may go back. The gift is locked."""
    if gift.status not in (DonationStatus.RECEIVED, DonationStatus.PART_REFUNDED):
        raise WrongState
    transaction_id = await _transaction(db, gift)
    refuse_late(clock.day_of(gift.donated_at))
    left = gift.amount_fen - gift.refunded_fen
    if amount_fen > left:
        raise RefundTooMuch(left_fen=left)
    await refuse_valid_receipt(db, gift.id)
    return transaction_id


async def _transaction(db: AsyncSession, gift: Donation) -> str:
    """Of its order, or of the payment that was in suspense before it was made a gift."""
    order = await db.get(PaymentOrder, gift.id)
    if order is not None and order.transaction_id is not None:
        return order.transaction_id
    money = await suspense.behind(db, gift)
    if money is None:
        raise NotAPayment
    suspense.refuse_no_payment(money)
    return money.reference


def refuse_late(paid_on: date) -> None:
    if paid_on + LATEST <= clock.today():
        raise RefundTooLate


async def refuse_valid_receipt(db: AsyncSession, donation_id: uuid.UUID) -> None:
    issued = ReceiptRequest.status == ReceiptStatus.ISSUED
    receipt = select(ReceiptRequest.id).where(ReceiptRequest.donation_id == donation_id, issued).limit(1)
    if await db.scalar(receipt):
        raise ReceiptStillValid


async def less(db: AsyncSession, donation_id: uuid.UUID, amount_fen: int) -> None:
    """The gift is less by what has gone back, and keeps so much less of a promise."""
    refunded = Donation.refunded_fen + amount_fen
    status = case(
        (refunded == Donation.amount_fen, DonationStatus.REFUNDED.value),
        else_=DonationStatus.PART_REFUNDED.value,
    )
    gift = await db.execute(
        update(Donation)
        .where(Donation.id == donation_id)
        .values(refunded_fen=refunded, status=status, version=Donation.version + 1)
        .returning(Donation.status, Donation.pledge_id)
    )
    now, pledge_id = gift.one()
    order = update(PaymentOrder).where(PaymentOrder.id == donation_id)
    await db.execute(order.values(status=OrderStatus(now.value)))
    if pledge_id is not None:
        await pledges.count(db, pledge_id, -amount_fen)


async def entry(db: AsyncSession, row: Refund, id: uuid.UUID, phase: Phase) -> posting.Entry:
    """Out of what was given to the fund, or out of suspense."""
    fund = await db.scalar(
        select(Fund).join(Donation, Donation.fund_id == Fund.id).where(Donation.id == row.donation_id)
    )
    return posting.Entry(
        id, debit=accounts.income_code(fund) if fund else posting.SUSPENSE, credit=posting.WECHAT,
        amount=row.amount_fen, kind=TransferKind.REFUND, reference=f"refund/{row.id}", effective=clock.today(),
        phase=phase, group=row.difference_id, pending=None if phase is Phase.HOLD else row.hold_id,
    )  # fmt: skip
