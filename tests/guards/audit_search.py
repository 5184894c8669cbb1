"""The part of the story that searches, counts, keeps a filter and takes a list away."""

from tests.guards.playing import Played


async def the_search(story: Played) -> None:
    worker = story.village_worker
    for path, body in (
        ("/search/people", {"kind": "people", "name": "w"}),
        ("/search/people/count", {"kind": "people"}),
        ("/search/households", {"kind": "households"}),
        ("/search/households/count", {"kind": "households"}),
    ):
        await worker.call("POST", path, body)
    saved = await worker.create("/saved-filters", {"name": "全部", "criteria": {"kind": "people"}})
    path = f"/saved-filters/{saved['id']}"
    await worker.call("PUT", path, {"version": 1, "name": "家庭", "criteria": {"kind": "households"}})
    await worker.call("DELETE", path)
    await worker.call(
        "POST", "/exports", {"criteria": {"kind": "people"}}, headers={"Purpose": "registry_upkeep"}
    )
