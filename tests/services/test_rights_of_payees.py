"""Whom money went to: a payment under way stands against an erasure; names stay no longer than the books need them."""

from datetime import date, timedelta

import pytest

from app import clock
from app.db import new_id
from app.errors import WrongState
from app.models.disbursements import Disbursement, DisbursementEvent, DisbursementStatus
from app.models.identity import Role
from app.services import disbursements, rights
from app.services.donations import receipts
from app.services.donations.receipts import Payer
from tests.clients import REGION, a_worker
from tests.factories import appointments as made
from tests.factories import disbursements as spent
from tests.factories import gifts as given
from tests.factories import ledger
from tests.services.test_rights import ask, close, codes, decide

pytestmark = pytest.mark.usefixtures("connection")


async def test_a_payment_under_way_holds_an_erasure_and_one_that_was_made_keeps_its_name_only(session):
    family, house = await made.couple(session), await spent.house(session)
    admin = await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR)
    theirs = {"person_id": family.wife.id, "payee": "李秀英"}
    never, made_ = [await spent.submitted(session, house, **theirs) for _ in range(2)]
    never = await disbursements.reject(
        session, house.county, id=never.id, version=never.version, reason="材料不全"
    )
    await close(session, family)
    assert await codes(session, family.wife) == {"open_payment": None}
    made_ = await disbursements.approve(
        session, house.county, key=spent.key(), id=made_.id, version=made_.version
    )
    assert await codes(session, family.wife) == {"open_payment": None}
    made_ = await disbursements.pay(session, house.accountant, id=made_.id, version=made_.version)
    assert await codes(session, family.wife) == {}
    await decide(session, admin, await ask(session, family.wife_actor))
    for row in (never, made_):
        await session.refresh(row)
        assert row.person_id is None, "leads to no file any more"
    assert (made_.payee, made_.bank_account) == ("李秀英", spent.CARD)
    assert (never.payee, never.bank_account) == (None, None)
    shown = disbursements.row_of(never)
    assert (shown.payee, shown.bank_account) == ("", "")
    await disbursements.detail(session, house.county, id=never.id, purpose="payment")
    with pytest.raises(WrongState):
        await disbursements.copy(session, house.officer, key=spent.key(), id=never.id)


def long_ago(house, day, status=DisbursementStatus.PAID):
    row = Disbursement(
        id=new_id(), number=new_id().hex, fund_id=house.fund.id, budget_line_id=house.line.id, region_code=spent.TOWN,
        amount_fen=1, purpose="紧急救助金", payee_kind="person", bank_name="宁夏银行", status=status,
        created_at=clock.midnight(day),
    )  # fmt: skip
    row.payee, row.bank_account = "王小芳", spent.CARD
    return row


async def test_names_in_the_books_go_thirty_years_after_the_year(session):
    house, first = await spent.house(session), date(clock.today().year - 30, 1, 1)
    accountant, fund = (
        (await a_worker(session, Role.ACCOUNTANT, REGION)).actor(),
        await ledger.fund(session, "GIFT"),
    )
    kept, gone = first, first - timedelta(days=1)
    papers = {}
    for day in (kept, gone):
        gift = await given.recorded(session, accountant, fund, donor_name="王建国")
        payer = Payer(payer="王建国")
        paper = await receipts.request(session, accountant, key=given.key(), donation_id=gift.id, payer=payer)
        paper.requested_at = clock.midnight(day)
        papers[day] = paper
    old, newer, later = (long_ago(house, day) for day in (gone, kept, gone))
    waiting = long_ago(house, gone, DisbursementStatus.SUBMITTED)
    session.add_all([old, newer, later, waiting])
    await session.flush()
    signed = {
        "at": clock.midnight(kept),
        "status": DisbursementStatus.ACKNOWLEDGED,
        "actor_role": Role.SYSTEM,
    }
    session.add(DisbursementEvent(id=new_id(), disbursement_id=later.id, **signed))
    await session.commit()
    await rights.purge()
    for row in (*papers.values(), old, newer, later, waiting):
        await session.refresh(row)
    assert (papers[gone].payer, old.payee, old.bank_account) == (None, None, None)
    assert {papers[kept].payer, newer.payee, later.payee, waiting.payee} == {"王建国", "王小芳"}
