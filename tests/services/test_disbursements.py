"""Spending: three people, limits, budget, fund, and every step that is not there."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound, Problem, StaleVersion, WrongState, to_problem
from app.models.audit import AuditEvent
from app.models.disbursements import Disbursement, DisbursementStatus, PayeeKind
from app.models.funds import BudgetLine, FundStatus
from app.models.identity import Role
from app.models.ledger import Phase, Reversal, ReversalReason, Transfer
from app.services import disbursements
from app.services.disbursements import Asked, NewLimit, Work, limits, steps
from app.services.disbursements.forms import luhn, remarks
from app.services.funds.funds import FundClosed
from app.services.ledger import accounts
from app.services.regions import RegionOutsideOwn
from tests.command import told
from tests.factories import appointments
from tests.factories import disbursements as made
from tests.factories import ledger as given
from tests.factories.disbursements import CARD, COUNTY, TOWN, House, key

S = DisbursementStatus
REASON = "材料不全"


@pytest.fixture
async def house(session: AsyncSession) -> House:
    return await made.house(session)


async def stand(session: AsyncSession, house: House) -> tuple[int, int]:
    """Of the fund what may still be spent, of the line what is committed."""
    line = await session.get_one(BudgetLine, house.line.id, populate_existing=True)
    return await accounts.available(session, house.fund.id), line.committed_fen


async def history(session: AsyncSession, row: Disbursement) -> list[tuple[str, str | None]]:
    shown = await disbursements.detail(session, Actor.system("test"), id=row.id, purpose="audit")
    return [(step.status.value, step.reason) for step in shown.steps]


async def test_from_a_draft_to_the_payee_s_signature(session: AsyncSession, house: House) -> None:
    row = await made.approved(session, house, 1_500)
    assert await stand(session, house) == (1_000_000 - 1_500, 1_500)
    row = await disbursements.pay(session, house.accountant, id=row.id, version=row.version)
    assert (row.paid_fen, row.paid_by) == (1_500, house.accountant.id)
    assert await stand(session, house) == (1_000_000 - 1_500, 1_500)
    row = await disbursements.acknowledge(
        session, house.officer, id=row.id, version=row.version, on=clock.today(), note="签收单第 12 号"
    )
    assert (row.status, row.acknowledged_on) == (S.ACKNOWLEDGED, clock.today())
    assert await history(session, row) == [
        ("draft", None), ("submitted", None), ("approved", None), ("paid", None), ("acknowledged", "签收单第 12 号"),
    ]  # fmt: skip
    phases = select(Transfer.phase, Transfer.amount_fen).where(Transfer.reference == f"disbursement/{row.id}")
    assert set(await session.execute(phases)) == {(Phase.HOLD, 1_500), (Phase.POST, 1_500)}
    actions = select(AuditEvent.action).where(AuditEvent.entity_id == row.id).order_by(AuditEvent.id)
    assert list(await session.scalars(actions)) == [
        "draft", "submitted", "approved", "paid", "acknowledged", "read",
    ]  # fmt: skip


async def test_what_is_not_paid_returns_to_fund_and_budget(session: AsyncSession, house: House) -> None:
    row = await made.approved(session, house, 1_500)
    await disbursements.pay(session, house.accountant, id=row.id, version=row.version, paid_fen=1_100)
    assert await stand(session, house) == (1_000_000 - 1_100, 1_100)
    row = await made.approved(session, house, 700)
    row = await disbursements.void(session, house.colleague, id=row.id, version=row.version, reason=REASON)
    assert (row.status, await history(session, row))[1][-1] == ("voided", REASON)
    assert await stand(session, house) == (1_000_000 - 1_100, 1_100)


@pytest.mark.parametrize("paid_fen", [0, -1, 1_501])
async def test_nothing_but_what_was_approved_is_paid(
    session: AsyncSession, house: House, paid_fen: int
) -> None:
    row = await made.approved(session, house, 1_500)
    with pytest.raises(Invalid):
        await disbursements.pay(session, house.accountant, id=row.id, version=row.version, paid_fen=paid_fen)
    tomorrow = clock.today() + timedelta(days=1)
    with pytest.raises(Invalid):
        await disbursements.pay(session, house.accountant, id=row.id, version=row.version, paid_on=tomorrow)


async def test_what_the_bank_sent_back_returns_to_fund_and_budget(
    session: AsyncSession, house: House
) -> None:
    """Decided like an approval: by none who asked for it or paid it, within the limit."""
    row = await made.approved(session, house, 2_000_01)
    row = await disbursements.pay(
        session, house.accountant, id=row.id, version=row.version, paid_fen=2_000_00 + 1
    )

    async def voided(who: Actor) -> Disbursement:
        return await disbursements.void(session, who, id=row.id, version=row.version, reason="收款账号已销户")

    for own in (house.officer, replace(house.accountant, role=Role.COUNTY_ADMINISTRATOR)):
        with pytest.raises(disbursements.OwnDisbursement):
            await voided(own)
    with pytest.raises(disbursements.BeyondLimit):
        await voided(house.colleague)
    assert await stand(session, house) == (1_000_000 - 2_000_01, 2_000_01)
    row = await voided(house.county)
    assert (row.status, row.paid_fen, (await history(session, row))[-1]) == (
        S.VOIDED, None, ("voided", "收款账号已销户"),
    )  # fmt: skip
    assert await stand(session, house) == (1_000_000, 0)
    reasons = await session.scalars(select(Reversal.reason))
    assert list(reasons) == [ReversalReason.RETURNED]
    with pytest.raises(WrongState):
        await voided(house.county)


async def approve(
    session: AsyncSession, actor: Actor, row: Disbursement, attempt: Any = None
) -> Disbursement:
    return await disbursements.approve(session, actor, key=attempt or key(), id=row.id, version=row.version)


async def test_three_people_for_each_payment(session: AsyncSession, house: House) -> None:
    row = await disbursements.draft(session, house.colleague, key=key(), new=house.new())
    row = await disbursements.submit(session, house.officer, id=row.id, version=row.version)
    for own in (house.officer, house.colleague):
        with pytest.raises(disbursements.OwnDisbursement):
            await approve(session, own, row)
    row = await approve(session, house.county, row)
    for decided in (house.officer, house.county):
        with pytest.raises(disbursements.PayerDecided):
            await disbursements.pay(
                session, replace(decided, role=Role.ACCOUNTANT), id=row.id, version=row.version
            )


async def test_who_changed_a_draft_does_not_approve_it(session: AsyncSession, house: House) -> None:
    row = await disbursements.draft(session, house.officer, key=key(), new=house.new())
    other = house.new(bank_account="6222020200112233")
    row = await disbursements.change(session, house.colleague, id=row.id, version=row.version, new=other)
    row = await disbursements.submit(session, house.officer, id=row.id, version=row.version)
    assert not await disbursements.listing(session, house.colleague, work=Work.TO_APPROVE, limit=9)
    with pytest.raises(disbursements.OwnDisbursement):
        await approve(session, house.colleague, row)
    assert await disbursements.listing(session, house.county, work=Work.TO_APPROVE, limit=9)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [("approved_by", "ck_disbursement_submitter_approver"), ("paid_by", "ck_disbursement_payer")],
)
async def test_the_database_has_the_last_word_on_who_decides(
    session: AsyncSession, house: House, values: str, constraint: str
) -> None:
    row = await made.approved(session, house)
    with pytest.raises(IntegrityError, match=constraint) as raised:
        async with session.begin_nested():
            await session.execute(
                update(Disbursement).where(Disbursement.id == row.id).values({values: row.submitted_by})
            )
    assert to_problem(raised.value).status == 403


async def test_each_role_approves_up_to_its_limit(session: AsyncSession, house: House) -> None:
    row = await made.submitted(session, house, 2_000_01)
    with pytest.raises(disbursements.BeyondLimit) as raised:
        await approve(session, house.colleague, row)
    assert raised.value.extensions["limit_fen"] == 2_000_00
    assert [who.split()[0] for who in raised.value.extensions["may_approve"]] == ["县级管理员", "督查人员"]
    assert (await approve(session, house.county, row)).status is S.APPROVED
    row = await made.submitted(session, house, 2_000_00)
    assert (await approve(session, house.colleague, row)).status is S.APPROVED
    row = await made.submitted(session, house, 500_000_01)
    with pytest.raises(disbursements.BeyondLimit) as raised:
        await approve(session, house.supervisor, row)
    assert raised.value.extensions["may_approve"] == []


async def test_the_nearest_region_s_limit_counts(session: AsyncSession, house: House) -> None:
    for region_code, limit in ((COUNTY, 100), (TOWN, 300), ("640105000000", 1)):
        supervisor = replace(house.supervisor, region_code="640100000000")
        new = NewLimit(region_code=region_code, role=Role.TOWNSHIP_OFFICER, limit_fen=limit)
        await disbursements.set_limit(session, supervisor, new=new)
    assert (await limits.of_region(session, TOWN))[Role.TOWNSHIP_OFFICER] == 300
    assert (await limits.of_region(session, "640104002000"))[Role.TOWNSHIP_OFFICER] == 100
    assert (await limits.of_region(session, "640106001000"))[Role.TOWNSHIP_OFFICER] == 2_000_00
    within, beyond = [await made.submitted(session, house, amount) for amount in (300, 301)]
    shown = await disbursements.listing(session, house.colleague, work=Work.TO_APPROVE, limit=10)
    assert [row.id for row in shown] == [within.id]
    with pytest.raises(disbursements.BeyondLimit):
        await approve(session, house.colleague, beyond)
    for row in await disbursements.limits_listing(session, house.county, after=None, limit=10):
        assert row.region_code != "640105000000"


async def test_a_supervisor_sets_others_limits_in_the_own_region(session: AsyncSession, house: House) -> None:
    async def refused(kind: type[Problem], region_code: str, role: Role) -> None:
        new = NewLimit(region_code=region_code, role=role, limit_fen=1)
        with pytest.raises(kind):
            await disbursements.set_limit(session, house.supervisor, new=new)

    await refused(disbursements.OwnLimit, COUNTY, Role.SUPERVISOR)
    await refused(Invalid, COUNTY, Role.ACCOUNTANT)
    await refused(RegionOutsideOwn, "640105000000", Role.TOWNSHIP_OFFICER)
    for limit in (5, 7):
        new = NewLimit(region_code=COUNTY, role=Role.COUNTY_ADMINISTRATOR, limit_fen=limit)
        row = await disbursements.set_limit(session, house.supervisor, new=new)
    assert (row.limit_fen, row.version) == (7, 2)


def test_whoever_runs_the_system_sets_those_of_supervisors(database: str) -> None:
    command = "staff", "approval-limit"
    said = told(*command, "110000000000", "supervisor", "900000", database=database, code=0)
    assert "110000000000 supervisor: 900000 CNY" in said
    assert "/region_code: not a current division" in told(
        *command, "11", "supervisor", "1", database=database
    )
    assert "approves nothing" in told(*command, "110000000000", "auditor", "1", database=database)


async def test_no_more_than_the_budget_line_has(session: AsyncSession) -> None:
    house = await made.house(session, budget=1_000)
    await made.approved(session, house, 400)
    beyond = await made.submitted(session, house, 601)
    with pytest.raises(disbursements.BudgetExceeded) as raised:
        async with session.begin_nested():
            await approve(session, house.county, beyond)
    assert raised.value.extensions == {"left_fen": 600}
    assert await stand(session, house) == (1_000_000 - 400, 400)
    await made.approved(session, house, 600)


async def test_each_step_only_from_its_state(session: AsyncSession, house: House) -> None:
    """Every step tried in every state: those of the table go, the others are refused."""
    for state in S:
        row = await at(session, house, state)
        for step, take in STEPS.items():
            try:
                async with session.begin_nested():
                    after = await take(session, house, row)
            except WrongState:
                assert state not in steps.STEPS[step]
                await session.refresh(row)
            else:
                assert after.status is step
                assert state in steps.STEPS[step]
                row = await at(session, house, state)


async def _expire(session: AsyncSession, house: House, row: Disbursement) -> Disbursement:
    return await steps._release(session, steps.EXPIRY, row, S.EXPIRED, None)


STEPS: dict[DisbursementStatus, Any] = {
    S.SUBMITTED: lambda db, who, row: disbursements.submit(db, who.officer, id=row.id, version=row.version),
    S.REJECTED: lambda db, who, row: disbursements.reject(
        db, who.county, id=row.id, version=row.version, reason=REASON
    ),
    S.APPROVED: lambda db, who, row: approve(db, who.county, row),
    S.PAID: lambda db, who, row: disbursements.pay(db, who.accountant, id=row.id, version=row.version),
    S.VOIDED: lambda db, who, row: disbursements.void(
        db, who.county, id=row.id, version=row.version, reason=REASON
    ),
    S.ACKNOWLEDGED: lambda db, who, row: disbursements.acknowledge(
        db, who.officer, id=row.id, version=row.version, on=clock.today(), note="x"
    ),
    S.EXPIRED: _expire,
}


async def at(session: AsyncSession, house: House, state: DisbursementStatus) -> Disbursement:
    way = {S.DRAFT: (), S.SUBMITTED: (S.SUBMITTED,), S.REJECTED: (S.SUBMITTED, S.REJECTED)}.get(
        state, (S.SUBMITTED, S.APPROVED) + ((S.PAID,) if state is S.ACKNOWLEDGED else ()) + (state,)
    )
    row = await disbursements.draft(session, house.officer, key=key(), new=house.new(10))
    for step in dict.fromkeys(way):
        row = await STEPS[step](session, house, row)
    assert row.status is state
    return row


async def test_nobody_decides_about_an_older_version(session: AsyncSession, house: House) -> None:
    row = await made.submitted(session, house)
    calls: list[Any] = [
        disbursements.approve(session, house.county, key=key(), id=row.id, version=row.version - 1),
        disbursements.reject(session, house.county, id=row.id, version=row.version + 1, reason=REASON),
        disbursements.change(session, house.officer, id=row.id, version=row.version - 1, new=house.new()),
    ]
    for call in calls:
        with pytest.raises(StaleVersion):
            await call
    with pytest.raises(WrongState):
        await disbursements.change(session, house.officer, id=row.id, version=row.version, new=house.new(5))


async def test_what_was_rejected_is_drafted_anew(session: AsyncSession, house: House) -> None:
    row = await made.submitted(session, house, 120)
    row = await disbursements.reject(session, house.county, id=row.id, version=row.version, reason=REASON)
    attempt = key()
    new = await disbursements.copy(session, house.officer, key=attempt, id=row.id)
    assert (new.status, new.payee, new.bank_account, new.amount_fen) == (S.DRAFT, "王小芳", CARD, 120)
    assert new.number != row.number
    assert (await disbursements.copy(session, house.officer, key=attempt, id=row.id)).id == new.id
    body = house.new(90, payee="王小芬", bank_account="12345678")
    new = await disbursements.change(session, house.officer, id=new.id, version=new.version, new=body)
    assert (new.version, new.payee, new.bank_account) == (2, "王小芬", "12345678")
    with pytest.raises(WrongState):
        await disbursements.copy(session, house.officer, key=key(), id=new.id)


async def test_a_draft_names_an_open_fund_its_line_of_this_year_and_a_person_seen(
    session: AsyncSession, house: House
) -> None:
    other = await given.fund(session, "OTHER", region_code="640105000000")
    stranger = await appointments.couple(session)
    old = await made.budget_line(session, house.fund, year=clock.today().year - 1)
    for wrong, pointer in (
        ({"fund_id": other.id}, "/fund_id"), ({"fund_id": new_id()}, "/fund_id"),
        ({"budget_line_id": old.id}, "/budget_line_id"),
        ({"budget_line_id": (await made.budget_line(session, other)).id}, "/budget_line_id"),
        ({"campaign_id": new_id()}, "/campaign_id"), ({"person_id": new_id()}, "/person_id"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as raised:
            await disbursements.draft(session, house.officer, key=key(), new=house.new(1, **wrong))
        assert raised.value.errors is not None
        assert raised.value.errors[0]["pointer"] == pointer
    new = house.new(1, person_id=stranger.wife.id)
    row = await disbursements.draft(session, house.officer, key=key(), new=new)
    assert row.region_code == TOWN
    event = select(AuditEvent.person_id).where(AuditEvent.entity_id == row.id)
    assert list(await session.scalars(event)) == [stranger.wife.id]
    far = replace(house.officer, region_code="640105001000")
    with pytest.raises(Invalid):
        await disbursements.draft(session, far, key=key(), new=new)
    with pytest.raises(NotFound):
        await disbursements.submit(session, far, id=row.id, version=row.version)


async def test_neither_from_a_closed_fund_nor_under_last_year_s_budget(
    session: AsyncSession, house: House
) -> None:
    row = await made.submitted(session, house)
    line = await session.get_one(BudgetLine, house.line.id, populate_existing=True)
    line.year -= 1
    await session.flush()
    with pytest.raises(disbursements.BudgetYearOver):
        await approve(session, house.county, row)
    house.fund.status = FundStatus.CLOSED
    await session.flush()
    with pytest.raises(FundClosed):
        await approve(session, house.county, row)


async def test_approved_and_not_paid_for_long_it_expires(session: AsyncSession, house: House) -> None:
    row, fresh = await made.approved(session, house, 40), await made.approved(session, house, 2)
    row.expires_at = clock.now()
    await session.commit()
    assert await disbursements.expire_due() == 1
    await session.refresh(row)
    assert (row.status, fresh.status) == (S.EXPIRED, S.APPROVED)
    assert await stand(session, house) == (1_000_000 - 2, 2)
    assert await disbursements.expire_due() == 0


@pytest.mark.parametrize(
    ("given_number", "digits"),
    [
        ("6222 0210 0111 6245 702", CARD), ("1234-5678", "12345678"), ("1" * 32, "1" * 32), ("1234567", None),
        ("1" * 33, None), ("6222021001116245", "6222021001116245"), ("622202100111624", None), ("٠" * 16, None),
        ("62220210011162457021", None), ("12345678x", None), ("", None),
    ],
)  # fmt: skip
def test_account_numbers(given_number: str, digits: str | None) -> None:
    body = {"fund_id": new_id(), "budget_line_id": new_id(), "amount_fen": 1, "purpose": "x", "payee_kind": "person",
            "payee": "x", "bank_name": "x", "bank_account": given_number}  # fmt: skip
    if digits is None:
        with pytest.raises(ValidationError):
            disbursements.NewDisbursement.model_validate(body)
    else:
        assert disbursements.NewDisbursement.model_validate(body).bank_account == digits


def test_a_card_that_was_mistyped_is_remarked_upon() -> None:
    assert luhn("79927398713")
    assert luhn(CARD)
    for place in range(2, len(CARD)):  # any one digit
        wrong = CARD[:place] + str((int(CARD[place]) + 1) % 10) + CARD[place + 1 :]
        assert [one.pointer for one in remarks(PayeeKind.PERSON, wrong)] == ["/bank_account"]
        assert not remarks(PayeeKind.ORGANIZATION, wrong)
    assert not remarks(PayeeKind.PERSON, CARD)


async def test_lists_are_masked_and_paged_and_one_is_read_in_full(
    session: AsyncSession, house: House
) -> None:
    rows = [await made.submitted(session, house, 1 + n) for n in range(3)]
    hospital = house.new(7, payee_kind="organization", payee="第一人民医院", bank_account="62000000")
    await disbursements.draft(session, house.officer, key=key(), new=hospital)
    shown: list[Any] = []
    while page := await disbursements.listing(
        session, house.county, after=(shown[-1].created_at, shown[-1].id) if shown else None, limit=3
    ):
        shown += page
    assert [row.amount_fen for row in shown] == [7, 3, 2, 1]
    assert [(row.payee, row.bank_account) for row in shown[:2]] == [
        ("第一人民医院", "****0000"), ("王*芳", "****5702"),
    ]  # fmt: skip
    full = await disbursements.detail(session, house.county, id=rows[0].id, purpose="payment")
    assert (full.disbursement.payee, full.disbursement.bank_account) == ("王小芳", CARD)
    none = await disbursements.listing(session, house.county, status=S.PAID, limit=10)
    other = await disbursements.listing(session, house.county, fund_id=uuid.uuid4(), limit=10)
    assert none == other == []
    assert len(await disbursements.listing(session, house.county, region_code=TOWN, limit=10)) == 4
    assert not await disbursements.listing(session, house.officer, work=Work.TO_APPROVE, limit=10)
    assert not await disbursements.listing(session, house.accountant, work=Work.TO_APPROVE, limit=10)
    paying = await approve(session, house.county, rows[0])
    assert [
        row.id for row in await disbursements.listing(session, house.accountant, work=Work.TO_PAY, limit=9)
    ] == [paying.id]


async def test_other_domains_ask_once_for_each_source(session: AsyncSession, house: House) -> None:
    asked = [Asked(house.new(10 + n), "grant", new_id()) for n in range(3)]
    rows = await disbursements.request_many(session, house.officer, asked)
    assert [(row.status, row.amount_fen, row.submitted_by) for row in rows] == [
        (S.SUBMITTED, 10 + n, house.officer.id) for n in range(3)
    ]
    again = await disbursements.request_many(session, house.officer, asked[::-1])
    assert [row.id for row in again] == [row.id for row in rows[::-1]]
    with pytest.raises(disbursements.SourceTaken):
        await disbursements.request(session, house.officer, replace(asked[0], new=house.new(11)))
    with pytest.raises(disbursements.OwnDisbursement):
        await approve(session, house.officer, rows[0])
    ended = await disbursements.reject(session, house.county, id=rows[0].id, version=1, reason=REASON)
    anew = await disbursements.request(session, house.officer, asked[0])
    assert anew.id != ended.id
    with pytest.raises(IntegrityError, match="uq_disbursement_source_live"):
        async with session.begin_nested():
            await disbursements.copy(session, house.officer, key=key(), id=ended.id)
    system = await disbursements.request(
        session, Actor.system("premiums"), Asked(house.new(5), "premium", new_id(), region_code=TOWN)
    )
    assert (system.submitted_by, system.region_code, await history(session, system)) == (
        None, TOWN, [("submitted", None)],
    )  # fmt: skip
    assert await disbursements.request_many(session, house.officer, []) == []


async def test_a_sheet_of_payments(session: AsyncSession, house: House) -> None:
    await made.submitted(session, house, 123_456)
    lines = made.cells_of(
        await disbursements.workbook(session, house.county, status=None, fund_id=None, region_code=None)
    )
    assert lines[2][1:8] == ["生育关怀基金", "紧急救助金", "王*芳", "****5702", "1234.56", "", "待审批"]
