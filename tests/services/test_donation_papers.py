"""Receipts and certificates of gifts."""

import io
import json
import re
import runpy
import zlib

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app import clock
from app.errors import NotFound, StaleVersion, WrongState, to_problem
from app.models.donations import DonationStatus, ReceiptStatus
from app.models.identity import Role
from app.models.messages import InboxMessage
from app.services.donations import certificate_page, certificates, erasure, reading, receipt_files, receipts
from app.services.donations.receipts import Issued, NoReceiptForThis, Payer, ReceiptAlreadyAsked
from app.services.hospital_files import LineVerdict
from app.services.imports import sheets
from app.services.proofs import sealing
from app.settings import ROOT
from tests.clients import REGION, a_worker
from tests.factories import appointments as made
from tests.factories import gifts as given
from tests.factories import ledger

PAYER = Payer(payer="李秀英", payer_number="64010419900101123x")
checks = runpy.run_path(str(ROOT / "docs" / "verify.py"))["checks"]


@pytest.fixture
async def actor(session):
    return (await a_worker(session, Role.ACCOUNTANT, REGION)).actor()


@pytest.fixture
async def donor(session):
    return (await made.couple(session)).wife_actor


@pytest.fixture
async def gift(session, actor, donor):
    fund = await ledger.fund(session, "GIFT")
    row = await given.recorded(session, actor, fund, 1_234_56, donor_name="李秀英")
    await reading.claim(session, donor, number=row.number)
    return row


def numbers(number="0000012345", **changes):
    first = {"receipt_code": "64060126", "receipt_number": number, "check_code": "a1b2c3"}
    return Issued(**first | {"issued_on": clock.today()} | changes)


async def ask(session, actor, gift):
    return await receipts.request(session, actor, key=given.key(), donation_id=gift.id, payer=PAYER)


async def test_a_receipt_is_asked_for_once_issued_told_and_anew_after_it_was_reversed(
    session, actor, donor, gift
):
    row = await ask(session, donor, gift)
    assert row.payer_number == "64010419900101123X"
    assert b"6401" not in row.payer_number_sealed
    with pytest.raises(IntegrityError) as refused:
        async with session.begin_nested():
            await ask(session, donor, gift)
    assert isinstance(to_problem(refused.value), ReceiptAlreadyAsked)
    with pytest.raises(StaleVersion):
        await receipts.issue(session, actor, id=row.id, version=9, issued=numbers())
    with pytest.raises(WrongState):
        await receipts.reverse(session, actor, id=row.id, version=1, reason="x")
    done = await receipts.issue(session, actor, id=row.id, version=1, issued=numbers())
    assert done.status is ReceiptStatus.ISSUED
    gone = await receipts.reverse(session, actor, id=row.id, version=done.version, reason="抬头有误")
    assert gone.status is ReceiptStatus.REVERSED
    again = await ask(session, donor, gift)
    await receipts.refuse(session, actor, id=again.id, version=1, reason="资料不全")
    told = list(await session.scalars(select(InboxMessage).where(InboxMessage.kind == "receipt_updated")))
    assert [one.entity_id for one in told] == [gift.id] * 3


async def test_no_receipt_for_what_went_back_nor_for_others(session, actor, gift):
    stranger = (await made.couple(session)).husband_actor
    with pytest.raises(NotFound):
        await ask(session, stranger, gift)
    gift.status, gift.refunded_fen = DonationStatus.REFUNDED, gift.amount_fen
    with pytest.raises(NoReceiptForThis):
        await ask(session, actor, gift)


async def test_the_workbook_goes_out_and_comes_back_with_numbers(session, actor, donor, gift):
    row = await ask(session, donor, gift)
    out = await receipt_files.workbook(session, actor, purpose="payment")
    lines = [line.cells for line in sheets.read(io.BytesIO(out), "x.xlsx")]
    cells = dict(zip(lines[1], lines[2], strict=False))
    assert (cells["金额（元）"], cells["金额大写"]) == ("1,234.56", "壹仟贰佰叁拾肆元伍角陆分")
    assert (cells["交款人"], cells["申请编号"]) == ("李秀英", str(row.id))
    headings = ["申请编号", "票据代码", "票据号码", "校验码", "开票日期"]
    on = clock.today()
    answers = [str(row.id), "64060126", "0000012345", "a1b2c3", f"{on.year}年{on.month}月{on.day}日"]
    other = [str(gift.id), *answers[1:]]
    back = given.xlsx(
        headings, [answers, other, [str(row.id), "", "", "", ""], [*answers[:2], "?", "", "2026"]]
    )
    ready, known, no, none = LineVerdict.READY, LineVerdict.KNOWN, LineVerdict.REFUSED, LineVerdict.SKIPPED
    for commit, first in ((False, ready), (True, ready), (True, known)):
        _, judged = await receipt_files.take(session, actor, data=back, commit=commit)
        assert [one.verdict for one in judged] == [first, no, none, no]
    await session.refresh(row)
    assert (row.status, row.receipt_number) == (ReceiptStatus.ISSUED, "0000012345")


def embedded(pdf: bytes):
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found = json.loads(zlib.decompress(stream))
        except (ValueError, zlib.error):
            continue
        return found
    raise AssertionError("no file inside")


async def test_a_certificate_proves_the_gift_offline_and_still_when_the_donor_is_forgotten(
    session, donor, gift
):
    with pytest.raises(certificates.CertificateNotSealed) as soon:
        await certificates.sheet(donor, id=gift.id)
    assert soon.value.status == 409
    assert soon.value.headers["Retry-After"]
    await sealing.seal(session)
    await session.commit()
    pdf = await certificates.sheet(donor, id=gift.id)
    assert pdf.startswith(b"%PDF")
    assert len(pdf) < 150_000
    proof = embedded(pdf)
    assert proof == json.loads(certificate_page.written(await certificates.proof(session, donor, id=gift.id)))
    assert [holds for *_, holds in checks(proof)] == [True] * 4 + [None]
    for name, value in (("name", "李秀"), ("number", "x"), ("amount_fen", 1_234_57), ("salt", "00" * 32)):
        assert False in [holds for *_, holds in checks(proof | {name: value})]
    await erasure.forget_donor(session, donor.id)
    id = gift.id
    session.expire_all()
    after = await certificates.proof(session, donor, id=id)
    assert after["salt"] is None
    assert "李" not in str(after)
    assert [holds for *_, holds in checks(after)] == [True, None, True, True, None]
    assert [holds for *_, holds in checks(proof)] == [True] * 4 + [None]


async def test_the_public_check_says_what_was_given_and_never_a_name(session, donor, gift):
    said = await certificates.check(session, number=gift.number.lower())
    assert said.pop("given_on") == clock.today()
    names = {"fund_zh": "生育关怀基金", "fund_en": "Care fund"}
    assert said.pop("proof") == f"/public/v1/proofs/gifts/{gift.number}"
    assert said == {"valid": True, **names, "amount_fen": 1_234_56, "refunded_fen": 0}
    gift.status = DonationStatus.REVERSED
    await session.flush()
    for number in (gift.number, "20260101-0000000000", "'--", "张三"):
        assert await certificates.check(session, number=number) == {"valid": False}
    with pytest.raises(certificates.NoCertificate):
        await certificates.proof(session, donor, id=gift.id)


def test_the_longest_names_stay_on_the_page():
    page = certificate_page.Page(
        name="䶮" * 100, number="20261122-7K3M9QX2TB", fund="基" * 100, fund_en="F" * 100, amount_fen=99_999_999_99,
        back_fen=1, goods="物" * 100 + " 9 箱", given_on=clock.today(), issuer="会" * 80,
        check="https://x.cn/" + "a" * 80, proof={},
    )  # fmt: skip
    assert certificate_page.draw(page).startswith(b"%PDF")
