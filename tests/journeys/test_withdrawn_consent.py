"""Consent can be withdrawn at any time, and is asked again wherever it is needed (PIPL arts. 15, 23, 29)."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.callers import Caller, Refused
from app.journey import Story
from app.models.appointments import Appointment, AppointmentStatus, Slot


async def withdraw(caller: Caller, purpose: str) -> dict[str, Any]:
    """The notice whose consent ended."""
    notice: dict[str, Any] = next(
        notice for notice in await caller.call("GET", "/notices") if notice["purpose"] == purpose
    )
    live = [
        given["id"]
        for given in await caller.call("GET", "/consents")
        if given["notice_id"] == notice["id"] and given["withdrawn_at"] is None
    ]
    assert len(live) == 1
    await caller.call("POST", f"/consents/{live[0]}/withdraw")
    return notice


async def consent_asked(call: Any) -> list[dict[str, Any]]:
    with pytest.raises(Refused) as refusal:
        await call
    problem = refusal.value.problem
    assert (problem["status"], problem["type"].rpartition(":")[2]) == (409, "consent-required")
    notices: list[dict[str, Any]] = problem["notices"]
    return notices


async def test_without_the_husbands_consent_nobody_books_and_nobody_is_checked_in(
    story: Story, records: AsyncSession
) -> None:
    # Given a verified couple that qualifies and agreed to everything,
    await story.sign_in_and_register()
    await story.verify("worker_li")
    await story.consent_and_qualify()
    slot = await story.publish()

    # when the husband withdraws his consent to the use of his health data,
    notice = await withdraw(story.husband_caller, "health_data")

    # then the wife cannot book, and is told which notice to show to whom;
    booking = {"slot_id": slot["id"]}
    [asked] = await consent_asked(story.wife_caller.create("/appointments", booking))
    assert (asked["notice_id"], asked["whose"]) == (notice["id"], "spouse")
    [asked] = await consent_asked(story.husband_caller.create("/appointments", booking))
    assert (asked["notice_id"], asked["whose"]) == (notice["id"], "own")
    assert (await records.get_one(Slot, slot["id"])).booked == 0

    # when he agrees again, she books;
    await story.husband_caller.create("/consents", {"notice_id": notice["id"]})
    appointment = await story.wife_caller.create("/appointments", booking)
    assert appointment["status"] == "booked"

    # when he then no longer wants the hospital to have his data, it does not learn who they are:
    notice = await withdraw(story.husband_caller, "share_with_hospital")
    [asked] = await consent_asked(story.hospital.call("POST", "/check-ins", {"code": appointment["code"]}))
    assert asked["notice_id"] == notice["id"]
    row = await records.get_one(Appointment, appointment["id"])
    assert row.status is AppointmentStatus.BOOKED
