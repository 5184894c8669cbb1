"""Corrections and rights, played: every change leaves its trace."""

from copy import copy

from sqlalchemy.ext.asyncio import AsyncSession

from app import demo
from app.callers import Caller
from app.journey import couple
from app.models.identity import Role
from tests.guards.cast import STAFF, bearer, worker
from tests.guards.playing import Played

RIGHTS = {"Purpose": "rights_request"}


async def colleague(story: Played, session: AsyncSession, role: Role) -> Caller:
    """Signed in without a one-time code: those of the demo's workers are used up."""
    actor = await worker(session, role, demo.COUNTY)
    return Caller(story.http, STAFF, await bearer(session, STAFF, actor))


async def the_corrections(story: Played, session: AsyncSession) -> None:
    """A family that corrects its file, moves the door number, and asks to be erased."""
    story = copy(story)  # what follows is about others
    story.wife, story.husband = couple()
    await story.sign_in_and_register()
    path = f"/households/{story.household['id']}"
    seen = await story.village_worker.call("GET", path, headers={"Purpose": "verification"})
    await story.village_worker.call("POST", f"{path}/verify", {"version": seen["version"]})
    await the_requests(story, await colleague(story, session, Role.TOWNSHIP_OFFICER), path)
    await the_rights(story, await colleague(story, session, Role.COUNTY_ADMINISTRATOR))


async def the_requests(story: Played, officer: Caller, path: str) -> None:
    resident, village = story.wife_caller, story.village_worker
    home = await village.call("GET", path, headers={"Purpose": "verification"})
    edited = {"version": home["version"], "address": "解放西街 9 号 402"}
    await village.call("PATCH", path, edited, headers={"Purpose": "registry_upkeep"})
    [me] = [member["id"] for member in home["members"] if member["relation"] == "spouse"]
    for asker, ending in (
        (resident, "withdraw"),
        (village, "withdraw"),
        (resident, "reject"),
        (village, "approve"),
    ):
        body = {"subject_id": me, "change": {"field": "name", "value": "王晓芳"}, "evidence": "身份证"}
        asked = await asker.create("/corrections", body)
        await officer.call("POST", f"/corrections/{asked['id']}/unmask", headers={"Purpose": "verification"})
        decision = {"version": asked["version"]} | ({"reason": "不清楚"} if ending == "reject" else {})
        who = asker if ending == "withdraw" else officer
        await who.call("POST", f"/corrections/{asked['id']}/{ending}", decision)


async def the_rights(story: Played, county: Caller) -> None:
    resident, village = story.wife_caller, story.village_worker
    me = (await resident.call("GET", "/me"))["id"]
    await resident.call("GET", "/me/file")
    await village.call("POST", f"/persons/{me}/file", headers=RIGHTS)
    asked = await resident.create("/me/erasures", {"why": "不再使用"})
    await resident.call("POST", f"/me/erasures/{asked['id']}/withdraw", {"version": asked["version"]})
    asked = await village.call("POST", f"/persons/{me}/erasure", {"why": "本人到场申请"}, headers=RIGHTS)
    decision = {"version": asked["version"], "grant": True, "reason": "已核实"}
    await county.call("POST", f"/erasures/{asked['id']}/decide", decision)
