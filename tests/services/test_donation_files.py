"""Files of banks and platforms, and cash books: a verdict for each line, every line once ever, money to the fen."""

import time

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from app import clock
from app.errors import Invalid
from app.models.donations import Channel, Donation, DonationFile, DonationStatus
from app.models.identity import Role
from app.models.ledger import LedgerAccount, Transfer
from app.services.donations import files
from app.services.donations.files import Into
from app.services.hospital_files import LineVerdict, annotated_copy
from app.services.imports import FileRefused
from app.services.ledger import accounts, posting
from app.services.proofs import leaves
from tests.clients import REGION, a_worker
from tests.factories import gifts as given
from tests.factories import ledger

READY, KNOWN, REFUSED, SKIPPED = (
    LineVerdict.READY,
    LineVerdict.KNOWN,
    LineVerdict.REFUSED,
    LineVerdict.SKIPPED,
)
TODAY = clock.today().isoformat()


@pytest.fixture
async def actor(session):
    return (await a_worker(session, Role.ACCOUNTANT, REGION)).actor()


@pytest.fixture
async def fund(session):
    return await ledger.fund(session, "GIFT")


async def take(session, actor, fund, data, *, commit=True, channel=Channel.BANK):
    data = data if isinstance(data, bytes) else data.encode()
    taken = await files.take(session, actor, data=data, into=Into(fund.id, channel), commit=commit)
    return taken.file, taken.judged


def verdicts(judged):
    return [one.verdict for one in judged]


MIXED = given.csv(
    ("B0001", TODAY, "1,234.50", "王建国", "", "姓氏"),
    ("B0002", TODAY, "１００", "", "", ""),
    ("B0003", TODAY, "1.005", "李四", "", ""),
    ("B0004", TODAY, "-5", "", "", ""),
    ("B0005", TODAY, "1e3", "", "", ""),
    ("B0001", TODAY, "7", "", "", ""),
    ("B6", TODAY, "7", "", "", ""),
    ("B0007", "2999-01-01", "7", "", "", ""),
    ("B0008", TODAY, "8", "某单位", "91350100M000100Y34", ""),
    ("B0009", TODAY, "9", "某单位", "91350100M000100Y43", ""),
    ("B0010", TODAY, "10", "某单位", given.CODE, "姓名"),
    ("B0011", TODAY, "11", "王", "", "实名"),
    ("", "", "", "", "", ""),
)  # fmt: skip


async def test_a_dry_run_says_what_a_commit_does_and_again_is_a_replay(session, actor, fund):
    body = await given.body(session, actor)
    expected = [READY, READY, *[REFUSED] * 8, READY, REFUSED]
    file, judged = await take(session, actor, fund, MIXED, commit=False)
    assert verdicts(judged) == expected
    assert await session.scalar(select(func.count()).select_from(Donation)) == 0
    columns = [[key for key, *_ in one.reasons] for one in judged]
    assert columns == [
        [], [], ["amount"], ["amount"], ["amount"], ["source"], ["source"], ["on"], ["credit_code"], ["credit_code"],
        [], ["shown"],
    ]  # fmt: skip
    assert (await annotated_copy(file, judged)).startswith(b"PK")
    _, done = await take(session, actor, fund, MIXED)
    assert verdicts(done) == expected
    assert await accounts.available(session, fund.id) == 123450 + 10000 + 1000
    rows = {row.source: row for row in await session.scalars(select(Donation))}
    assert (rows["B0001"].public_name, rows["B0001"].donor_name) == ("王某", "王建国")
    assert (rows["B0010"].public_name, rows["B0010"].organization_donor_id) == (given.DAIRY, body.id)
    for row in rows.values():
        transfer = await session.get_one(Transfer, row.transfer_id)
        assert transfer.commitment == leaves.commitment(row.salt, row.number, row.donor_name)
    for _ in range(2):
        _, again = await take(session, actor, fund, MIXED)
        assert verdicts(again) == [KNOWN if one is READY else one for one in expected]
    [taken] = await session.scalars(select(DonationFile))
    assert (taken.lines, taken.amount_fen) == (3, 134450)
    assert await accounts.available(session, fund.id) == 134450


async def test_a_line_is_taken_once_ever_also_when_it_was_reversed(session, actor, fund):
    await take(session, actor, fund, given.csv(("B0001", TODAY, "5", "", "", "")))
    row = (await session.scalars(select(Donation))).one()
    await given.reversed_(session, actor, row)
    _, judged = await take(session, actor, fund, given.csv(("B0001", TODAY, "5", "甲", "", "")))
    assert verdicts(judged) == [KNOWN]
    _, judged = await take(session, actor, fund, given.csv(("B0001", TODAY, "6", "", "", "")))
    assert verdicts(judged) == [REFUSED]
    assert row.status is DonationStatus.REVERSED
    assert await accounts.available(session, fund.id) == 0
    _, judged = await take(
        session, actor, fund, given.csv(("B0001", TODAY, "6", "", "", "")), channel=Channel.PLATFORM
    )
    assert verdicts(judged) == [READY]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
async def test_lists_of_banks_are_read_as_they_come(session, actor, fund, encoding):
    data = given.csv(
        ("20260101A", "20260102", "12.30", "张三"), headings="交易流水号,交易日期,收入金额,对方户名"
    )
    _, judged = await take(session, actor, fund, data.encode(encoding))
    row = (await session.scalars(select(Donation))).one()
    assert verdicts(judged) == [READY]
    assert (row.amount_fen, row.donor_name) == (1230, "张三")


async def test_what_went_out_of_an_account_is_no_gift(session, actor, fund):
    data = given.csv(
        ("20260101A", "2026-01-02", "", "12.30", "张三"), ("20260101B", "2026-01-02", "900.00", "", "某某超市"),
        ("20260101C", "2026-01-02", "7.00", "0.00", "银行"), ("20260101D", "2026-01-02", "", "-8.00", "李四"),
        headings="交易流水号,交易日期,借方发生额,贷方发生额,对方户名",
    )  # fmt: skip
    _, judged = await take(session, actor, fund, data)
    assert verdicts(judged) == [READY, SKIPPED, SKIPPED, REFUSED]
    assert await accounts.available(session, fund.id) == 1230


async def test_a_cash_book_is_taken_by_the_numbers_of_its_receipts(session, actor, fund):
    await given.recorded(session, actor, fund, 300, source="R00001")
    book = given.csv(
        ("R00001", TODAY, "3.00", ""), ("R00002", TODAY, "20.00", "王建国"),
        headings="收据号,收款日期, 金额 (元),交款人",  # as people type it
    )  # fmt: skip
    for verdict in (READY, KNOWN):
        _, judged = await take(session, actor, fund, book, channel=Channel.CASH)
        assert verdicts(judged) == [KNOWN, verdict]
    query = select(func.sum(Transfer.amount_fen)).join(
        LedgerAccount, LedgerAccount.id == Transfer.debit_account_id
    )
    assert await session.scalar(query.where(LedgerAccount.code == posting.CASH)) == 2300
    with pytest.raises(IntegrityError, match="uq_donation_source"):
        await given.recorded(session, actor, fund, 2000, source="R00002")


async def test_cells_of_a_workbook_are_numbers_dates_and_never_run(session, actor, fund):
    lines = [
        ["X0001", clock.today(), 0.1 * 3, "甲"], ["X0002", clock.today(), 19.99, "乙"],
        ["X0003", clock.today(), "=1+1", "丙"], ["X0004", True, 5, ""],
    ]  # fmt: skip
    data = given.xlsx(["流水号", "日期", "金额（元）", "捐赠人"], lines)
    _, judged = await take(session, actor, fund, data)
    # The first is 0.30000000000000004 in the file; Excel shows 15 digits of a number, and so are they read.
    assert verdicts(judged) == [READY, READY, REFUSED, REFUSED]
    assert await accounts.available(session, fund.id) == 30 + 1999


@pytest.mark.parametrize(
    "data", [b"", b"%PDF-1.7", b"PK\x03\x04 broken", "流水号,日期\nB0001,2026-01-01".encode()]
)
async def test_what_is_no_list_is_refused_whole(session, actor, fund, data):
    with pytest.raises(FileRefused):
        await take(session, actor, fund, data)


@pytest.mark.parametrize("channel", [Channel.WECHAT, Channel.IN_KIND])
async def test_what_comes_by_itself_or_is_valued_comes_by_no_file(session, actor, fund, channel):
    with pytest.raises(Invalid):
        await take(session, actor, fund, given.csv(), channel=channel)


async def test_the_template_is_read_again(session, actor, fund):
    _, judged = await take(session, actor, fund, await files.template())
    assert judged == []


async def test_five_thousand_lines_are_taken_in_seconds(session, actor, fund):
    lines = [(f"M{number:06}", TODAY, f"{number}.01", "王建国", "", "") for number in range(1, 5001)]
    began = time.perf_counter()
    _, judged = await take(session, actor, fund, given.csv(*lines))
    assert time.perf_counter() - began < 15
    assert set(verdicts(judged)) == {READY}
    assert len(judged) == 5000
    assert await accounts.available(session, fund.id) == sum(n * 100 + 1 for n in range(1, 5001))
    both = await session.execute(text("SELECT count(*), count(DISTINCT transfer_id) FROM donation"))
    assert both.one() == (5000, 5000)
