"""Files for the bank and what it answers: paid, failed, unknown, another amount, told twice."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.errors import StaleVersion, WrongState
from app.models.disbursements import BankFile, BankFileStatus, Disbursement, DisbursementStatus
from app.models.identity import Role
from app.models.ledger import Phase, Transfer
from app.services import disbursements
from app.services.disbursements import NewBankFile
from app.services.disbursements.answers import fen_of
from app.services.hospital_files import LineVerdict
from app.services.imports import FileRefused
from app.services.ledger import accounts
from tests.factories import disbursements as made
from tests.factories import ledger as given
from tests.factories.disbursements import CARD, House, key

S, V = DisbursementStatus, LineVerdict
PAID, FAILED = "成功", "失败"


@pytest.fixture
async def house(session: AsyncSession) -> House:
    return await made.house(session)


async def a_file(session: AsyncSession, house: House, rows: list[Disbursement]) -> BankFile:
    new = NewBankFile(fund_id=house.fund.id, disbursement_ids=[row.id for row in rows])
    return await disbursements.make_bank_file(session, house.accountant, key=key(), new=new)


async def take(
    session: AsyncSession, house: House, file: BankFile, data: bytes, *, commit: bool = True
) -> disbursements.AnswerTaken:
    taken, _, _ = await disbursements.take_answer(
        session, house.accountant, id=file.id, data=data, commit=commit
    )
    for row in list(session):  # changed set by set
        await session.refresh(row)
    return taken


async def some(session: AsyncSession, house: House, *amounts: int) -> list[Disbursement]:
    return [await made.approved(session, house, amount) for amount in amounts]


def verdicts(taken: disbursements.AnswerTaken) -> list[str]:
    return [f"{line.verdict}{':' if line.outcome else ''}{line.outcome or ''}" for line in taken.lines]


async def test_the_sheet_for_the_bank(session: AsyncSession, house: House) -> None:
    rows = await some(session, house, 123_456, 7)
    file = await a_file(session, house, rows)
    assert (file.lines, file.amount_fen, file.status) == (2, 123_463, BankFileStatus.OPEN)
    number, data = await disbursements.bank_workbook(session, house.accountant, id=file.id, purpose="payment")
    lines = made.cells_of(data)
    assert lines[0][0].startswith(f"付款文件 {number}　2 笔，合计 1,234.63 元")
    assert lines[1][:6] == ["支付编号", "收款人", "收款账号", "开户银行", "金额（元）", "用途"]
    expected = [[rows[0].number, "王小芳", CARD, "宁夏银行凤凰支行", "1234.56", "紧急救助金"],
                [rows[1].number, "王小芳", CARD, "宁夏银行凤凰支行", "0.07", "紧急救助金"]]  # fmt: skip
    assert [line[:6] for line in lines[2:4]] == expected


async def test_what_may_not_go_into_a_file(session: AsyncSession, house: House) -> None:
    [good, taken, late] = await some(session, house, 1, 2, 3)
    waiting = await made.submitted(session, house)
    await a_file(session, house, [taken])
    late.expires_at = clock.now() - timedelta(seconds=1)
    other = replace(house, fund=await given.fund(session, "OTHER"))
    await session.flush()
    for bad in (taken, late, waiting):
        with pytest.raises(disbursements.NotToPay) as raised:
            await a_file(session, house, [good, bad])
        assert raised.value.extensions == {"ids": [str(bad.id)]}
    with pytest.raises(disbursements.NotToPay):
        await a_file(session, other, [good])
    decided = replace(house, accountant=replace(house.county, role=Role.ACCOUNTANT))
    with pytest.raises(disbursements.PayerDecided):
        await a_file(session, decided, [good])
    await a_file(session, house, [good])


async def test_in_a_file_it_is_neither_paid_by_hand_nor_voided_nor_expired(
    session: AsyncSession, house: House
) -> None:
    [row] = await some(session, house, 5)
    file = await a_file(session, house, [row])
    await session.refresh(row)
    row.expires_at = clock.now() - timedelta(days=1)
    await session.commit()
    assert await disbursements.expire_due() == 0
    with pytest.raises(disbursements.InBankFile):
        await disbursements.pay(session, house.accountant, id=row.id, version=row.version)
    with pytest.raises(disbursements.InBankFile):
        await disbursements.void(session, house.county, id=row.id, version=row.version, reason="x")
    with pytest.raises(StaleVersion):
        await disbursements.cancel_bank_file(session, house.accountant, id=file.id, version=9, reason="x")
    file = await disbursements.cancel_bank_file(
        session, house.accountant, id=file.id, version=file.version, reason="网银未受理"
    )
    for refused in (
        disbursements.bank_workbook(session, house.accountant, id=file.id, purpose="payment"),
        disbursements.take_answer(session, house.accountant, id=file.id, data=made.answer(), commit=False),
        disbursements.cancel_bank_file(
            session, house.accountant, id=file.id, version=file.version, reason="x"
        ),
    ):
        with pytest.raises(WrongState):
            await refused
    await session.refresh(row)
    row = await disbursements.pay(session, house.accountant, id=row.id, version=row.version)
    assert row.status is S.PAID


async def test_a_verdict_for_each_line_and_nothing_done_before_it_is_wanted(
    session: AsyncSession, house: House
) -> None:
    rows = await some(session, house, 100, 200, 300, 400)
    file = await a_file(session, house, rows)
    stranger = (await some(session, house, 500))[0]
    data = made.answer(
        (rows[0].number, "1.00", PAID, str(clock.today())),
        (rows[1].number.lower(), "￥2", FAILED, "", f"账号{CARD}不存在"),
        (rows[2].number, "3.01", PAID), (rows[3].number, "4", ""), (stranger.number, "5", PAID), ("P1", "1", PAID),
        (rows[0].number, "1.00", PAID), (rows[3].number, "4", "处理中"),
    )  # fmt: skip
    expected = [
        "ready:paid",
        "ready:failed",
        "refused",
        "skipped",
        "refused",
        "refused",
        "refused",
        "refused",
    ]
    for commit in (False, True):
        taken = await take(session, house, file, data, commit=commit)
        assert verdicts(taken) == expected
        assert (taken.paid_fen, taken.failed, taken.waiting, taken.committed) == (100, 1, 2, commit)
        for row in rows:
            await session.refresh(row)
        assert (rows[0].status, rows[1].bank_file_id) == (
            (S.PAID, None) if commit else (S.APPROVED, file.id)
        )  # fmt: skip
    assert [line.zh[0] for line in taken.lines if line.verdict is V.REFUSED][:2] == [
        "金额与付款文件不符（3.00 元）", "付款文件中没有这个支付编号",
    ]  # fmt: skip
    assert (rows[0].paid_fen, rows[0].paid_by, rows[0].bank_file_id) == (100, house.accountant.id, file.id)
    shown = await disbursements.detail(session, Actor.system("test"), id=rows[1].id, purpose="audit")
    assert [(step.status, step.reason) for step in shown.steps][-2:] == [
        (S.APPROVED, None), (S.APPROVED, "账号***不存在"),
    ]  # fmt: skip
    posted = select(Transfer.amount_fen).where(Transfer.phase == Phase.POST)
    assert list(await session.scalars(posted)) == [100]
    assert await accounts.available(session, house.fund.id) == 1_000_000 - 1_500


async def test_told_again_it_changes_nothing_and_otherwise_it_is_refused(
    session: AsyncSession, house: House
) -> None:
    rows = await some(session, house, 100, 200)
    file = await a_file(session, house, rows)
    numbers = [row.number for row in rows]
    first = made.answer((numbers[0], "1.00", PAID), (numbers[1], "2.00", FAILED))
    assert verdicts(await take(session, house, file, first)) == ["ready:paid", "ready:failed"]
    await session.refresh(file)
    assert file.status is BankFileStatus.ANSWERED
    next_file = await a_file(session, house, [await session.get_one(Disbursement, rows[1].id)])
    await session.refresh(rows[1])
    before = [row.version for row in rows]
    assert verdicts(await take(session, house, file, first)) == ["known:paid", "known:failed"]
    other = made.answer((numbers[0], "1.00", FAILED), (numbers[1], "2.00", PAID))
    assert verdicts(await take(session, house, file, other)) == ["refused", "refused"]
    assert [row.version for row in rows] == before
    last = made.answer((numbers[0], "1.00", PAID), (numbers[1], "2.00", "付款成功"))
    assert verdicts(await take(session, house, next_file, last)) == ["refused", "ready:paid"]
    assert await accounts.available(session, house.fund.id) == 1_000_000 - 300


async def test_a_day_of_payment_that_cannot_be(session: AsyncSession, house: House) -> None:
    rows = await some(session, house, 100, 200, 300)
    file = await a_file(session, house, rows)
    days = str(clock.today() + timedelta(days=1)), "2020-01-01", "昨天"
    lines = [
        (row.number, f"{row.amount_fen / 100:.2f}", PAID, day) for row, day in zip(rows, days, strict=True)
    ]
    assert verdicts(await take(session, house, file, made.answer(*lines))) == ["refused"] * 3


async def test_an_answer_that_is_none(session: AsyncSession, house: House) -> None:
    file = await a_file(session, house, await some(session, house, 1))
    for data in (
        b"",
        b"%PDF-1.7",
        made.answer(headings=("编号", "金额", "结果")),
        made.answer(headings=("支付编号",) * 3),
    ):
        with pytest.raises(FileRefused):
            await take(session, house, file, data)
    csv = "支付编号,金额（元）,付款结果\n不存在,1,成功\n".encode("gb18030")
    assert verdicts(await take(session, house, file, csv)) == ["refused"]
    decided = replace(house, accountant=replace(house.county, role=Role.ACCOUNTANT))
    with pytest.raises(disbursements.PayerDecided):
        await take(session, decided, file, csv)


async def test_files_in_pages(session: AsyncSession, house: House) -> None:
    files = [await a_file(session, house, await some(session, house, 1 + n)) for n in range(3)]
    first = await disbursements.bank_files(session, house.accountant, status=None, after=None, limit=2)
    rest = await disbursements.bank_files(session, house.accountant, status=None, after=first[-1].id, limit=2)
    assert [file.id for file in first + rest] == [file.id for file in files[::-1]]
    far = replace(house.accountant, region_code="640105000000")
    assert not await disbursements.bank_files(session, far, status=BankFileStatus.OPEN, after=None, limit=2)


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("1", 100), ("1.5", 150), ("1,234.56", 123_456), ("￥１２．３４", 1234), ("0.30000000000000004", 30),
        ("1234.5600", 123_456), ("999999999999.99", 99_999_999_999_999), ("1.005", None), ("-1", None), ("1e3", None),
        ("", None), ("一百", None), ("1.", None), (".5", None), ("9" * 13, None), ("nan", None), ("1 2", None),
    ],
)  # fmt: skip
def test_yuan_to_fen(text: str, fen: int | None) -> None:
    assert fen_of(text) == fen
