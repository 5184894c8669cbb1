"""What the doors say of donors and payees, and to whom: purposes, traces, and no name without either."""

import io
import re
import zipfile

from sqlalchemy import select

from app import clock
from app.models.audit import AuditEvent
from app.models.donations import GoodsDelivery, ReceiptRequest
from app.models.identity import Role
from app.services import disbursements
from app.services.disbursements import NewBankFile
from app.services.donations import reading
from app.services.identity import DOOR
from app.services.proofs import sealing
from tests.clients import REGION, a_worker, client, signed_in, staff_client
from tests.factories import appointments as made
from tests.factories import disbursements as spent
from tests.factories import gifts as given
from tests.factories import ledger
from tests.guards.cast import bearer
from tests.residents import resident

NUMBER = "64010419900101123X"
ASKED = {"Purpose": "rights_request"}


def foot(book: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        found = re.search("<oddFooter>(.*)</oddFooter>", parts.read("xl/worksheets/sheet1.xml").decode())
    assert found
    return found[1]


async def test_steps_of_a_receipt_name_no_payer_and_each_stands_in_the_donors_file(session):
    fund = await ledger.fund(session, "GIFT")
    family, worker = await made.couple(session), await a_worker(session, Role.ACCOUNTANT, REGION)
    gift = await given.recorded(session, worker.actor(), fund, donor_name="李秀英")
    await reading.claim(session, family.wife_actor, number=gift.number)
    await session.commit()
    accountant, path = await signed_in(worker), "/staff/v1/receipt-requests"
    asked = await accountant.post(
        f"/staff/v1/donations/{gift.id}/receipt-requests", json={"payer": "李秀英", "payer_number": NUMBER}
    )
    book = await accountant.get(f"{path}/workbook", headers={"Purpose": "payment"})
    assert f"下载人：李明（{worker.account.username}）" in foot(book.content)
    refused = {"version": 1, "reason": "与李秀英的身份证不一致"}
    done = await accountant.post(f"{path}/{asked.json()['id']}/refuse", json=refused)
    assert (asked.status_code, done.json()["status"], done.json()["reason"]) == (
        201,
        "refused",
        refused["reason"],
    )
    for answer in (asked, done):
        assert not {"payer", "payer_number"} & set(answer.json())
    [row] = await session.scalars(select(ReceiptRequest))
    assert row.reason == refused["reason"]
    assert "李秀英".encode() not in row.reason_sealed
    seen = select(AuditEvent.action).where(AuditEvent.person_id == family.wife.id)
    assert {"claim", "request", "download", "refuse"} <= set(await session.scalars(seen))


async def test_a_certificate_with_a_name_on_it_has_a_purpose(session):
    fund, worker = await ledger.fund(session, "GIFT"), await a_worker(session, Role.ACCOUNTANT, REGION)
    gift = await given.recorded(session, worker.actor(), fund, donor_name="王建国")
    await session.commit()
    await sealing.seal_all()
    accountant, path = await signed_in(worker), f"/staff/v1/donations/{gift.id}/certificate.pdf"
    assert (await accountant.get(path)).status_code == 422
    assert (await accountant.get(path, headers={"Purpose": "payment"})).status_code == 200
    purposes = select(AuditEvent.purpose).where(AuditEvent.entity == "donation_certificate")
    assert list(await session.scalars(purposes)) == ["payment"]


async def test_what_goods_were_handed_out_for_is_sealed(session):
    fund, worker = await ledger.fund(session, "GIFT"), await a_worker(session, Role.ACCOUNTANT, REGION)
    gift = await given.recorded(session, worker.actor(), fund, channel="in_kind", goods=given.GOODS)
    await session.commit()
    accountant, at = await signed_in(worker), f"/staff/v1/donations/{gift.id}"
    new = {"quantity": 1, "purpose": "慰问李秀英", "delivered_on": clock.today().isoformat()}
    assert (await accountant.post(f"{at}/deliveries", json=new)).status_code == 201
    [row] = await session.scalars(select(GoodsDelivery))
    assert "李秀英".encode() not in row.purpose_sealed
    detail = (await accountant.get(at, headers={"Purpose": "payment"})).json()
    assert [one["purpose"] for one in detail["deliveries"]] == ["慰问李秀英"]


async def test_the_file_for_the_bank_says_who_took_it_and_the_payee_reads_so(session):
    house, family = await spent.house(session), await made.couple(session)
    row = await spent.approved(session, house, person_id=family.wife.id)
    new = NewBankFile(fund_id=house.fund.id, disbursement_ids=[row.id])
    file = await disbursements.make_bank_file(session, house.accountant, key=spent.key(), new=new)
    _, book = await disbursements.bank_workbook(session, house.accountant, id=file.id, purpose="payment")
    assert "下载人：" in foot(book)
    assert "下载人：" in foot(
        await disbursements.workbook(session, house.county, status=None, fund_id=None, region_code=None)
    )
    await session.commit()
    wife = client(headers=await bearer(session, DOOR, family.wife_actor))
    log = (await wife.get("/citizen/v1/me/access-log?limit=100")).json()["items"]
    done = [(one["action"], one["purpose"]) for one in log if one["entity"] == "disbursement"]
    assert ("download", "payment") in done
    assert ("approved", None) in done


async def test_a_donor_in_cash_is_forgotten_by_who_decides_about_erasure_and_only_if_asked(session):
    fund, worker = await ledger.fund(session, "GIFT"), await a_worker(session, Role.ACCOUNTANT, REGION)
    gift = await given.recorded(session, worker.actor(), fund, donor_name="王建国", shown_as="name")
    await session.commit()
    at, body = f"/staff/v1/donations/{gift.id}/forget", {"version": gift.version}
    accountant = await signed_in(worker)
    assert (await accountant.post(at, json=body, headers=ASKED)).status_code == 403
    administrator = await staff_client(session, Role.COUNTY_ADMINISTRATOR, REGION)
    for headers in ({}, {"Purpose": "payment"}):
        assert (await administrator.post(at, json=body, headers=headers)).status_code == 422
    assert (await administrator.post(at, json={"version": 9}, headers=ASKED)).status_code == 409
    assert (await administrator.post(at, json=body, headers=ASKED)).status_code == 204
    [shown] = (await client().get(f"/public/v1/funds/{fund.id}/donations")).json()["items"]
    assert (shown["name"], shown["anonymous"]) == ("爱心人士", True)
    receipt = {"payer": "王建国"}
    again = await accountant.post(f"/staff/v1/donations/{gift.id}/receipt-requests", json=receipt)
    assert again.json()["type"] == "urn:nuanxin:problem:no-receipt-for-this"


async def test_whose_account_is_bound_to_nobody_takes_the_copy_and_goes(session, wechat):
    fund, caller = await ledger.fund(session, "GIFT"), await resident()
    copy = (await caller.get("/citizen/v1/me/file")).json()
    assert copy["person_id"] is None
    assert {"resident_account", "sign_in"} <= {one["table"] for one in copy["sections"] if one["rows"]}
    assert (await caller.post("/citizen/v1/me/account/erase")).status_code == 204
    gift = {"fund_id": str(fund.id), "amount_fen": 100, "shown_as": "name", "donor_name": "远方客"}
    late = await caller.post("/citizen/v1/donations", json=gift)
    assert late.status_code == 401, "an access token lives a little longer"
    family = await made.couple(session)
    await session.commit()
    wife = client(headers=await bearer(session, DOOR, family.wife_actor))
    refused = await wife.post("/citizen/v1/me/account/erase")
    assert refused.json()["type"] == "urn:nuanxin:problem:account-is-bound"
