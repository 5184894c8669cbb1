"""Gifts on their way and payments to decide, and those who tell of them and decide."""

import random
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.disbursements import Disbursement, DisbursementStatus, PayeeKind
from app.models.donations import Channel, Donation, DonationStatus, ShownAs
from app.models.funds import BudgetLine, Fund
from app.models.identity import STAFF_DOOR, ResidentAccount, Role
from app.models.payments import OrderStatus, PaymentOrder
from app.sandbox.wechat_pay import Merchant
from app.sandbox.wechat_pay.book import Book, Order
from app.sandbox.wechat_pay.notices import Notices
from app.sandbox.wechat_pay.signatures import Signatures
from app.services import reference_data, sign_ins
from app.services.donations import naming
from app.settings import settings
from tests.clients import REGION, a_worker
from tests.factories import disbursements as made
from tests.factories import ledger


@dataclass
class Gift:
    order: PaymentOrder
    #: WeChat's.
    paid: Order
    told: bool = False


@dataclass
class Payment:
    """To be approved, and then paid, all of it or less, or voided."""

    row: Disbursement
    key: uuid.UUID
    pays: int | None
    heard: list[str] = field(default_factory=list)


@dataclass
class House:
    """What is there before, and who does it."""

    fund: Fund
    line: BudgetLine
    wechat: Notices
    gifts: list[Gift]
    payments: list[Payment]
    tokens: dict[Role, str]


async def prepare(session: AsyncSession, *, gifts: int, payments: int) -> House:
    """Less money than is going to be asked for, gifts included, so that some are refused."""
    await reference_data.load(session)
    fund = await ledger.fund(session)
    line = await made.budget_line(session, fund, 10**9)
    staff = {
        role: (await a_worker(session, role)).actor()
        for role in (Role.TOWNSHIP_OFFICER, Role.COUNTY_ADMINISTRATOR, Role.ACCOUNTANT)
    }
    signed_in = {role: await token(session, actor) for role, actor in staff.items()}
    donor = ResidentAccount(id=new_id(), openid="o-donor", created_at=clock.now())
    session.add(donor)
    await session.flush()
    merchant = Merchant.of(settings())
    book, chance = Book(merchant), random.Random(7)
    given = [await a_gift(session, fund, donor, book, chance.randint(1, 200)) for _ in range(gifts)]
    rows = [a_disbursement(fund, line, staff[Role.TOWNSHIP_OFFICER], chance) for _ in range(payments)]
    session.add_all(rows)
    await session.commit()
    ends = [chance.choice([None, row.amount_fen, max(1, row.amount_fen // 2)]) for row in rows]
    asked = [Payment(row, new_id(), end) for row, end in zip(rows, ends, strict=True)]
    return House(fund, line, Notices(book, Signatures(merchant)), given, asked, signed_in)


async def token(session: AsyncSession, actor: Actor) -> str:
    assert actor.account_id
    pair = await sign_ins.start(session, actor, door=STAFF_DOOR, account_id=actor.account_id, device="")
    return pair.access_token


async def a_gift(session: AsyncSession, fund: Fund, donor: ResidentAccount, book: Book, amount: int) -> Gift:
    """On its way, as giving leaves it, and paid at the phone."""
    id, now = new_id(), clock.now()
    gift = Donation(
        id=id, number=naming.new_number(), fund_id=fund.id, channel=Channel.WECHAT, amount_fen=amount,
        status=DonationStatus.PENDING, donated_at=now, account_id=donor.id, shown_as=ShownAs.ANONYMOUS,
        commitment=id.bytes * 2, created_at=now,
    )  # fmt: skip
    order = PaymentOrder(
        id=id, out_trade_no=naming.trade_number(id), account_id=donor.id, amount_fen=amount, status=OrderStatus.PREPAID,
        prepay_id="wx", created_at=now, expires_at=now + timedelta(hours=2), next_query_at=now + timedelta(hours=1),
    )  # fmt: skip
    session.add(gift)
    await session.flush()
    session.add(order)
    asked = {
        "out_trade_no": order.out_trade_no, "amount": {"total": amount}, "payer": {"openid": donor.openid},
    }  # fmt: skip
    paid = Order(asked, order.expires_at, book.merchant.public_key_id)
    book.pay(paid, now)
    return Gift(order, paid)


def a_disbursement(fund: Fund, line: BudgetLine, officer: Actor, chance: random.Random) -> Disbursement:
    row = Disbursement(
        id=new_id(), number=f"K{new_id().hex}", fund_id=fund.id, budget_line_id=line.id, region_code=REGION,
        amount_fen=chance.randint(1, 600), purpose="紧急救助金", payee_kind=PayeeKind.PERSON, bank_name="宁夏银行",
        status=DisbursementStatus.SUBMITTED, submitted_by=officer.id, created_by=officer.id, created_at=clock.now(),
    )  # fmt: skip
    row.payee, row.bank_account = "王小芳", made.CARD
    return row
