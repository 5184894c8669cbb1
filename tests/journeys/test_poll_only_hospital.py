"""A hospital whose system can only send: it publishes in bulk, polls for bookings, and uploads its Excel sheets."""

import asyncio
import io
import uuid
from datetime import timedelta
from typing import Any

import httpx
import xlsxwriter

from app import clock, demo
from app.journey import Story

ATTENDANCE = ("预约编号", "签到码", "到检情况")
RESULTS = ("报告编号", "预约编号", "签发时间", "受检者", "项目", "结果值", "单位")


def book(headings: tuple[str, ...], *lines: tuple[str, ...]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        page = made.add_worksheet()
        for number, line in enumerate((headings, *lines)):
            for place, cell in enumerate(line):
                page.write_string(number, place, cell)
    return out.getvalue()


async def upload(story: Story, path: str, data: bytes) -> httpx.Response:
    url = f"{story.hospital.door}{path}"
    headers = story.hospital.sign("POST", url, data)
    return await story.http.post(url, content=data, headers=headers)


async def everything_new(story: Story, cursor: str | None) -> tuple[list[dict[str, Any]], str]:
    """All pages there are now."""
    items: list[dict[str, Any]] = []
    while True:
        query = f"&cursor={cursor}" if cursor else ""
        page = await story.hospital.call("GET", f"/appointments/changes?limit=100{query}")
        items, cursor = items + page["items"], page["next"]
        if not page["more"]:
            return items, cursor


async def the_change(story: Story, cursor: str, appointment: str) -> tuple[dict[str, Any], str]:
    """Of this appointment. It may come a moment later: an open transaction anywhere holds the list back."""
    until = clock.now() + timedelta(seconds=60)
    while clock.now() < until:
        items, cursor = await everything_new(story, cursor)
        for item in items:
            if item["id"] == appointment:
                return item, cursor
        await asyncio.sleep(0.5)
    raise AssertionError("no change of it within a minute")


async def test_a_hospital_that_can_only_poll_serves_a_couple_from_slot_to_report(story: Story) -> None:
    # Given a verified couple that qualifies, and a hospital that has read all there was,
    await story.sign_in_and_register()
    await story.verify("worker_tian")
    await story.consent_and_qualify()
    _, cursor = await everything_new(story, None)

    # when the hospital publishes the times of a room in one request, one of them twice,
    starts = clock.now() + timedelta(seconds=25)
    slot = {
        "clinic_id": str(demo.CLINIC), "service_code": "pre_pregnancy_check", "capacity": 1,
        "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(seconds=30)).isoformat(),
        "opens_at": clock.now().isoformat(),
    }  # fmt: skip
    answers = await story.hospital.create("/slot-batches", {"slots": [slot, slot]})
    # then one is published and the other is said to exist;
    assert [answer["verdict"] for answer in answers] == ["published", "exists"]

    # when the wife books, the next poll brings just that, with masked names and without the code;
    booked = await story.wife_caller.create("/appointments", {"slot_id": answers[0]["id"]})
    mine, cursor = await the_change(story, cursor, booked["id"])
    assert mine["appointment"]["status"] == "booked"
    assert all("*" in name for name in mine["appointment"]["people"])
    assert booked["code"] not in str(mine)

    # when they come and the hospital uploads its list, first to try and then for good,
    attendance = book(ATTENDANCE, (booked["id"], booked["code"], "完成"))
    tried = (await upload(story, "/attendance-files", attendance)).json()
    assert tried["counts"] == {"ready": 1}
    untouched, cursor = await everything_new(story, cursor)
    assert booked["id"] not in {one["id"] for one in untouched}
    taken = (await upload(story, "/attendance-files?commit=true", attendance)).json()
    # then they were examined, and the poll says so too;
    assert (taken["counts"], taken["committed"]) == ({"ready": 1}, True)
    done, _ = await the_change(story, cursor, booked["id"])
    assert done["appointment"]["status"] == "fulfilled"

    # when the results follow on a sheet, one of them in a wrong unit,
    number, today = f"XLS-{uuid.uuid4().hex[:8]}", str(clock.today())
    lines = [
        (number, booked["id"], today, "妻子", "haemoglobin", "98", "mg/L"),
        (number, booked["id"], today, "丈夫", "hbsag", "阴性", ""),
    ]
    refused = (await upload(story, "/result-files?commit=true", book(RESULTS, *lines))).json()
    # then nothing of the report is taken and the line is named;
    assert refused["counts"] == {"refused": 2}
    assert refused["lines"][0]["zh"] == ["单位应为 g/L"]

    # when it is corrected, the couple reads the report.
    lines[0] = (*lines[0][:-1], "g/L")
    taken = (await upload(story, "/result-files?commit=true", book(RESULTS, *lines))).json()
    assert taken["counts"] == {"ready": 2}
    receipt = await story.hospital.call("GET", f"/reports/{number}")
    assert receipt["status"] == "final"
    reports = (await story.husband_caller.call("GET", "/reports"))["items"]
    assert [report["appointment_id"] for report in reports] == [booked["id"]]
