"""Who sees which rows: the care fund."""

from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select, true
from sqlalchemy.orm import aliased

from app.access.permissions import Actor
from app.access.rules import Scope, of_region, of_region_or_above, rule
from app.db import Base
from app.models.disbursements import ApprovalLimit, BankFile, Disbursement
from app.models.donations import (
    Donation,
    DonationFile,
    GoodsDelivery,
    OrganizationDonor,
    Pledge,
    ReceiptRequest,
)
from app.models.funds import BudgetLine, Campaign, CampaignStatus, Fund
from app.models.ledger import LedgerAccount, LedgerPeriod, Transfer
from app.models.payments import PaymentOrder, Refund
from app.models.reconciliation import BillFile, ReconciliationDifference

#: The funds of the own region and, as those are what one spends from, of the regions above.
_fund_seen = of_region_or_above(Fund.region_code)


def _of_fund(fund_id: Any) -> Scope:
    return lambda actor: fund_id.in_(select(Fund.id).where(_fund_seen(actor)))


def _own_gift(donation_id: Any, actor: Actor) -> ColumnElement[bool]:
    gift = aliased(Donation)
    return exists().where(gift.id == donation_id, gift.account_id == actor.account_id)


def _gift_of_fund(donation_id: Any, actor: Actor) -> ColumnElement[bool]:
    gift = aliased(Donation)
    return exists().where(gift.id == donation_id, _of_fund(gift.fund_id)(actor))


SCOPE: dict[type[Base], Scope] = {
    Fund: rule(resident=lambda _: true(), worker=_fund_seen),
    Campaign: rule(
        resident=lambda _: Campaign.status != CampaignStatus.DRAFT, worker=_of_fund(Campaign.fund_id)
    ),
    BudgetLine: rule(worker=_of_fund(BudgetLine.fund_id)),
    Donation: rule(resident=lambda a: Donation.account_id == a.account_id, worker=_of_fund(Donation.fund_id)),
    DonationFile: rule(worker=_of_fund(DonationFile.fund_id)),
    OrganizationDonor: rule(worker=of_region(OrganizationDonor.region_code)),
    GoodsDelivery: rule(worker=lambda a: _gift_of_fund(GoodsDelivery.donation_id, a)),
    Pledge: rule(resident=lambda a: Pledge.account_id == a.account_id, worker=_of_fund(Pledge.fund_id)),
    ReceiptRequest: rule(
        resident=lambda a: _own_gift(ReceiptRequest.donation_id, a),
        worker=lambda a: _gift_of_fund(ReceiptRequest.donation_id, a),
    ),
    PaymentOrder: rule(
        resident=lambda a: PaymentOrder.account_id == a.account_id,
        worker=lambda a: _gift_of_fund(PaymentOrder.id, a),
    ),
    Refund: rule(
        resident=lambda a: _own_gift(Refund.donation_id, a),
        # What is in suspense is of no fund.
        worker=lambda a: or_(_gift_of_fund(Refund.donation_id, a), Refund.difference_id.is_not(None)),
    ),
    Disbursement: rule(worker=of_region(Disbursement.region_code)),
    BankFile: rule(worker=of_region(BankFile.region_code)),
    # Those above bind whoever has no own.
    ApprovalLimit: rule(worker=of_region_or_above(ApprovalLimit.region_code)),
    # One merchant number, one set of books.
    **{model: rule(worker=lambda _: true()) for model in (BillFile, ReconciliationDifference)},
    # Nobody's name is in them: what was posted is public.
    **{model: rule(worker=lambda _: true()) for model in (LedgerAccount, Transfer, LedgerPeriod)},
}
