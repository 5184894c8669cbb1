"""A form comes back with its wrong fields marked, is corrected, and is verified."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.callers import Refused
from app.journey import Story
from app.models.handbook import HouseholdEvent
from app.models.households import Couple, Household, Membership

MARK = {"pointer": "/address", "note": "请写明门牌号"}


async def test_a_family_corrects_what_the_worker_marked_and_is_verified(
    story: Story, records: AsyncSession
) -> None:
    # Given a family whose form lies with the village, and two workers who both opened it,
    await story.sign_in_and_register()
    path = f"/households/{story.household['id']}"
    ma, bai = await story.worker("worker_ma"), await story.worker("worker_bai")
    seen = [await worker.call("GET", path, headers={"Purpose": "verification"}) for worker in (ma, bai)]
    version = seen[0]["version"]
    assert seen[1]["version"] == version

    # when one returns it with the address marked,
    returned = await ma.call("POST", f"{path}/return", {"version": version, "marks": [MARK]})
    assert returned["status"] == "returned"

    # then the other, who still looks at the old version, is told so instead of verifying it.
    with pytest.raises(Refused) as stale:
        await bai.call("POST", f"{path}/verify", {"version": version})
    assert stale.value.problem["status"] == 409
    assert stale.value.problem["type"].endswith(":stale-version")

    # The family sees the mark, and cannot send the form again as it is;
    own = await story.wife_caller.call("GET", path)
    assert own["marks"] == [MARK]
    with pytest.raises(Refused, match="wrong-state"):
        await story.wife_caller.call("POST", f"{path}/submit", {"version": own["version"]})

    # it corrects the address and sends it again,
    form = story.form | {"address": "凤凰北街 8 号 2 单元 302"}
    revised = await story.wife_caller.call("PUT", path, {"version": own["version"], "form": form})
    assert revised["marks"] == []
    sent = await story.wife_caller.call("POST", f"{path}/submit", {"version": revised["version"]})

    # and the other worker verifies it: once, however often she taps.
    verified = await bai.call("POST", f"{path}/verify", {"version": sent["version"]})
    assert verified["status"] == "active"
    with pytest.raises(Refused, match="stale-version"):
        await bai.call("POST", f"{path}/verify", {"version": sent["version"]})

    # The form became people and a couple, and the handbook tells how.
    household = await records.get_one(Household, story.household["id"])
    assert (household.form, household.address) == (None, form["address"])
    members = list(await records.scalars(select(Membership.person_id).filter_by(household_id=household.id)))
    assert len(members) == 2
    married = select(func.count()).select_from(Couple).where(Couple.wife_id.in_(members))
    assert await records.scalar(married) == 1
    handbook = select(HouseholdEvent.kind).filter_by(household_id=household.id).order_by(HouseholdEvent.id)
    assert list(await records.scalars(handbook)) == [
        "drafted", "submitted", "returned", "revised", "submitted", "verified",
    ]  # fmt: skip
