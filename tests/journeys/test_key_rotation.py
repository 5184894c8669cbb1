"""A hospital changes its signing key while its systems go on posting: not one request fails."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.callers import Hospital, Refused
from app.db import new_id
from app.journey import Story
from app.models.appointments import Slot

A_FEW = 5


class Machine:
    """One of the hospital's systems, publishing slots in a steady trickle."""

    minutes = itertools.count(60)

    def __init__(self, hospital: Hospital, clinic_id: str) -> None:
        self.hospital, self.clinic_id = hospital, clinic_id
        self.accepted, self.stopping = 0, False
        self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        while not self.stopping:
            starts = clock.now() + timedelta(minutes=next(self.minutes))
            slot = {
                "clinic_id": self.clinic_id,
                "service_code": "pre_pregnancy_check",
                "capacity": 1,
                "starts_at": starts.isoformat(),
                "ends_at": (starts + timedelta(minutes=1)).isoformat(),
                "opens_at": clock.now().isoformat(),
            }
            await self.hospital.create("/slots", slot)  # a refusal ends the task, and the test
            self.accepted += 1
            await asyncio.sleep(0.01)

    async def goes_on(self) -> None:
        """A few more are accepted."""
        enough = self.accepted + A_FEW
        while self.accepted < enough:
            if self.task.done():
                await self.task
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.stopping = True
        await self.task


async def refused(call: Any) -> str:
    with pytest.raises(Refused) as refusal:
        await call
    return str(refusal.value.problem["type"]).rpartition(":")[2]


async def test_a_key_is_changed_without_a_failed_request(
    story: Story, http: httpx.AsyncClient, records: AsyncSession
) -> None:
    # Given a hospital that posts all the time, signing with its first key,
    officer = await story.worker("county_administrator")
    made = await officer.create("/organizations", {"name": f"妇幼 {new_id()}", "region_code": demo.COUNTY})
    organization, first = made["organization"]["id"], made["key"]
    place = {
        "organization_id": organization,
        "region_code": demo.COUNTY,
        "name": "优生门诊",
        "address": "解放东街 1 号",
        "phone": "0951-1234567",
    }
    clinic = await officer.create("/clinics", place)
    keys = f"/organizations/{organization}/keys"
    old = Machine(Hospital(http, "/partner/v1", key_id=first["id"], secret=first["secret"]), clinic["id"])
    await old.goes_on()

    # when a second key is added over the staff door,
    second = await officer.create(keys, None)
    new = Machine(Hospital(http, "/partner/v1", key_id=second["id"], secret=second["secret"]), clinic["id"])

    # then both work side by side, and a third is one too many;
    await asyncio.gather(old.goes_on(), new.goes_on())
    assert await refused(officer.create(keys, None)) == "two-keys-live"

    # when every system has changed over and the first key is revoked,
    await old.stop()
    revoked = await officer.call("POST", f"{keys}/{first['id']}/revoke")
    assert revoked["revoked_at"] is not None

    # then the old key is refused at once and the posts go on,
    assert await refused(old.hospital.call("GET", "/ping")) == "signature-refused"
    await new.goes_on()
    await new.stop()
    # and every one of them is in the database: none failed, none was lost.
    published = select(func.count()).select_from(Slot).where(Slot.clinic_id == clinic["id"])
    assert await records.scalar(published) == old.accepted + new.accepted
