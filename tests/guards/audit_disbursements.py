"""Spending, played: every change leaves its trace."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Caller
from app.models.identity import Role
from tests.factories import disbursements as made
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played

REASON = "材料不全"


async def the_disbursements(story: Played, session: AsyncSession) -> None:
    """One paid by hand and signed for, others rejected, voided, and paid or not by the bank."""
    house = await made.house(session, code="AUDIT")
    await session.commit()
    officer = await colleague(story, session, Role.TOWNSHIP_OFFICER)
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    accountant = await colleague(story, session, Role.ACCOUNTANT)
    new = house.new(100).model_dump(mode="json")
    draft = await officer.create("/disbursements", new)
    changed = {"version": draft["version"], "disbursement": new | {"amount_fen": 200}}
    draft = await officer.call("PUT", f"/disbursements/{draft['id']}", changed)
    refused = await step(county, await step(officer, draft, "submit"), "reject", reason=REASON)
    row = await officer.create(f"/disbursements/{refused['id']}/copy", None)
    row = await step(accountant, await approved(officer, county, row), "pay")
    await step(officer, row, "acknowledge", acknowledged_on=str(clock.today()), note="本人签收")
    await step(
        county,
        await approved(officer, county, await officer.create("/disbursements", new)),
        "void",
        reason=REASON,
    )
    rows = [await approved(officer, county, await officer.create("/disbursements", new)) for _ in range(2)]
    await the_bank(story, accountant, house, rows)
    supervisor = await colleague(story, session, Role.SUPERVISOR)
    limit = {"region_code": demo.COUNTY, "role": "township_officer", "limit_fen": 200_000}
    await supervisor.call("PUT", "/approval-limits", limit)


async def the_bank(story: Played, accountant: Caller, house: made.House, rows: list[Any]) -> None:
    new = {"fund_id": str(house.fund.id), "disbursement_ids": [row["id"] for row in rows]}
    file = await accountant.create("/bank-files", new)
    path = f"/staff/v1/bank-files/{file['id']}"
    data = made.answer((rows[0]["number"], "1.00", "成功"))
    sent = await story.http.post(f"{path}/answer?commit=true", content=data, headers=accountant.headers)
    assert sent.json()["waiting"] == 1, sent.text
    [file] = (await accountant.call("GET", "/bank-files?limit=1"))["items"]
    cancel = {"version": file["version"], "reason": "网银退回"}
    await accountant.call("POST", f"/bank-files/{file['id']}/cancel", cancel)


async def step(caller: Caller, row: Any, step: str, **body: Any) -> Any:
    return await caller.call(
        "POST", f"/disbursements/{row['id']}/{step}", {"version": row["version"], **body}
    )


async def approved(officer: Caller, county: Caller, row: Any) -> Any:
    return await step(county, await step(officer, row, "submit"), "approve")
