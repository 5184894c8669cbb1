"""The doors to gifts: who may, what is masked, a file from dry run to commit, and a donor's own view."""

from sqlalchemy import select

from app import clock
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.services.donations import reading
from app.services.identity import DOOR
from app.services.proofs import sealing
from tests.clients import REGION, client, staff_client
from tests.factories import appointments as made
from tests.factories import gifts as given
from tests.factories import ledger
from tests.guards.cast import bearer

TODAY = clock.today().isoformat()


async def test_an_accountant_takes_a_file_and_others_may_not(session):
    fund = await ledger.fund(session, "GIFT")
    await session.commit()
    accountant = await staff_client(session, Role.ACCOUNTANT, REGION)
    data = given.csv(
        ("B0001", TODAY, "1.10", "王建国", "", "姓名"), ("B0002", TODAY, "1.005", "", "", "")
    ).encode()
    where = f"/staff/v1/donation-files?fund_id={fund.id}&channel=bank"
    for commit, verdict in (("false", "ready"), ("true", "ready"), ("true", "known")):
        answer = await accountant.post(f"{where}&commit={commit}", content=data)
        assert answer.status_code == 200
        assert answer.json()["counts"] == {verdict: 1, "refused": 1}
        assert answer.json()["ready_fen"] == (110 if verdict == "ready" else 0)
    copy = await accountant.post(f"{where}&answer=xlsx", content=data)
    assert copy.content.startswith(b"PK")
    assert (await accountant.get("/staff/v1/donation-files/template")).content.startswith(b"PK")
    for wrong in (
        "fund_id=x&channel=bank",
        f"fund_id={fund.id}&channel=in_kind",
        f"fund_id={fund.id}&channel=wechat",
    ):
        assert (await accountant.post(f"/staff/v1/donation-files?{wrong}", content=data)).status_code == 422
    [line] = (await accountant.get(f"/staff/v1/donations?fund_id={fund.id}")).json()["items"]
    assert line["donor"] == "王*国"
    assert line["amount_fen"] == 110
    assert (await accountant.get(f"/staff/v1/donations/{line['id']}")).status_code == 422
    detail = await accountant.get(f"/staff/v1/donations/{line['id']}", headers={"Purpose": "payment"})
    assert detail.json()["donor_name"] == "王建国"
    read = select(AuditEvent.purpose).where(AuditEvent.action == "read", AuditEvent.entity == "donation")
    assert list(await session.scalars(read)) == ["payment"]
    village = await staff_client(session, Role.VILLAGE_WORKER, REGION)
    for path in ("/donations", "/pledges/due", "/receipt-requests", "/organization-donors"):
        assert (await village.get(f"/staff/v1{path}")).status_code == 403
    assert (await village.post(where, content=data)).status_code == 403


async def test_a_donor_sees_the_own_gifts_their_papers_and_where_the_money_went(session):
    fund = await ledger.fund(session, "GIFT")
    worker = await made.worker(session, REGION, Role.ACCOUNTANT)
    donor = (await made.couple(session)).wife_actor
    gift = await given.recorded(session, worker, fund, donor_name="李秀英")
    await reading.claim(session, donor, number=gift.number)
    phone = client(headers=await bearer(session, DOOR, donor))
    at = f"/citizen/v1/gifts/{gift.id}"
    soon = await phone.get(f"{at}/certificate.pdf")
    assert soon.status_code == 409
    assert soon.headers["Retry-After"]
    assert "稍后" in soon.json()["detail"]
    await sealing.seal(session)
    await session.commit()
    assert (await phone.get(f"{at}/certificate.pdf")).content.startswith(b"%PDF")
    assert (await phone.get(f"{at}/proof.json")).json()["number"] == gift.number
    [seen] = (await phone.get("/citizen/v1/gifts")).json()["items"]
    assert seen["used_at"] == f"/public/v1/funds/{fund.id}/spending"
    assert seen["public_name"] is None
    wrong = {"version": 1, "shown_as": "name"}
    assert (await phone.post(f"{at}/shown-as", json=wrong)).status_code == 409
    named = await phone.post(f"{at}/shown-as", json=wrong | {"version": seen["version"]})
    assert named.json()["gift"]["public_name"] == "李秀英"
    checked = await client().get(f"/public/v1/donation-certificates/{gift.number}")
    assert checked.json()["valid"]
    assert (await client().get(checked.json()["proof"])).json()["head"]["size"] >= 1
    assert "李" not in checked.text
    stranger = client(headers=await bearer(session, DOOR, (await made.couple(session)).husband_actor))
    for path in ("", "/certificate.pdf", "/proof.json"):
        assert (await stranger.get(f"{at}{path}")).status_code == 404
