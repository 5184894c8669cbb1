"""A refund that somebody made on WeChat's own page: WeChat is asked whether it carried it out."""

from datetime import timedelta

import pytest

from app import clock
from app.db import begin, new_id
from app.integrations import wechat_pay
from app.integrations.wechat_pay import Payment, PaymentState
from app.models.reconciliation import DifferenceStatus, ReconciliationDifference
from app.services.payments import notices
from app.services.reconciliation import matching
from tests.factories import bills
from tests.paying import control
from tests.services.test_refunds_of_suspense import (
    YESTERDAY,
    difference,
    looked_into,
    scene,
    stands,
    to_fund,
)

pytestmark = pytest.mark.usefixtures("connection", "wechat_pay")
S = DifferenceStatus
__all__ = ["scene"]


@pytest.mark.parametrize("end", ["CLOSED", "SUCCESS"])
async def test_wechat_is_asked_what_became_of_a_refund_that_others_made(scene, end):
    paid = await control("stranger", {"amount_fen": 500})
    of, number = paid["transaction_id"], f"BY-HAND-{new_id().hex[:20]}"
    await wechat_pay.refund(transaction_id=of, out_refund_no=number, refund_fen=500, total_fen=500)
    wechat, day = bills.Wechat(), clock.today() - timedelta(days=1)
    event = bills.Event(YESTERDAY, "交易", 500, of, paid["out_trade_no"])
    wechat.did(event)
    wechat.refunded(event, number, 500, YESTERDAY, status="PROCESSING")
    async with begin() as db:
        payment = Payment(paid["out_trade_no"], PaymentState.SUCCESS, of, 500, YESTERDAY)
        assert await notices.settle(db, payment) == "unexplained"
    await to_fund(scene, await looked_into(scene, await difference()))  # found out before the bill came
    strange = ReconciliationDifference.theirs_fen < 0
    await wechat.deliver(day)
    await matching.match_due()
    row = await difference(strange)
    assert (row.kind, row.status, row.theirs_fen) == ("missing_here", S.OPEN, -500)
    await matching.ask_after()
    assert (await difference(strange)).status is S.OPEN
    await control("refund", {"out_refund_no": number, "status": end, "notices": []})
    await matching.ask_after()
    await matching.ask_after()
    closed = end == "CLOSED"
    assert (await difference(strange)).status is (S.MATCHED if closed else S.OPEN)
    assert (await stands())[0] == (0 if closed else -500)
