"""Gifts by every other channel, played: recorded, reversed, handed out, promised, shown, and receipts for them."""

import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from tests.factories import gifts as given
from tests.factories import ledger
from tests.guards.cast import STAFF, bearer, worker
from tests.guards.playing import Played

PAYER = {"payer": "宁夏暖阳乳业有限公司", "payer_number": given.CODE}
ISSUED = {"receipt_code": "64060126", "receipt_number": "0000012345", "check_code": "a1b2c3"}


async def the_donations(story: Played, session: AsyncSession) -> None:
    actor = await worker(session, Role.ACCOUNTANT, demo.PREFECTURE)
    accountant = Caller(story.http, STAFF, await bearer(session, STAFF, actor))
    fund = await ledger.fund(session, "GIFTS")
    await session.commit()
    today, donor = clock.today().isoformat(), story.wife_caller
    gift = {"fund_id": str(fund.id), "channel": "cash", "amount_fen": 10_000, "donated_on": today}
    await organizations_and_pledges(accountant, donor, str(fund.id))

    mine = await accountant.create("/donations", gift | {"donor_name": story.wife.name})
    seen = (await donor.call("POST", "/gifts/claim", {"number": mine["number"]}))["gift"]
    at = f"/gifts/{mine['id']}"
    await donor.call("POST", f"{at}/shown-as", {"version": seen["version"], "shown_as": "initial"})
    asked = await donor.create(f"{at}/receipt-requests", {"payer": story.wife.name})
    path = f"/receipt-requests/{asked['id']}"
    issue = {"version": 1, "issued": ISSUED | {"issued_on": today}}
    done = await accountant.call("POST", f"{path}/issue", issue)
    await accountant.call("POST", f"{path}/reverse", {"version": done["version"], "reason": "抬头有误"})
    again = await accountant.create(f"/donations/{mine['id']}/receipt-requests", PAYER)
    await accountant.call(
        "POST", f"/receipt-requests/{again['id']}/refuse", {"version": 1, "reason": "资料不全"}
    )

    wrong = await accountant.create("/donations", gift)
    await accountant.create(f"/donations/{wrong['id']}/reverse", {"version": 1, "reason": "entered_twice"})
    goods = await accountant.create(
        "/donations", gift | {"channel": "in_kind", "goods": given.GOODS.model_dump()}
    )
    arrived = {"channel": "cash", "amount_fen": 5_000, "arrived_on": today, "source": "2026112000012345"}
    await accountant.create("/bank-arrivals", arrived)
    handed = {"quantity": 5, "purpose": "三节慰问", "delivered_on": today}
    await accountant.create(f"/donations/{goods['id']}/deliveries", handed)
    await files(accountant, str(fund.id), today)
    await forgotten(story, session, accountant, gift)


async def forgotten(story: Played, session: AsyncSession, accountant: Caller, gift: dict[str, Any]) -> None:
    """A donor in cash at the office, and an account that is bound to nobody."""
    row = await accountant.create("/donations", gift | {"donor_name": "王建国"})
    actor = await worker(session, Role.COUNTY_ADMINISTRATOR, demo.PREFECTURE)
    administrator = Caller(story.http, STAFF, await bearer(session, STAFF, actor))
    asked = {"Purpose": "rights_request"}
    path = f"/donations/{row['id']}/forget"
    await administrator.call("POST", path, {"version": row["version"]}, headers=asked)
    stranger = story.door("/citizen/v1")
    login = await story.control("/login-code", {"openid": f"o{secrets.token_hex(13)}"})
    pair = await stranger.call("POST", "/sign-in", {"code": login["code"]})
    stranger.headers["Authorization"] = f"Bearer {pair['access_token']}"
    await stranger.call("POST", "/me/account/erase")


async def organizations_and_pledges(accountant: Caller, donor: Caller, fund_id: str) -> None:
    form = {"region_code": demo.PREFECTURE, "name": given.DAIRY, "credit_code": given.CODE}
    body = await accountant.create("/organization-donors", form)
    at = f"/organization-donors/{body['id']}"
    await accountant.call("PUT", at, {"version": 1, "organization": form | {"contact": "马主任"}})
    due = (clock.today() + timedelta(days=30)).isoformat()
    promised = {"fund_id": fund_id, "amount_fen": 50_000, "due_on": due}
    theirs = await accountant.create("/pledges", promised | {"organization_donor_id": body["id"]})
    own = await donor.create("/pledges", promised)
    for who, pledge in ((accountant, theirs), (donor, own)):
        await who.call("POST", f"/pledges/{pledge['id']}/cancel", {"version": 1})


async def files(accountant: Caller, fund_id: str, today: str) -> None:
    """The bodies are files, not JSON."""
    lists = {
        f"/donation-files?fund_id={fund_id}&channel=bank&commit=true": given.csv(("A0001", today, "5", "", "", "")),
        "/receipt-files?commit=true": given.csv(headings="申请编号,票据代码,票据号码,校验码,开票日期"),
    }  # fmt: skip
    for path, data in lists.items():
        answer = await accountant.http.post(STAFF + path, content=data.encode(), headers=accountant.headers)
        assert answer.status_code == 200, answer.text
