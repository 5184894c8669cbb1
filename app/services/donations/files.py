"""Gifts from the files of a bank or platform, or from a cash book: a verdict for each line, each line taken once ever,
all the good ones in one statement."""

import asyncio
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, crypto
from app.access import Actor, visible
from app.db import new_id
from app.errors import Invalid, Unfit
from app.models.donations import Channel, DonationFile, OrganizationDonor, ShownAs
from app.models.funds import Fund
from app.services import audit
from app.services.donations import naming
from app.services.donations.amounts import fen
from app.services.donations.organizations import credit_code
from app.services.donations.recording import DEBIT, NUMBERED, AlreadyRecorded, open_fund
from app.services.hospital_files import sheets_out
from app.services.hospital_files.judging import Column, File, Judgement, LineVerdict, Reason, Row, read
from app.services.ledger import accounts
from app.services.ledger.posting import transfer_id
from app.services.proofs import leaves

MOST = 5_000
SHOWN = {"匿名": ShownAs.ANONYMOUS, "姓氏": ShownAs.INITIAL, "姓名": ShownAs.NAME}
TEMPLATE = (
    Column("source", "流水号", needed=True, width=30),
    Column("on", "日期", needed=True),
    Column("amount", "金额（元）", needed=True),
    Column("donor", "捐赠人", width=28),
    Column("credit_code", "统一社会信用代码", width=24),
    Column("shown", "公示方式", choices=tuple(SHOWN), width=10),
)
FROM_FILES = (*NUMBERED, Channel.CASH)
#: Of a statement of all that came and went: where a line has nothing under it, money went.
CAME_IN = ("贷方金额", "收入金额", "贷方发生额")
#: The same by other names, as banks, platforms and cash books head their own lists.
ALSO = {
    "source": ("交易流水号", "银行流水号", "订单号", "捐赠单号", "收据号", "收据编号"),
    "on": ("交易日期", "入账日期", "捐赠日期", "收款日期"),
    "amount": (*CAME_IN, "捐赠金额", "捐赠金额（元）"),
    "donor": ("对方户名", "付款人", "付款人户名", "交款人"),
}
COLUMNS = TEMPLATE + tuple(Column(key, zh) for key, names in ALSO.items() for zh in names)
SOURCE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_./-]{3,63}")
DAY = re.compile(r"([0-9]{4})[-/.年]?([0-9]{1,2})[-/.月]?([0-9]{1,2})日?(?:[ T][0-9:.]{4,12})?")
LONGEST_NAME = 100
#: Gift and ledger for every line that nobody has taken meanwhile.
TAKE = text("""
WITH made AS (
    INSERT INTO donation (id, number, fund_id, campaign_id, channel, amount_fen, status, donated_at, transfer_id,
                          organization_donor_id, shown_as, public_name, donor_name_sealed, salt, commitment, source,
                          file_id, recorded_by, created_at)
    SELECT given.id, given.number, :fund, CAST(:campaign AS uuid), :channel, given.amount, 'received', given.at,
           given.transfer, given.organization, given.shown, given.public, given.sealed, given.salt, given.commitment,
           given.source, :file, :by, :now
      FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS text[]), CAST(:amounts AS bigint[]),
                  CAST(:ats AS timestamptz[]), CAST(:transfers AS uuid[]), CAST(:organizations AS uuid[]),
                  CAST(:shown AS text[]), CAST(:publics AS text[]), CAST(:sealed AS bytea[]), CAST(:salts AS bytea[]),
                  CAST(:commitments AS bytea[]), CAST(:sources AS text[]))
           AS given (id, number, amount, at, transfer, organization, shown, public, sealed, salt, commitment, source)
    ON CONFLICT (channel, source) WHERE source IS NOT NULL AND status <> 'reversed' DO NOTHING
    RETURNING id, source, amount_fen, donated_at, transfer_id, commitment
)
SELECT source, amount_fen, post_transfer(transfer_id, :debit, :credit, amount_fen, 'donation', 'donation/' || id,
       (donated_at AT TIME ZONE 'Asia/Shanghai')::date, :now, true, p_commitment => commitment) AS posted
  FROM made""")

#: Reversed ones first: what was entered anew is what counts.
KNOWN = text("""
SELECT source, amount_fen FROM donation
 WHERE channel = :channel AND source = ANY(CAST(:sources AS text[])) ORDER BY status <> 'reversed'""")


@dataclass(frozen=True, slots=True)
class Gift:
    """A line that can be read."""

    line: int
    source: str
    on: date
    amount: int
    donor: str | None
    credit_code: str | None
    shown: ShownAs


@dataclass(frozen=True, slots=True)
class Taken:
    """`ready_fen`: what the lines come to that are taken, or would be."""

    file: File
    judged: list[Judgement]
    ready_fen: int


@dataclass(frozen=True, slots=True)
class Into:
    """Where the gifts of a file go."""

    fund_id: uuid.UUID
    channel: Channel
    campaign_id: uuid.UUID | None = None


async def template() -> bytes:
    title = "捐赠登记表：每笔一行；流水号为银行、平台的编号或现金收据号，只登记一次"
    return await asyncio.to_thread(sheets_out.written, title, TEMPLATE, [], room=MOST)


async def take(db: AsyncSession, actor: Actor, *, data: bytes, into: Into, commit: bool) -> Taken:
    """What becomes of each line; with `commit` it becomes so. A line taken before is known, whatever file it is in; one
    of the same number with another amount is refused."""
    if into.channel not in FROM_FILES:
        raise Invalid.at("#query/channel", "应为银行转账、平台或现金", "bank, platform or cash")
    fund = await open_fund(db, actor, into.fund_id, into.campaign_id)
    file = await read(data, "list.xlsx", COLUMNS, most=MOST)
    judged, gifts = await asyncio.to_thread(_read, file)
    bodies = await _bodies(db, actor, gifts)
    known = await _known(db, into.channel, gifts)
    fresh: list[Gift] = []
    for gift in gifts:
        reasons: list[Reason] = []
        if known.get(gift.source, gift.amount) != gift.amount:
            reasons = [("amount", "该流水号已登记，金额不同", "on record with another amount")]
        elif gift.source not in known and gift.credit_code and gift.credit_code not in bodies:
            reasons = [("credit_code", "该单位尚未登记，请先登记捐赠单位", "register this body first")]
        elif gift.source not in known:
            fresh.append(gift)
        verdict = LineVerdict.KNOWN if gift.source in known else LineVerdict.READY
        judged.append(Judgement(gift.line, LineVerdict.REFUSED if reasons else verdict, reasons))
    if commit and fresh:
        taken = await _commit(db, actor, fund, into, fresh, bodies, bytes.fromhex(file.sha256))
        lost = {gift.line for gift in fresh if gift.source not in taken}
        judged = [Judgement(j.line, LineVerdict.KNOWN, []) if j.line in lost else j for j in judged]
        fresh = [gift for gift in fresh if gift.line not in lost]
    await audit.record(db, actor, "upload" if commit else "check", "donation_file", fund.id)
    judged.sort(key=lambda one: one.line)
    return Taken(file, judged, sum(gift.amount for gift in fresh))


def _read(file: File) -> tuple[list[Judgement], list[Gift]]:
    judged: list[Judgement] = []
    gifts: dict[str, Gift] = {}
    came_and_went = file.layout.headings[file.layout.places["amount"]].strip() in CAME_IN
    for row in file.rows:
        went = came_and_went and not row["amount"].strip("¥￥0.-－—")
        if went or not any(row.values.values()):
            judged.append(Judgement(row.number, LineVerdict.SKIPPED, []))
            continue
        gift, reasons = _gift(row)
        if gift is not None and gift.source in gifts:
            reasons.append(
                ("source", f"与第 {gifts[gift.source].line} 行流水号重复", "this number stands above already")
            )
        if gift is None or reasons:
            judged.append(Judgement(row.number, LineVerdict.REFUSED, reasons))
        else:
            gifts[gift.source] = gift
    return judged, list(gifts.values())


def _gift(row: Row) -> tuple[Gift | None, list[Reason]]:
    """With everything that is wrong with it."""
    reasons: list[Reason] = []
    source, on, amount, code = row["source"].lstrip("'`"), _day(row["on"]), 0, None
    if not SOURCE.fullmatch(source):
        reasons.append(("source", "流水号应为 4 至 64 位字母或数字", "4 to 64 letters or digits"))
    if on is None or not date(2000, 1, 1) <= on <= clock.today():
        reasons.append(
            (
                "on",
                "日期应写作 2026-11-20，在 2000 年之后且不晚于今天",
                "written 2026-11-20, between 2000 and today",
            )
        )
    try:
        amount = fen(row["amount"])
    except Unfit as unfit:
        reasons.append(("amount", unfit.zh, unfit.en))
    try:
        code = credit_code(row["credit_code"]) if row["credit_code"] else None
    except Unfit as unfit:
        reasons.append(("credit_code", unfit.zh, unfit.en))
    if len(row["donor"]) > LONGEST_NAME or "\ufffd" in row["donor"]:
        reasons.append(("donor", "捐赠人名称过长或有无法识别的字符", "too long, or not readable"))
    if row["shown"] and row["shown"] not in SHOWN:
        reasons.append(("shown", f"应为{'、'.join(SHOWN)}之一", "not one of the choices"))
    if reasons or on is None:
        return None, reasons
    shown = SHOWN.get(row["shown"], ShownAs.ANONYMOUS)
    return Gift(row.number, source, on, amount, row["donor"] or None, code, shown), reasons


def _day(written: str) -> date | None:
    """2026-11-20, 2026/11/20, 20261120, 2026年11月20日, also with a time after it."""
    match = DAY.fullmatch(written)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


async def _bodies(db: AsyncSession, actor: Actor, gifts: Sequence[Gift]) -> dict[str, tuple[uuid.UUID, str]]:
    codes = {gift.credit_code for gift in gifts if gift.credit_code}
    if not codes:
        return {}
    query = select(OrganizationDonor.credit_code, OrganizationDonor.id, OrganizationDonor.name)
    seen = query.where(visible(actor, OrganizationDonor), OrganizationDonor.credit_code.in_(codes))
    return {code: (id, name) for code, id, name in await db.execute(seen) if code}


async def _known(db: AsyncSession, channel: Channel, gifts: Sequence[Gift]) -> dict[str, int]:
    """What was taken before, reversed or not: a line is taken from a file once ever."""
    if not gifts:
        return {}
    given = {"channel": channel, "sources": [gift.source for gift in gifts]}
    rows = (await db.execute(KNOWN, given)).all()
    return {row.source: row.amount_fen for row in rows}


async def _commit(
    db: AsyncSession, actor: Actor, fund: Fund, into: Into, gifts: Sequence[Gift],
    bodies: dict[str, tuple[uuid.UUID, str]], digest: bytes,
) -> set[str]:  # fmt: skip
    """The numbers of those that were taken now, and not by somebody else at the same moment."""
    now = clock.now()
    file = insert(DonationFile).values(
        id=new_id(), fund_id=fund.id, channel=into.channel, digest=digest, lines=0, amount_fen=0,
        uploaded_by=actor.account_id, uploaded_at=now,
    )  # fmt: skip
    known = file.on_conflict_do_update(index_elements=["fund_id", "digest"], set_={"uploaded_at": now})
    file_id = await db.scalar(known.returning(DonationFile.id))
    columns = await asyncio.to_thread(_columns, gifts, into.channel, bodies)
    given = {
        "fund": fund.id, "campaign": into.campaign_id, "channel": into.channel, "file": file_id,
        "by": actor.account_id, "now": now, "debit": DEBIT[into.channel], "credit": accounts.income_code(fund),
    }  # fmt: skip
    taken = (await db.execute(TAKE, given | columns)).all()
    if any(row.posted != "posted" for row in taken):
        raise AlreadyRecorded  # entered and reversed by hand at this moment: the next try knows
    row = await db.get_one(DonationFile, file_id)
    row.lines += len(taken)
    row.amount_fen += sum(one.amount_fen for one in taken)
    return {one.source for one in taken}


def _columns(
    gifts: Sequence[Gift], channel: Channel, bodies: dict[str, tuple[uuid.UUID, str]]
) -> dict[str, list[object]]:
    names = (
        "ids", "numbers", "amounts", "ats", "transfers", "organizations", "shown", "publics", "sealed", "salts",
        "commitments", "sources",
    )  # fmt: skip
    made: dict[str, list[object]] = {name: [] for name in names}
    for gift in sorted(gifts, key=lambda one: one.source):  # two files that meet do not deadlock
        id, number, salt = new_id(), naming.new_number(), leaves.new_salt()
        body, name = bodies.get(gift.credit_code or "", (None, gift.donor))
        values = (
            id, number, gift.amount, clock.midnight(gift.on), transfer_id("bank", channel, gift.source), body,
            gift.shown, naming.public_name(gift.shown, name),
            name and crypto.seal(name, place=f"donation|donor_name|{id}"), salt,
            leaves.commitment(salt, number, name), gift.source,
        )  # fmt: skip
        for column, value in zip(names, values, strict=True):
            made[column].append(value)
    return made
