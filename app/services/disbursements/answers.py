"""The bank's answer to a file: of each line whether it was paid. Judged first, then carried out; told again, it changes
nothing."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch
from app.errors import WrongState
from app.models.disbursements import (
    BankFile,
    BankFileLine,
    BankFileStatus,
    Disbursement,
    DisbursementStatus,
    LineOutcome,
)
from app.models.funds import Fund
from app.models.ledger import TransferKind
from app.services import audit
from app.services.disbursements import bank_files
from app.services.disbursements.steps import PayerDecided, since_asked, tell
from app.services.hospital_files.judging import Column, File, Judgement, LineVerdict, Reason, Row, read
from app.services.imports import cells
from app.services.imports.cells import NotReadable
from app.services.ledger import accounts, posting

V, O = LineVerdict, LineOutcome  # noqa: E741
SAID = {
    "成功": O.PAID, "付款成功": O.PAID, "交易成功": O.PAID, "已付款": O.PAID,
    "失败": O.FAILED, "付款失败": O.FAILED, "交易失败": O.FAILED, "退汇": O.FAILED,
}  # fmt: skip
COLUMNS = (
    Column("number", "支付编号", needed=True), Column("amount", "金额（元）", needed=True),
    Column("said", "付款结果", needed=True, choices=("成功", "失败")), Column("paid_on", "付款日期"),
    Column("reason", "失败原因"),
)  # fmt: skip
LONGEST_REASON = 100
_YUAN = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?")
_LONG_NUMBER = re.compile(r"[0-9]{6,}")
POST = text("""
    SELECT post_transfer(paid.post, :debit, :credit, paid.amount, :kind, paid.reference, paid.paid_on, :now, true,
                         'post', NULL, paid.hold)
      FROM unnest(CAST(:posts AS uuid[]), CAST(:holds AS uuid[]), CAST(:amounts AS bigint[]),
                  CAST(:references AS text[]), CAST(:days AS date[]))
           AS paid(post, hold, amount, reference, paid_on)""")


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one line. Ready: it is carried out, or would be. Known: it was told before. Skipped: no answer yet."""

    line: int
    verdict: LineVerdict
    outcome: LineOutcome | None
    number: str
    zh: list[str]
    en: list[str]


@dataclass(frozen=True, slots=True)
class AnswerTaken:
    """`waiting`: what the bank has not answered yet, after this."""

    committed: bool
    sha256: str
    counts: dict[LineVerdict, int]
    paid_fen: int
    failed: int
    waiting: int
    lines: list[Answer]


@dataclass(frozen=True, slots=True)
class _Judged:
    row: Row
    verdict: LineVerdict
    outcome: LineOutcome | None = None
    reasons: tuple[Reason, ...] = ()
    of: Disbursement | None = None
    paid_on: date | None = None


async def take_answer(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, data: bytes, commit: bool
) -> tuple[AnswerTaken, File, list[Judgement]]:
    """Paid in full, or failed: then it is approved as before and in no file, the bank's reason kept. Lines that are
    refused hinder no others. Without `commit` nothing is changed."""
    file = await read(data, "answer.xlsx", COLUMNS, most=bank_files.MOST)
    bank_file = await fetch(db, actor, BankFile, id, lock=commit)
    if bank_file.status is BankFileStatus.CANCELLED:
        raise WrongState(status_now=bank_file.status)
    lines = await _lines(db, bank_file, lock=commit)
    if any(
        actor.id in (row.submitted_by, row.approved_by) for row, outcome in lines.values() if outcome is None
    ):
        raise PayerDecided
    judged = _judge(file.rows, lines)
    if commit:
        await _carry_out(db, actor, bank_file, judged)
    await audit.record(db, actor, "upload" if commit else "check", "bank_file", bank_file.id)
    left = sum(outcome is None for _, outcome in lines.values())
    told = [Judgement(one.row.number, one.verdict, list(one.reasons)) for one in judged]
    return _summed(judged, file, left, commit=commit), file, told


Lines = dict[str, tuple[Disbursement, LineOutcome | None]]


async def _lines(db: AsyncSession, file: BankFile, *, lock: bool) -> Lines:
    """By their numbers, with what was told of each before."""
    query = (
        select(Disbursement, BankFileLine.outcome)
        .join(BankFileLine, BankFileLine.disbursement_id == Disbursement.id)
        .where(BankFileLine.bank_file_id == file.id)
        .order_by(Disbursement.id)
    )
    found = await db.execute(query.with_for_update(of=Disbursement) if lock else query)
    return {row.number: (row, outcome) for row, outcome in found}


def _judge(rows: Sequence[Row], lines: Lines) -> list[_Judged]:
    judged, seen = [], set[str]()
    for row in rows:
        number = cells.plain(row["number"]).upper()
        if number in seen:
            why = "number", "支付编号重复", "this number stands there twice"
            judged.append(_Judged(row, V.REFUSED, reasons=(why,)))
            continue
        one = _line(row, *lines.get(number, (None, None)))
        judged.append(one)
        seen.add(number)
    return judged


def _line(row: Row, of: Disbursement | None, before: LineOutcome | None) -> _Judged:
    try:
        if of is None:
            raise _wrong("number", "付款文件中没有这个支付编号", "not a number of this file")
        outcome = _outcome(row, of, before)
        if outcome is None:
            return _Judged(row, V.SKIPPED)
        if before is not None:
            return _Judged(row, V.KNOWN, outcome)
        return _Judged(row, V.READY, outcome, of=of, paid_on=_paid_on(row, of))
    except NotReadable as error:
        return _Judged(row, V.REFUSED, reasons=((error.column, error.zh, error.en),))


def _wrong(column: str, zh: str, en: str) -> NotReadable:
    error = NotReadable(column, zh, en)
    error.column = column
    return error


def _outcome(row: Row, of: Disbursement, before: LineOutcome | None) -> LineOutcome | None:
    """What the line says, of the amount that the file named; None: nothing yet."""
    if not row["said"]:
        return None
    outcome = SAID.get(cells.plain(row["said"]))
    if outcome is None:
        raise _wrong("said", "应为成功或失败", "neither paid nor failed: say 成功 or 失败")
    if fen_of(row["amount"]) != of.amount_fen:
        asked = Decimal(of.amount_fen).scaleb(-2)
        raise _wrong("amount", f"金额与付款文件不符（{asked} 元）", "the amount is not that of the file")
    if before not in (None, outcome):
        raise _wrong("said", "与已登记的银行结果不一致", "another answer was told before")
    return outcome


def _paid_on(row: Row, of: Disbursement) -> date:
    """Today where the line names no day."""
    try:
        day = cells.day(row["paid_on"]) if row["paid_on"] else clock.today()
    except NotReadable as error:
        raise _wrong("paid_on", error.zh, error.en) from None
    if not since_asked(of, day):
        raise _wrong("paid_on", "付款日期早于申请或晚于今天", "before it was asked for, or in the future")
    return day


def fen_of(text: str) -> int | None:
    """1,234.50, ￥1234.5; what a spreadsheet computed may be off by less than anybody pays. None: no amount."""
    written = cells.plain(text).replace(",", "").lstrip("¥￥").strip()
    if not _YUAN.fullmatch(written):
        return None
    fen = Decimal(written).scaleb(2)
    whole = fen.to_integral_value()
    return int(whole) if abs(fen - whole) < Decimal("0.0001") else None


async def _carry_out(db: AsyncSession, actor: Actor, file: BankFile, judged: Sequence[_Judged]) -> None:
    ready = {
        outcome: [one for one in judged if one.verdict is V.READY and one.outcome is outcome] for outcome in O
    }
    if paid := ready[O.PAID]:
        await _paid(db, actor, file, paid)
    if failed := ready[O.FAILED]:
        await _failed(db, actor, file, failed)
    if (paid or failed) and not await bank_files.waiting(db, file):
        file.status = BankFileStatus.ANSWERED
    await db.flush()


async def _paid(db: AsyncSession, actor: Actor, file: BankFile, paid: Sequence[_Judged]) -> None:
    """Each posts its hold: what the bank paid out is recorded, never refused."""
    rows = [one.of for one in paid if one.of is not None]
    ids = [row.id for row in rows]
    done = update(Disbursement).where(
        Disbursement.id.in_(ids), Disbursement.status == DisbursementStatus.APPROVED
    )
    values = {
        "status": DisbursementStatus.PAID,
        "paid_fen": Disbursement.amount_fen,
        "paid_by": actor.account_id,
    }
    await db.execute(
        done.values(**values, version=Disbursement.version + 1),
        execution_options={"synchronize_session": False},
    )
    await bank_files.answered(db, file, ids, O.PAID)
    fund = await db.get_one(Fund, file.fund_id)
    outcomes = await db.scalars(POST, {
        "debit": accounts.cost_code(fund), "credit": posting.BANK, "kind": TransferKind.DISBURSEMENT.value,
        "now": clock.now(), "posts": [posting.transfer_id("post", row.hold_id) for row in rows],
        "holds": [row.hold_id for row in rows], "amounts": [row.amount_fen for row in rows],
        "references": [f"disbursement/{row.id}" for row in rows], "days": [one.paid_on for one in paid],
    })  # fmt: skip
    for outcome in outcomes:
        if outcome in posting.REFUSALS:
            raise posting.REFUSALS[outcome]
    await tell(db, actor, DisbursementStatus.PAID, rows, bank_file_id=file.id)
    await audit.record_each(db, actor, "paid", "disbursement", [(row.id, [row.person_id]) for row in rows])


async def _failed(db: AsyncSession, actor: Actor, file: BankFile, failed: Sequence[_Judged]) -> None:
    rows = [one.of for one in failed if one.of is not None]
    ids = [row.id for row in rows]
    await bank_files.answered(db, file, ids, O.FAILED)
    await bank_files.put(db, ids, None)
    # A bank likes to repeat the account.
    reasons = [_LONG_NUMBER.sub("***", one.row["reason"])[:LONGEST_REASON] or "银行退回" for one in failed]
    await tell(db, actor, DisbursementStatus.APPROVED, rows, reasons=reasons, bank_file_id=file.id)
    await audit.record_each(db, actor, "failed", "disbursement", [(row.id, [row.person_id]) for row in rows])


def _summed(judged: Sequence[_Judged], file: File, left: int, *, commit: bool) -> AnswerTaken:
    counts = {verdict: sum(one.verdict is verdict for one in judged) for verdict in V}
    ready = [one for one in judged if one.verdict is V.READY]
    lines = [
        Answer(
            one.row.number, one.verdict, one.outcome, one.row["number"], [zh for _, zh, _ in one.reasons],
            [en for *_, en in one.reasons],
        )
        for one in judged
    ]  # fmt: skip
    paid = sum(one.of.amount_fen for one in ready if one.of is not None and one.outcome is O.PAID)
    failed = sum(one.outcome is O.FAILED for one in ready)
    return AnswerTaken(
        commit, file.sha256, {verdict: count for verdict, count in counts.items() if count}, paid, failed,
        left - len(ready), lines,
    )  # fmt: skip
