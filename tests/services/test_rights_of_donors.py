"""Who gives has rights, too, registered or not: a copy of all of it, and erasure."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from app import clock
from app.access import Actor
from app.db import new_id
from app.integrations.wechat_pay import Payment, PaymentState
from app.models.audit import AuditEvent
from app.models.donations import (
    Channel,
    Donation,
    DonationStatus,
    Pledge,
    PledgeStatus,
    ReceiptRequest,
    ShownAs,
)
from app.models.identity import ResidentAccount, Role, SignIn
from app.models.payments import OrderStatus, PaymentOrder
from app.services import identity, rights, sign_ins
from app.services.donations import correcting, erasure, naming, pledges, reading, receipts
from app.services.donations.correcting import NewDelivery
from app.services.donations.pledges import NewPledge
from app.services.donations.receipts import Payer
from app.services.payments import notices
from app.services.proofs import leaves, sealing
from app.services.rights.held import OF_AN_ACCOUNT, about_account
from tests.clients import REGION, a_worker
from tests.factories import appointments as made
from tests.factories import disbursements as spent
from tests.factories import gifts as given
from tests.factories import ledger, proofs
from tests.services.test_rights import ask, close, decide, rows

pytestmark = pytest.mark.usefixtures("connection")


@pytest.fixture
async def accountant(session) -> Actor:
    return (await a_worker(session, Role.ACCOUNTANT, REGION)).actor()


@pytest.fixture
async def administrator(session) -> Actor:
    return (await a_worker(session, Role.COUNTY_ADMINISTRATOR, REGION)).actor()


@pytest.fixture
async def fund(session):
    return await ledger.fund(session, "GIFT")


async def stranger(session) -> Actor:
    """A WeChat user who is registered nowhere."""
    row = ResidentAccount(id=new_id(), openid=f"o{new_id().hex}", created_at=clock.now())
    session.add(row)
    await session.flush()
    return Actor(Role.RESIDENT, id=row.id)


async def on_the_way(session, fund, donor, name="李秀英"):
    """Begun at the phone, not paid yet."""
    id, salt, number, now = new_id(), leaves.new_salt(), naming.new_number(), clock.now()
    gift = Donation(
        id=id, fund_id=fund.id, number=number, channel=Channel.WECHAT, amount_fen=6_600, status=DonationStatus.PENDING,
        donated_at=now, account_id=donor.id, shown_as=ShownAs.NAME, public_name=name, salt=salt,
        commitment=leaves.commitment(salt, number, name), created_at=now,
    )  # fmt: skip
    gift.donor_name = name
    session.add(gift)
    await session.flush()
    session.add(
        PaymentOrder(
            id=id, out_trade_no=id.hex, account_id=donor.id, amount_fen=6_600, status=OrderStatus.PREPAID,
            created_at=now, expires_at=now + timedelta(hours=2), next_query_at=now,
        )
    )  # fmt: skip
    await session.flush()
    return gift


def paid(gift):
    return Payment(gift.id.hex, PaymentState.SUCCESS, f"4200{gift.id.hex[:20]}", gift.amount_fen, clock.now())


async def generous(session, accountant, fund, donor):
    """Goods of which some were handed out, with a receipt asked for; a pledge; a gift on its way."""
    what = {"channel": Channel.IN_KIND, "goods": given.GOODS, "donor_name": "李秀英"}
    goods = await given.recorded(session, accountant, fund, **what)
    goods.account_id = donor.id
    await session.flush()
    new = NewDelivery(quantity=1, purpose="三节慰问", delivered_on=clock.today())
    await correcting.hand_out(session, accountant, key=given.key(), id=goods.id, new=new)
    payer = Payer(payer="李秀英", payer_number="64010419900101123X")
    await receipts.request(session, donor, key=given.key(), donation_id=goods.id, payer=payer)
    promised = NewPledge(fund_id=fund.id, amount_fen=5_000, due_on=clock.today())
    await pledges.promise(session, donor, key=given.key(), new=promised)
    return goods, await on_the_way(session, fund, donor)


# The copy


async def test_the_copy_of_a_donor_holds_gifts_papers_promises_and_what_opens_the_public_log(
    session, accountant, fund
):
    family = await made.couple(session)
    goods, pending = await generous(session, accountant, fund, family.wife_actor)
    sections = (await rights.own_file(session, family.wife_actor))["sections"]
    gifts = {row["number"]: row for row in rows(sections, "donation")}
    assert set(gifts) == {goods.number, pending.number}
    assert gifts[goods.number]["salt"] == goods.salt.hex()
    assert gifts[goods.number]["commitment"] == goods.commitment.hex()
    assert [row["amount_fen"] for row in rows(sections, "payment_order")] == [6_600]
    assert [row["purpose"] for row in rows(sections, "goods_delivery")] == ["三节慰问"]
    assert [row["amount_fen"] for row in rows(sections, "pledge")] == [5_000]
    assert [(row["payer"], row["payer_number"]) for row in rows(sections, "receipt_request")] == [
        ("李秀英", "64010419900101123X")
    ]
    done = {(row["action"], row["entity"]) for row in rows(sections, "audit_event")}
    assert {("hand_out", "donation"), ("request", "receipt_request"), ("promise", "pledge")} <= done


async def test_who_is_registered_nowhere_gets_what_hangs_on_the_account_and_nobody_else_s(
    session, accountant, fund
):
    family, donor = await made.couple(session), await stranger(session)
    await generous(session, accountant, fund, family.wife_actor)
    house = await spent.house(session)
    await spent.submitted(session, house)  # of nobody's file: person_id is null
    own = await on_the_way(session, fund, donor, "远方客")
    copy = await rights.own_file(session, donor)
    assert (copy["person_id"], copy["children"]) == (None, [])
    filled = {section["table"]: section["rows"] for section in copy["sections"] if section["rows"]}
    assert set(filled) == {"resident_account", "donation", "payment_order"}
    assert [row["number"] for row in filled["donation"]] == [own.number]
    assert "李秀英" not in json.dumps(copy, ensure_ascii=False, default=str)
    [seen] = await session.scalars(select(AuditEvent).where(AuditEvent.action == "export"))
    assert (seen.entity, seen.entity_id, seen.person_id) == ("resident_account", donor.id, None)


def test_what_is_found_by_the_account_asks_for_no_person():
    """Whose person is nobody must not be taken for whoever has none."""
    for held in OF_AN_ACCOUNT:
        compiled = held.of(about_account(new_id())).compile()
        assert "person_id" not in str(compiled), held.model.__tablename__
        assert about_account(new_id()).person not in compiled.params.values()


# Erasure


async def test_a_gift_on_its_way_comes_all_the_same_and_is_nobody_s(session, accountant, fund):
    family, admin = (
        await made.couple(session),
        await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR),
    )
    _, pending = await generous(session, accountant, fund, family.wife_actor)
    await close(session, family)
    await decide(session, admin, await ask(session, family.wife_actor))
    [promised] = await session.scalars(select(Pledge).execution_options(populate_existing=True))
    assert promised.status is PledgeStatus.CANCELLED
    assert await notices.settle(session, paid(pending)) == "paid"
    await session.commit()
    await sealing.seal_all()
    await session.refresh(pending)
    assert (pending.status, pending.donor_name, pending.salt, pending.public_name) == (
        DonationStatus.RECEIVED, None, None, None,
    )  # fmt: skip
    assert proofs.holds(await proofs.certificate(session, pending))
    [paper] = await session.scalars(select(ReceiptRequest).execution_options(populate_existing=True))
    assert (paper.status, paper.payer, paper.payer_number) == ("refused", None, None)


async def test_an_account_that_is_bound_to_nobody_is_erased_at_once(session, accountant, fund):
    donor = await stranger(session)
    openid = (await session.get_one(ResidentAccount, donor.id)).openid
    await sign_ins.start(session, donor, door=identity.DOOR, account_id=donor.id, device="远方客的手机")
    goods, pending = await generous(session, accountant, fund, donor)
    await session.commit()
    await sealing.seal_all()
    before = await proofs.certificate(session, goods)
    await rights.erase_own(session, donor)
    account = await session.get_one(ResidentAccount, donor.id, populate_existing=True)
    assert openid not in account.openid
    for gift in (goods, pending):
        await session.refresh(gift)
        assert (gift.donor_name, gift.public_name, gift.salt) == (None, None, None)
    [sign_in] = await session.scalars(select(SignIn).execution_options(populate_existing=True))
    assert (sign_in.device, sign_in.revoked_at is None) == ("", False)
    assert proofs.holds(before)
    assert proofs.holds(await proofs.certificate(session, goods))


async def test_who_is_registered_asks_to_be_erased_instead(session):
    family = await made.couple(session)
    with pytest.raises(rights.AccountIsBound):
        await rights.erase_own(session, family.wife_actor)


async def test_a_donor_without_an_account_is_forgotten_at_the_office(
    session, accountant, administrator, fund
):
    row = await given.recorded(session, accountant, fund, donor_name="王建国", shown_as="name")
    await receipts.request(
        session, accountant, key=given.key(), donation_id=row.id, payer=Payer(payer="王建国")
    )
    await erasure.forget_gift(
        session, administrator, id=row.id, version=row.version, purpose="rights_request"
    )
    await session.refresh(row)
    assert (row.donor_name, row.public_name, row.salt, row.status) == (
        None,
        None,
        None,
        DonationStatus.RECEIVED,
    )
    [paper] = await session.scalars(select(ReceiptRequest).execution_options(populate_existing=True))
    assert (paper.status, paper.payer) == ("refused", None)
    [event] = await session.scalars(select(AuditEvent).where(AuditEvent.action == "forget"))
    assert (event.entity_id, event.purpose) == (row.id, "rights_request")


async def test_whoever_can_ask_themselves_is_not_forgotten_by_others(
    session, accountant, administrator, fund
):
    family = await made.couple(session)
    mine = await given.recorded(session, accountant, fund, donor_name="李秀英")
    await reading.claim(session, family.wife_actor, number=mine.number)
    body = await given.body(session, accountant)
    theirs = await given.recorded(session, accountant, fund, organization_donor_id=body.id)
    for gift in (mine, theirs):
        with pytest.raises(erasure.DonorAsksThemselves):
            await erasure.forget_gift(
                session, administrator, id=gift.id, version=gift.version, purpose="rights_request"
            )
