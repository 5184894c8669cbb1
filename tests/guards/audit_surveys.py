"""Surveys, family types and shown documents, played: every change leaves its trace."""

from copy import copy

from sqlalchemy.ext.asyncio import AsyncSession

from app.journey import couple
from app.models.identity import Role
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played

TITLE = {"zh": "需要就业帮助吗？", "en": "Help to find work?"}
JOBS = {
    "code": "job_needs", "title_zh": "就业需求", "title_en": "Work",
    "questions": [{"id": "people", "type": "number", **TITLE}],
}  # fmt: skip
NEEDS = [{"question": "works", "choices": ["none"]}, {"question": "contact", "choices": ["phone"]}]


async def the_surveys(story: Played, session: AsyncSession) -> None:
    """A family that answers, its worker at the door, and a type that the worker knows better."""
    story = copy(story)  # what follows is about others
    story.wife, story.husband = couple()
    await story.sign_in_and_register()
    path, family, village = f"/households/{story.household['id']}", story.wife_caller, story.village_worker
    seen = await village.call("GET", path, headers={"Purpose": "verification"})
    await village.call("POST", f"{path}/verify", {"version": seen["version"]})

    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    jobs = await county.create("/survey-templates", JOBS)
    asked = {one["template"]["code"]: one["template"]["id"] for one in await family.call("GET", "/surveys")}
    assert asked["job_needs"] == jobs["id"]
    body = {"template_id": asked["family_needs"], "answers": NEEDS}
    made = await family.create("/survey-responses", body)
    for who in (family, village):
        body = {**body, "version": made["version"]}
        made = await who.call("PUT", f"/survey-responses/{made['id']}", body)
    answers = [{"question": "people", "number": 1}]
    await village.create(f"{path}/survey-responses", {"template_id": asked["job_needs"], "answers": answers})

    seen = await village.call("GET", path, headers={"Purpose": "registry_upkeep"})
    body = {"version": seen["version"], "family_type": "stable", "reason": "长期在外"}
    decided = await village.call("POST", f"{path}/family-type", body)
    await village.call("DELETE", f"{path}/family-type?version={decided['version']}")
    await the_shown_document(story)


async def the_shown_document(story: Played) -> None:
    stranger, _ = couple()
    await story.resident(stranger)
    shown, purpose = {"document_number": stranger.number}, {"Purpose": "complaint"}
    await story.village_worker.call("POST", "/persons/find", shown, headers=purpose)
    body = {**shown, "name": stranger.name, "phone": "13700000002"}
    await story.village_worker.call("POST", "/persons/release-binding", body, headers=purpose)
