"""A list looked at and taken in, taken back; another given up."""

import uuid
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import demo
from app.callers import Caller
from app.services import imports
from tests.factories import imports as lists
from tests.guards.playing import Played


async def the_imports(story: Played, session: AsyncSession) -> None:
    officer = await story.worker("township_officer")
    batch = await upload(story, officer, "9001")
    for verb in ("commit", "undo"):
        path = f"/imports/{batch['id']}"
        await officer.call("POST", f"{path}/{verb}", {"version": batch["version"]})
        await imports.work(uuid.UUID(batch["id"]))
        batch = await officer.call("GET", path)
    assert batch["status"] == "undone"
    batch = await upload(story, officer, "9002")
    await officer.call("POST", f"/imports/{batch['id']}/discard", {"version": batch["version"]})


async def upload(story: Played, officer: Caller, household: str) -> dict[str, Any]:
    content = lists.csv(lists.family(household, **{"村（社区）": demo.TOWN}))
    answer = await story.http.post(
        "/staff/v1/imports", content=content, headers={**officer.headers, "File-Name": "list.csv"}
    )
    assert answer.status_code == 202, answer.text
    await imports.work(uuid.UUID(answer.json()["id"]))
    return await officer.call("GET", f"/imports/{answer.json()['id']}")  # type: ignore[no-any-return]
