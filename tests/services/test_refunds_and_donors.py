"""A refund stands in the donor's file, and goes on without the donor."""

from types import SimpleNamespace

import pytest
from sqlalchemy import select

from app.db import begin
from app.models.audit import AuditEvent
from app.models.donations import DonationStatus
from app.models.identity import ResidentAccount, Role
from app.services.donations import erasure
from tests.clients import a_worker
from tests.factories import giving as made
from tests.factories import ledger
from tests.factories.appointments import couple
from tests.services.test_refunds import end, sent, told

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")


async def test_a_donor_reads_of_it_and_may_be_forgotten_while_the_money_goes_back(session):
    fund, donor = await ledger.fund(session), (await couple(session)).wife_actor
    asks, decides = [
        (await a_worker(session, role)).actor() for role in (Role.ACCOUNTANT, Role.COUNTY_ADMINISTRATOR)
    ]
    await session.commit()
    gift = await made.arrived(donor, fund, shown_as="name")
    row = await sent(SimpleNamespace(fund=fund, donor=donor, asks=asks, decides=decides, gift=gift))
    account = await session.get_one(ResidentAccount, donor.id)
    seen = select(AuditEvent.action).where(AuditEvent.person_id == account.person_id)
    seen = seen.where(AuditEvent.entity == "refund").order_by(AuditEvent.id)
    assert list(await session.scalars(seen)) == ["request", "approve", "processing"]
    async with begin() as db:
        await erasure.forget_donor(db, donor.id)
    await end(row)
    assert await told(row) == "succeeded"
    gift = await made.gift(gift.id)
    assert (gift.status, gift.refunded_fen, gift.donor_name, gift.salt) == (
        DonationStatus.REFUNDED, 10_000, None, None,
    )  # fmt: skip
