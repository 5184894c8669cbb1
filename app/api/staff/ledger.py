"""The ledger: the chart of accounts, the journal, statements; months are closed, transfers reversed."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app import clock
from app.access import Actor, Permission
from app.api.deps import Body, Day, Db, IdempotencyKey, Listing, Paging, View, example, listing, staff_may
from app.api.sheets import XLSX, sheet
from app.errors import Invalid, NotFound, WrongState, problems
from app.models.ledger import Phase, ReversalReason, TransferKind
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.ledger import accounts, periods, posting, reversals, statements, workbooks
from app.services.settlements import Month
from app.services.settlements.reading import first_of

router = APIRouter(prefix="/ledger", tags=["账簿 ledger"])
Read = Annotated[Actor, staff_may(Permission.LEDGER_READ)]
Close = Annotated[Actor, staff_may(Permission.LEDGER_CLOSE)]
AccountCode = Annotated[
    str | None, Query(alias="account", pattern="^[0-9A-Z-]{1,20}$", description="One account's code")
]
LONGEST = 366


class CloseMonth(Body):
    model_config = example(month="2026-10")

    month: Month


class PeriodView(View):
    id: uuid.UUID
    month: str
    closed_by: uuid.UUID
    closed_at: datetime


class ReverseTransfer(Body):
    model_config = example(reason="entered_twice")

    reason: ReversalReason


class TransferView(View):
    id: uuid.UUID
    kind: TransferKind
    phase: Phase
    amount_fen: int
    currency: str
    reference: str
    reverses_id: uuid.UUID | None
    effective_on: date
    recorded_at: datetime


@router.get("/accounts", summary="科目及余额 Accounts", response_model=Listing[accounts.AccountView])
async def list_ledger_accounts(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """The chart by code, with what stands on each account now."""
    after = page.after_one(str)
    rows = await accounts.listing(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.code,))


def _days(
    first: Annotated[Day, Query(alias="from")], last: Annotated[Day, Query(alias="to")]
) -> tuple[date, date]:
    if not 0 <= (last - first).days < LONGEST:
        raise Invalid.at(
            "#query/to",
            "应不早于起始日期，且在其后一年之内",
            "not before the first day, and within a year of it",
        )
    return first, last


Days = Annotated[tuple[date, date], Depends(_days)]


@router.get("/journal", summary="序时账 The journal", response_model=Listing[statements.JournalLine])
async def read_journal(
    db: Db, actor: Read, page: Paging, days: Days, account: AccountCode = None
) -> dict[str, Any]:
    """From one day to another in the order of booking; of one account, if named. Holds are not in it."""
    after = page.after(date.fromisoformat, datetime.fromisoformat, uuid.UUID)
    rows = await statements.journal(
        db, actor, first=days[0], last=days[1], account=account, after=after, limit=page.limit + 1
    )
    return listing(rows, page, lambda row: (row.effective_on, row.recorded_at.isoformat(), row.id))


@router.get(
    "/journal/workbook",
    summary="下载序时账 The journal as a sheet",
    response_class=Response,
    responses=problems(NotFound, workbooks.JournalTooLong) | XLSX,
)
async def journal_workbook(db: Db, actor: Read, days: Days, account: AccountCode = None) -> Response:
    """In yuan, with a sum for each kind."""
    first, last = days
    file = await workbooks.journal_workbook(db, actor, first=first, last=last, account=account)
    return sheet(file, f"journal-{first}-{last}.xlsx")


@router.get("/months/{month}/trial-balance", summary="科目余额表 The trial balance of a month")
async def month_trial_balance(db: Db, actor: Read, month: Month) -> statements.TrialBalance:
    """Opening, debits, credits and closing of every account that ever moved, each class summed."""
    return await statements.trial_balance(db, first_of(month))


@router.get(
    "/months/{month}/trial-balance/workbook",
    summary="下载科目余额表 The trial balance as a sheet",
    response_class=Response,
    responses=XLSX,
)
async def trial_balance_workbook(db: Db, actor: Read, month: Month) -> Response:
    """In yuan."""
    file = await workbooks.trial_balance_workbook(db, actor, month=first_of(month))
    return sheet(file, f"trial-balance-{month}.xlsx")


@router.get(
    "/funds/{id}/statement", summary="基金收支表 The statement of a fund", responses=problems(NotFound)
)
async def fund_statement(
    db: Db, actor: Annotated[Actor, staff_may(Permission.FUND_READ)], id: uuid.UUID,
    first: Annotated[Month | None, Query(alias="from")] = None, last: Annotated[Month | None, Query(alias="to")] = None,
) -> statements.FundStatement:  # fmt: skip
    """Given, refunded, transferred, spent, from one month to another or from the beginning; held and available now."""
    since = first_of(first) if first else None
    until = first_of(last) if last else clock.today().replace(day=1)
    if since is not None and since > until:
        raise Invalid.at("#query/from", "不得晚于截止月份", "not after the last month")
    return await statements.fund_statement(db, actor, fund_id=id, first=since, last=until)


@router.post(
    "/periods",
    status_code=201,
    summary="结账 Close a month",
    responses=problems(
        periods.BooksOfWholeAssociation, periods.BookMonthNotOver, periods.EarlierMonthOpen, posting.MonthClosed,
        IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def close_month(db: Db, actor: Close, key: IdempotencyKey, body: CloseMonth) -> PeriodView:
    """Nothing is dated into it afterwards. With December the income and costs of the year go into net assets."""
    return _period(await periods.close(db, actor, key=key, month=first_of(body.month)))


@router.get("/periods", summary="已结账月份 Closed months", response_model=Listing[PeriodView])
async def list_periods(db: Db, actor: Read, page: Paging) -> dict[str, Any]:
    """The latest first."""
    before = page.after_one(date.fromisoformat)
    rows = await periods.listing(db, actor, before=before, limit=page.limit + 1)
    shown = listing(rows, page, lambda row: (row.month,))
    shown["items"] = [_period(row) for row in shown["items"]]
    return shown


@router.post(
    "/transfers/{id}/reverse",
    status_code=201,
    summary="冲销 Reverse a transfer",
    responses=problems(
        NotFound, WrongState, reversals.ReversedElsewhere, posting.AlreadyReversed, posting.FundInsufficient,
        IdempotencyKeyReused, IdempotencyKeyTaken,
    ),
)  # fmt: skip
async def reverse_transfer(
    db: Db, actor: Close, key: IdempotencyKey, id: uuid.UUID, body: ReverseTransfer
) -> TransferView:
    """Fees, payouts and money in suspense that were posted wrongly. Gifts and payments are corrected where they are."""
    row = await reversals.correct(db, actor, key=key, transfer_id=id, reason=body.reason)
    return TransferView.model_validate(row)


def _period(row: Any) -> PeriodView:
    return PeriodView(id=row.id, month=f"{row.month:%Y-%m}", closed_by=row.closed_by, closed_at=row.closed_at)
