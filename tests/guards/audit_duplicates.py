"""Duplicates, played: every change leaves its trace."""

from sqlalchemy.ext.asyncio import AsyncSession

from app import demo
from app.models.identity import Role
from app.services.duplicates import finding
from tests.factories.twins import somebody
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played


async def the_duplicates(story: Played, session: AsyncSession) -> None:
    """Three of one name: one pair is two people, another one person for a while, a third for good."""
    officer = await colleague(story, session, Role.TOWNSHIP_OFFICER)
    people = [await somebody(session, "钱多多") for _ in range(3)]
    await finding.compare(session, [one.id for one in people])
    await session.commit()
    await officer.call("POST", "/duplicates/search", {"region_code": demo.TOWN})
    found = (await officer.call("GET", "/duplicates?limit=100"))["items"]
    ours = {str(one.id) for one in people}
    pairs = [row for row in found if {one["id"] for one in row["people"]} <= ours]
    await officer.call("POST", f"/duplicates/{pairs[0]['id']}/dismiss", {"reason": "两个人"})
    keep, lost = (one["id"] for one in pairs[1]["people"])
    path = f"/duplicates/{pairs[1]['id']}/confirm"
    merge = await officer.create(path, {"keep": keep, "reason": "同一人"})
    await officer.call("POST", f"/merges/{merge['id']}/undo", {"reason": "弄错了"})
    again = {"kind": "person", "kept_id": keep, "lost_id": lost, "reason": "同一人"}
    made = await officer.create("/merges", again)
    listed = (await officer.call("GET", "/merges"))["items"]
    assert [row["id"] for row in listed[:2]] == [made["id"], merge["id"]]
