"""Funds, campaigns and budgets: what may be opened, what may take money, what may be closed."""

import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState, from_database
from app.models.funds import BudgetLine, CampaignMode, CampaignStatus, FundStatus
from app.models.identity import Role
from app.models.ledger import LedgerAccount
from app.services.funds import budgets, campaigns, funds
from app.services.funds.budgets import BudgetChange, NewBudgetLine
from app.services.funds.campaigns import CampaignChange, NewCampaign
from app.services.funds.funds import NewFund
from app.services.idempotency import Key
from app.services.ledger import accounts, posting
from app.services.regions import RegionOutsideOwn
from tests.clients import a_worker
from tests.factories import gifts
from tests.factories import giving as made
from tests.factories import ledger as given
from tests.factories import transparency as told
from tests.factories.appointments import couple

pytestmark = pytest.mark.usefixtures("connection")
TODAY = clock.today()


@pytest.fixture
async def manager(session) -> Actor:
    return (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()


def key() -> Key:
    return Key(new_id(), b"x")


def a_fund(**changes):
    return NewFund.model_validate(NewFund.model_config["json_schema_extra"]["examples"][0] | changes)


def a_campaign(fund, **changes):
    days = {"starts_on": f"{TODAY}", "ends_on": f"{TODAY + timedelta(days=30)}"}
    return NewCampaign.model_validate(campaigns.EXAMPLE | {"fund_id": fund.id} | days | changes)


def changed(row, new, **changes):
    body = new.model_dump() | {"version": row.version} | changes
    return CampaignChange.model_validate(body)


PAPERS = {
    "certificate_number": "53640000MJ0000001X", "filing_number": "53640000MJ0000001XA26001",
    "platform_url": "https://gongyi.example.cn/1",
}  # fmt: skip


# Funds


async def test_a_fund_is_opened_with_its_accounts_once(session, manager):
    one = key()
    fund = await funds.open_fund(session, manager, key=one, new=a_fund())
    assert (await funds.open_fund(session, manager, key=one, new=a_fund())).id == fund.id
    opened = select(func.count()).where(LedgerAccount.fund_id == fund.id)
    assert await session.scalar(opened) == 6


async def test_a_code_is_given_once(session, manager):
    await funds.open_fund(session, manager, key=key(), new=a_fund())
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await funds.open_fund(session, manager, key=key(), new=a_fund(restricted=False))
    assert isinstance(from_database(refused.value), funds.FundCodeTaken)


async def test_nobody_opens_a_fund_elsewhere(session, manager):
    with pytest.raises(RegionOutsideOwn):
        await funds.open_fund(session, manager, key=key(), new=a_fund(region_code="110000000000"))


@pytest.mark.parametrize("code", ["care", "C", "CARE-1", "ABCDEFGHI", "关怀"])
def test_a_code_fits_into_account_codes(code):
    with pytest.raises(ValidationError):
        a_fund(code=code)


async def test_a_fund_is_closed_when_nothing_is_left_or_under_way(session, manager):
    fund = await given.fund(session)
    await given.give(session, fund, 100)
    campaign = await made.campaign(session, fund)
    with pytest.raises(funds.FundNotEmpty) as refused:
        await funds.close(session, manager, id=fund.id, version=fund.version)
    left = {"available_fen": 100, "held_fen": 0, "goods_fen": 0, "campaigns": 1, "payments": 0}
    assert refused.value.extensions == left
    campaign.status, campaign.closed_at = CampaignStatus.CLOSED, clock.now()
    hold = given.payment(fund, 100)
    await posting.ask(session, hold)
    with pytest.raises(funds.FundNotEmpty) as refused:
        await funds.close(session, manager, id=fund.id, version=fund.version)
    assert refused.value.extensions == left | {"available_fen": 0, "held_fen": 100, "campaigns": 0}
    await posting.record(session, given.resolution(hold, posting.Phase.POST))
    fund = await funds.close(session, manager, id=fund.id, version=fund.version)
    assert fund.status is FundStatus.CLOSED
    with pytest.raises(funds.FundClosed):
        await funds.close(session, manager, id=fund.id, version=fund.version)


async def test_a_payment_under_way_keeps_its_fund_open(session, manager, wechat_pay):
    fund = await given.fund(session)
    donor = (await couple(session)).wife_actor
    await session.commit()
    await made.begun(donor, fund)
    with pytest.raises(funds.FundNotEmpty) as refused:
        await funds.close(session, manager, id=fund.id, version=fund.version)
    assert refused.value.extensions["payments"] == 1


async def test_only_the_name_of_a_fund_changes(session, manager):
    fund = await given.fund(session)
    new = funds.FundTexts(version=fund.version, zh="新名称", en="New name")
    fund = await funds.rename(session, manager, id=fund.id, new=new)
    assert (fund.zh, fund.version) == ("新名称", 2)
    with pytest.raises(StaleVersion):
        await funds.rename(session, manager, id=fund.id, new=new)


async def test_funds_of_above_are_seen_and_those_beside_are_not(session, manager):
    above = await given.fund(session, "ABOVE", region_code="640000000000")
    await given.fund(session, "BESIDE", region_code="640200000000")
    rows = await funds.listing(session, manager, after=None, limit=10)
    assert [row.code for row in rows] == [above.code]


# Campaigns


async def test_a_campaign_from_draft_to_close(session, manager):
    fund = await given.fund(session)
    row = await campaigns.draft(session, manager, key=key(), new=a_campaign(fund))
    assert row.status is CampaignStatus.DRAFT
    row = await campaigns.change(session, manager, id=row.id, new=changed(row, a_campaign(fund), zh="新名"))
    row = await campaigns.open_campaign(session, manager, id=row.id, version=row.version)
    assert (row.status, row.zh, row.version) == (CampaignStatus.OPEN, "新名", 3)
    row = await campaigns.close(session, manager, id=row.id, version=row.version)
    assert (row.status, row.closed_at is not None) == (CampaignStatus.CLOSED, True)
    for step in (campaigns.open_campaign, campaigns.close):
        with pytest.raises(WrongState):
            await step(session, manager, id=row.id, version=row.version)
    listed = await campaigns.listing(session, manager, fund_id=fund.id, before=None, limit=5)
    assert [one.id for one in listed] == [row.id]


@pytest.mark.parametrize(
    ("paper", "article"),
    [("certificate_number", "二十二"), ("filing_number", "二十四"), ("platform_url", "二十七")],
)
async def test_a_public_appeal_needs_every_paper_and_hears_which_is_missing(session, manager, paper, article):
    fund = await given.fund(session)
    public = {"mode": "own_site_mirror"} | PAPERS
    assert await campaigns.draft(session, manager, key=key(), new=a_campaign(fund, **public))
    without = {name: value for name, value in public.items() if name != paper}
    with pytest.raises(campaigns.PaymentNotLawful) as refused:
        await campaigns.draft(session, manager, key=key(), new=a_campaign(fund, **without))
    [missing] = refused.value.extensions["missing"]
    assert f"慈善法第{article}条" in missing
    shown = a_campaign(fund, **without, in_app_payment=False)
    assert (await campaigns.draft(session, manager, key=key(), new=shown)).in_app_payment is False


async def test_the_platform_s_own_appeal_and_a_house_that_is_switched_off_take_none(
    session, manager, monkeypatch
):
    fund = await given.fund(session)
    with pytest.raises(campaigns.PaymentNotLawful):
        await campaigns.draft(session, manager, key=key(), new=a_campaign(fund, mode="platform_import"))
    row = await campaigns.draft(session, manager, key=key(), new=a_campaign(fund))
    monkeypatch.setattr(campaigns, "settings", lambda: SimpleNamespace(in_app_payment=False))
    with pytest.raises(campaigns.PaymentNotLawful):
        await campaigns.draft(session, manager, key=key(), new=a_campaign(fund))
    with pytest.raises(campaigns.PaymentNotLawful):
        await campaigns.open_campaign(session, manager, id=row.id, version=row.version)


async def test_the_database_too_refuses_payment_without_papers(session):
    fund = await given.fund(session)
    with pytest.raises(IntegrityError, match="ck_campaign_lawful"):
        await made.campaign(session, fund, mode=CampaignMode.OWN_SITE_MIRROR)


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_on": f"{TODAY - timedelta(days=1)}"}, {"goal_fen": 0}, {"goal_fen": 1.5}, {"goal_fen": True},
        {"leftover_rule": "other_fund"}, {"leftover_fund_id": str(uuid.uuid4())}, {"platform_url": "http://x.cn"},
        {"certificate_number": "x"},
    ],
)  # fmt: skip
def test_a_campaign_that_cannot_be(changes):
    with pytest.raises(ValidationError):
        a_campaign(SimpleNamespace(id=uuid.uuid4()), **changes)


async def test_what_donors_were_told_stays(session, manager):
    fund = await given.fund(session)
    new = a_campaign(fund)
    row = await campaigns.draft(session, manager, key=key(), new=new)
    row = await campaigns.open_campaign(session, manager, id=row.id, version=row.version)
    for other in ({"starts_on": TODAY + timedelta(days=1)}, {"ends_on": new.ends_on - timedelta(days=1)}):
        with pytest.raises(Invalid):
            await campaigns.change(session, manager, id=row.id, new=changed(row, new, **other))
    later = new.ends_on + timedelta(days=1)
    row = await campaigns.change(session, manager, id=row.id, new=changed(row, new, ends_on=later))
    assert row.ends_on == later


async def test_a_campaign_whose_time_or_fund_is_over_is_not_opened(session, manager):
    fund = await given.fund(session)
    old = await made.campaign(session, fund, status=CampaignStatus.DRAFT, ends_on=TODAY - timedelta(days=1))
    with pytest.raises(Invalid):
        await campaigns.open_campaign(session, manager, id=old.id, version=old.version)
    row = await made.campaign(session, fund, status=CampaignStatus.DRAFT)
    await funds.close(session, manager, id=fund.id, version=fund.version)
    with pytest.raises(funds.FundClosed):
        await campaigns.open_campaign(session, manager, id=row.id, version=row.version)
    with pytest.raises(Invalid):
        await campaigns.draft(session, manager, key=key(), new=a_campaign(fund))


async def test_what_is_left_goes_by_the_rule(session, manager):
    fund, other = await given.fund(session), await given.fund(session, "OTHER")
    await given.give(session, fund, 1_000)
    rule = {"leftover_rule": "other_fund", "leftover_fund_id": other.id}
    row = await made.campaign(session, fund, **rule)
    by, line = await told.accountant(session), await told.line(session, fund, "help")
    await told.gift(session, by, fund, 700, campaign_id=str(row.id))
    goods = gifts.GOODS.model_dump()
    await told.gift(session, by, fund, 900, campaign_id=str(row.id), channel="in_kind", goods=goods)
    await told.paid(session, fund, line, 200, on=TODAY, campaign_id=row.id)
    stands = {"received_fen": 700, "committed_fen": 200, "handed_over_fen": 0, "left_fen": 500}
    assert await campaigns.standing(session, row) == stands

    async def close(leftover_fen: int) -> None:
        await session.refresh(row)
        async with session.begin_nested():
            await campaigns.close(session, manager, id=row.id, version=row.version, leftover_fen=leftover_fen)

    with pytest.raises(campaigns.MoreThanLeft) as refused:
        await close(501)  # of the fund's money there is more, but not of what was given to this campaign
    assert refused.value.extensions == {"left_fen": 500}
    await given.spend(session, fund, 1_100)
    with pytest.raises(posting.FundInsufficient):
        await close(401)
    await close(400)
    assert [await accounts.available(session, one.id) for one in (fund, other)] == [0, 400]
    assert await campaigns.standing(session, row) == stands | {"handed_over_fen": 400, "left_fen": 100}
    stays = await made.campaign(session, fund)
    with pytest.raises(Invalid):
        await campaigns.close(session, manager, id=stays.id, version=stays.version, leftover_fen=1)


# Budgets


async def test_budget_lines_of_a_year(session, manager):
    fund = await given.fund(session)
    new = NewBudgetLine.model_validate(NewBudgetLine.model_config["json_schema_extra"]["examples"][0])
    line = await budgets.add(session, manager, key=key(), fund_id=fund.id, new=new)
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await budgets.add(session, manager, key=key(), fund_id=fund.id, new=new)
    assert isinstance(from_database(refused.value), budgets.BudgetLineExists)
    next_year = NewBudgetLine.model_validate(new.model_dump() | {"year": 2028})
    other = await budgets.add(session, manager, key=key(), fund_id=fund.id, new=next_year)
    page = {"fund_id": fund.id, "year": None, "limit": 5}
    rows = await budgets.listing(session, manager, **page, after=None)
    assert [row.id for row in rows] == [line.id, other.id]
    rows = await budgets.listing(session, manager, **page, after=(2027, line.code))
    assert [row.id for row in rows] == [other.id]


async def test_a_budget_is_not_less_than_what_is_committed(session, manager):
    fund = await given.fund(session)
    new = NewBudgetLine(year=2027, code="visits", zh="慰问", en="Visits", amount_fen=1_000)
    line = await budgets.add(session, manager, key=key(), fund_id=fund.id, new=new)
    await session.execute(update(BudgetLine).values(committed_fen=700))
    await session.refresh(line)
    change = BudgetChange(version=line.version, zh="慰问", en="Visits", amount_fen=699)
    with pytest.raises(budgets.BudgetBelowCommitted) as refused:
        await budgets.change(session, manager, id=line.id, new=change)
    assert refused.value.extensions == {"committed_fen": 700}
    change = BudgetChange(version=line.version, zh="慰问", en="Visits", amount_fen=700)
    assert (await budgets.change(session, manager, id=line.id, new=change)).amount_fen == 700
    with pytest.raises(StaleVersion):
        await budgets.change(session, manager, id=line.id, new=change)


async def test_a_fund_elsewhere_does_not_exist(session, manager):
    far = await given.fund(session, "FAR", region_code="110000000000")
    with pytest.raises(NotFound):
        await funds.read(session, manager, far.id)
    with pytest.raises(NotFound):
        await campaigns.listing(session, manager, fund_id=far.id, before=None, limit=5)
