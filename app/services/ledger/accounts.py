"""The chart of accounts (民间非营利组织会计制度) and what stands on each account."""

import uuid
from dataclasses import dataclass

from sqlalchemy import SQLColumnExpression, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, visible
from app.models.funds import Fund
from app.models.ledger import AccountBalance, AccountClass, LedgerAccount
from app.services.ledger.posting import (
    BANK,
    CASH,
    FEES,
    GOODS,
    NET_ASSETS,
    PLATFORM,
    SUSPENSE,
    WECHAT,
    transfer_id,
)  # fmt: skip

OPEN = text("SELECT open_ledger_account(:code, :zh, :en, :kind, :fund, :limit, :shards, :now)")
A = AccountClass
#: Code, class, and in how many parts the balance is kept: as many payments as that go on at the same moment.
GENERAL = (
    (CASH, "库存现金", "Cash in hand", A.ASSET, 1),
    (BANK, "银行存款", "Cash at bank", A.ASSET, 8),
    (WECHAT, "其他货币资金—微信支付待结算", "WeChat Pay, not settled yet", A.ASSET, 64),
    (PLATFORM, "其他货币资金—捐款平台待结算", "Donation platforms, not settled yet", A.ASSET, 8),
    (GOODS, "存货—捐赠物资", "Donated goods", A.ASSET, 1),
    (SUSPENSE, "其他应付款—待查捐款", "Donations that nothing explains yet", A.LIABILITY, 4),
    (NET_ASSETS, "非限定性净资产", "Unrestricted net assets", A.NET_ASSETS, 1),
    (FEES, "筹资费用", "Fundraising cost", A.COST, 1),
)


@dataclass(frozen=True, slots=True)
class AccountView:
    """`balance_fen` on the side on which accounts of the class grow. `held_fen` will leave it, or be set free."""

    code: str
    zh: str
    en: str
    account_class: AccountClass
    currency: str
    fund_id: uuid.UUID | None
    debits_fen: int
    credits_fen: int
    balance_fen: int
    held_fen: int


def income_code(fund: Fund, goods: bool = False) -> str:
    """捐赠收入: what was given to the fund, in money or in goods."""
    return f"{'410102' if fund.restricted else '410101'}{_kind(goods)}-{fund.code}"


def cost_code(fund: Fund, goods: bool = False) -> str:
    """业务活动成本: what the fund spent, or handed out."""
    return f"5101{_kind(goods)}-{fund.code}"


def net_assets_code(fund: Fund, goods: bool = False) -> str:
    """净资产: what earlier years left."""
    return f"{'3102' if fund.restricted else '3101'}{_kind(goods)}-{fund.code}"


def _kind(goods: bool) -> str:
    return "K" if goods else ""


def goods_limit(fund_id: uuid.UUID) -> uuid.UUID:
    """No more goods of a fund are handed out than were given to it. The limit of its money is the fund's own id."""
    return transfer_id("goods", fund_id)


async def open_general(db: AsyncSession) -> None:
    """The accounts that belong to no fund. Those that are open already stay as they are."""
    for code, zh, en, kind, shards in GENERAL:
        await _open(db, code, zh, en, kind, shards)


async def open_for(db: AsyncSession, fund: Fund) -> None:
    """The accounts of a fund: given, spent and left, in money and in goods."""
    kept = ("限定性", "restricted") if fund.restricted else ("非限定性", "unrestricted")
    for goods in (False, True):
        zh, en = ("（物资）", " in goods") if goods else ("", "")
        limit = goods_limit(fund.id) if goods else fund.id
        for code, name_zh, name_en, kind, shards in (
            (
                income_code(fund, goods),
                f"捐赠收入—{kept[0]}",
                f"Donations, {kept[1]}",
                A.INCOME,
                1 if goods else 64,
            ),
            (cost_code(fund, goods), "业务活动成本", "Programme cost", A.COST, 1),
            (net_assets_code(fund, goods), f"{kept[0]}净资产", f"Net assets, {kept[1]}", A.NET_ASSETS, 1),
        ):
            names = f"{name_zh}{zh}—{fund.zh}", f"{name_en}{en}: {fund.en}"
            await _open(db, code, *names, kind, shards, fund=fund.id, limit=limit)


async def _open(
    db: AsyncSession, code: str, zh: str, en: str, kind: AccountClass, shards: int,
    *, fund: uuid.UUID | None = None, limit: uuid.UUID | None = None,
) -> None:  # fmt: skip
    given = {"code": code, "zh": zh, "en": en, "kind": kind, "fund": fund, "limit": limit, "shards": shards}
    await db.execute(OPEN, {**given, "now": clock.now()})


async def available(db: AsyncSession, limit_id: uuid.UUID) -> int:
    """What a fund may still spend: received, less what was spent and what is held."""
    return await _sum(db, limit_id, AccountBalance.credits - AccountBalance.debits - AccountBalance.pending)


async def held(db: AsyncSession, limit_id: uuid.UUID) -> int:
    """What is reserved of a fund for payments that were approved and are not made yet."""
    return await _sum(db, limit_id, AccountBalance.pending)


async def _sum(db: AsyncSession, limit_id: uuid.UUID, amount: SQLColumnExpression[int]) -> int:
    query = select(func.sum(amount)).join(LedgerAccount).where(LedgerAccount.limit_id == limit_id)
    return int(await db.scalar(query) or 0)


async def listing(db: AsyncSession, actor: Actor, *, after: str | None, limit: int) -> list[AccountView]:
    """The chart by code, with what stands on each account now."""
    debits, credits = func.sum(AccountBalance.debits), func.sum(AccountBalance.credits)
    query = (
        select(LedgerAccount, debits, credits, func.sum(AccountBalance.pending))
        .join(AccountBalance)
        .where(visible(actor, LedgerAccount))
        .group_by(LedgerAccount.id)
        .order_by(LedgerAccount.code)
        .limit(limit)
    )
    if after is not None:
        query = query.where(LedgerAccount.code > after)
    return [
        _view(account, int(debit), int(credit), int(held))
        for account, debit, credit, held in await db.execute(query)
    ]


def _view(account: LedgerAccount, debits: int, credits: int, held: int) -> AccountView:
    by_debit = account.account_class in (A.ASSET, A.COST)
    return AccountView(
        account.code, account.zh, account.en, account.account_class, account.currency, account.fund_id,
        debits, credits, debits - credits if by_debit else credits - debits, held,
    )  # fmt: skip
