import io
from datetime import timedelta
from typing import Any

import httpx
import pytest
import xlsxwriter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus
from app.models.identity import Role
from app.models.results import DiagnosticReport, Observation, PartnerMessage
from app.services.appointments import bookings
from app.services.hospital_files.attendance import COLUMNS as ATTENDANCE
from app.services.hospital_files.judging import Column
from app.services.hospital_files.results import COLUMNS as RESULTS
from app.services.imports.xlsx import read_xlsx
from tests.clients import partner_client, staff_client
from tests.factories import appointments as given
from tests.factories.appointments import Attended, Hospital

S = AppointmentStatus
Lines = list[dict[str, str]]


def book(columns: tuple[Column, ...], lines: Lines) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        page = made.add_worksheet()
        for place, column in enumerate(columns):
            page.write_string(0, place, column.zh)
            for number, line in enumerate(lines, 1):
                page.write_string(number, place, line.get(column.key, ""))
    return out.getvalue()


def cells(data: bytes) -> list[list[str]]:
    return [line.cells for line in read_xlsx(io.BytesIO(data), "a.xlsx")]


async def booked(session: AsyncSession, hospital: Hospital, *, hours: int = -2, **more: Any) -> Attended:
    row = await given.attended(session, hospital=hospital, **({"status": S.BOOKED} | more))
    row.appointment.starts_at = clock.now() + timedelta(hours=hours)
    row.appointment.ends_at = row.appointment.starts_at + timedelta(hours=1)
    await session.flush()
    return row


async def caller(session: AsyncSession, hospital: Hospital) -> httpx.AsyncClient:
    await session.commit()
    return partner_client(hospital.organization, hospital.key)


async def send(http: httpx.AsyncClient, path: str, data: bytes, *, commit: bool) -> dict[str, Any]:
    answer = await http.post(path, content=data, params={"commit": str(commit).lower()})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def verdicts(told: dict[str, Any]) -> list[str]:
    return [line["verdict"] for line in told["lines"]]


async def test_attendance_is_tried_and_then_taken(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    # Days back, so that the hour of the test does not matter.
    came, done, absent, typo = [await booked(session, hospital, hours=-50 - n) for n in range(4)]
    old = await booked(session, hospital, hours=-24 * 9)
    foreign = await booked(session, await given.clinic(session), hours=-50)
    http = await caller(session, hospital)
    data = book(
        ATTENDANCE,
        [
            {"id": str(came.appointment.id), "code": came.appointment.code, "said": "到检"},
            {"code": done.appointment.code.lower(), "said": "完成"},
            {"id": str(absent.appointment.id), "said": "未到"},
            {"id": str(typo.appointment.id), "code": "0000000000", "said": "到检"},
            {"id": str(old.appointment.id), "code": old.appointment.code, "said": "到检"},
            {"id": str(foreign.appointment.id), "code": foreign.appointment.code, "said": "到检"},
            {"id": str(typo.appointment.id), "said": ""},
            {"id": "7", "said": "走了"},
        ],
    )
    path = "/partner/v1/attendance-files"
    expected = ["ready", "ready", "ready", "refused", "refused", "refused", "skipped", "refused"]

    told = await send(http, path, data, commit=False)
    assert verdicts(told) == expected
    assert told["lines"][3]["zh"] == ["签到码与预约不符"]
    before = await states(session, came, done, absent, typo)
    assert before == [S.BOOKED] * 4

    assert verdicts(await send(http, path, data, commit=True)) == expected
    after = await states(session, came, done, absent, typo)
    assert after == [S.ARRIVED, S.FULFILLED, S.NO_SHOW, S.BOOKED]
    again = await send(http, path, data, commit=True)
    assert verdicts(again)[:3] == ["known"] * 3
    annotated = await http.post(path, content=data, params={"answer": "xlsx"})
    marked = cells(annotated.content)
    assert [line[-2:] for line in marked[2:4]] == [
        ["需修改", "签到码与预约不符"],
        ["需修改", "预约日期不在最近七天内"],
    ]


async def test_a_line_that_a_constraint_refuses_hinders_no_other(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    missed, came = [await booked(session, hospital, hours=0) for _ in "12"]
    missed.appointment.status = S.NO_SHOW
    again = await booked(session, hospital, hours=48)  # the same couple has booked the service anew
    again.appointment.subject_id, again.appointment.cycle = (
        missed.appointment.subject_id,
        missed.appointment.cycle,
    )
    http = await caller(session, hospital)
    said = [{"code": row.appointment.code, "said": "到检"} for row in (missed, came)]
    told = await send(http, "/partner/v1/attendance-files", book(ATTENDANCE, said), commit=True)
    assert verdicts(told) == ["refused", "ready"]
    assert told["lines"][0]["en"] == [bookings.AlreadyBooked.en]


async def test_the_copy_with_the_verdicts_is_corrected_and_sent(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    row = await booked(session, hospital, hours=-50)
    http, path = await caller(session, hospital), "/partner/v1/attendance-files"
    data = book(ATTENDANCE, [{"id": str(row.appointment.id), "code": "0000000000", "said": "到检"}])
    copy = cells((await http.post(path, content=data, params={"answer": "xlsx"})).content)
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        page = made.add_worksheet("需修改")
        for number, line in enumerate(copy):
            page.write_row(
                number, 0, [row.appointment.code if cell == "0000000000" else cell for cell in line]
            )
    assert verdicts(await send(http, path, out.getvalue(), commit=True)) == ["ready"]


async def states(session: AsyncSession, *rows: Attended) -> list[S]:
    query = select(Appointment.id, Appointment.status).where(
        Appointment.id.in_([row.appointment.id for row in rows])
    )
    found = {row.id: row.status for row in await session.execute(query)}
    return [found[row.appointment.id] for row in rows]


async def test_the_day_s_list_comes_back_filled_in(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    row = await booked(session, hospital, hours=0)
    on = row.appointment.starts_at.astimezone(clock.SHANGHAI).date()
    http = await caller(session, hospital)
    answer = await http.get("/partner/v1/appointments/workbook", params={"on": str(on)})
    lines = cells(answer.content)
    place = lines[1].index("姓名")
    assert row.appointment.code not in str(lines)
    assert {"李*英", "王*军"} == set(lines[2][place].split("、"))
    filled = [dict(zip([one.key for one in ATTENDANCE], line, strict=False)) for line in lines[2:]]
    filled[0] |= {"code": row.appointment.code, "said": "到检"}
    told = await send(http, "/partner/v1/attendance-files", book(ATTENDANCE, filled), commit=True)
    assert verdicts(told) == ["ready"]


def result(row: Attended, who: str, item: str, value: str, **more: str) -> dict[str, str]:
    return {
        "number": f"X-{row.appointment.code}", "id": str(row.appointment.id), "issued": f"{clock.today()}", "who": who,
        "item": item, "value": value,
    } | more  # fmt: skip


async def test_results_become_reports(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    row = await given.attended(session, hospital=hospital)
    wrong = await given.attended(session, hospital=hospital)
    early = await given.attended(session, hospital=hospital, status=S.BOOKED)
    http = await caller(session, hospital)
    data = book(
        RESULTS,
        [
            result(row, "妻子", "haemoglobin", "98", low="115", high="150", means="偏低", risk="B"),
            result(wrong, "妻子", "haemoglobin", "98", unit="mg/L"),
            result(row, "丈夫", "hbsag", "阴性"),
            result(wrong, "丈夫", "hbsag", "阴性"),
            result(early, "妻子", "hbsag", "阴性"),
            result(wrong, "妻子", "hbsag", "阴性", number="X", version="0"),
        ],
    )
    path = "/partner/v1/result-files"
    told = await send(http, path, data, commit=False)
    assert verdicts(told) == ["ready", "refused", "ready", "refused", "refused", "refused"]
    assert told["lines"][1]["zh"] == ["单位应为 g/L"]
    assert told["lines"][3]["zh"] == ["同一报告的其他行有误"]
    assert told["lines"][5]["zh"] == ["版本格式不正确"]
    assert await session.scalar(select(func.count()).select_from(DiagnosticReport)) == 0

    await send(http, path, data, commit=True)
    report = (await session.scalars(select(DiagnosticReport))).one()
    assert (report.appointment_id, report.risk_class) == (row.appointment.id, "B")
    values = await session.scalars(select(Observation.code).order_by(Observation.code))
    assert list(values) == ["haemoglobin", "hbsag"]
    assert verdicts(await send(http, path, data, commit=True))[0] == "known"
    template = await http.get(
        "/partner/v1/result-files/template",
        params={"service_id": str(row.service.id), "clinic_id": str(hospital.clinic.id)},
    )
    assert cells(template.content)[1] == [column.zh for column in RESULTS]


async def test_a_worker_uploads_for_a_hospital_and_is_recorded_as_the_source(session: AsyncSession) -> None:
    hospital = await given.clinic(session)
    row = await given.attended(session, hospital=hospital)
    late = await booked(session, hospital, hours=-50)
    worker = await staff_client(session, Role.COUNTY_ADMINISTRATOR, given.COUNTY)
    whose = {"organization_id": str(hospital.organization.id), "commit": "true"}
    results = book(RESULTS, [result(row, "妻子", "hbsag", "阴性")])
    answer = await worker.post("/staff/v1/result-files", content=results, params=whose)
    assert answer.json()["counts"] == {"ready": 1}
    message = (await session.scalars(select(PartnerMessage))).one()
    assert (message.key_id, message.organization_id) == (None, hospital.organization.id)
    assert message.uploaded_by is not None
    attendance = book(ATTENDANCE, [{"code": late.appointment.code, "said": "完成"}])
    answer = await worker.post("/staff/v1/attendance-files", content=attendance, params=whose)
    assert answer.json()["counts"] == {"ready": 1}
    last = select(AppointmentEvent).where(AppointmentEvent.appointment_id == late.appointment.id)
    event = (await session.scalars(last.order_by(AppointmentEvent.id.desc()))).first()
    assert event is not None
    assert (event.actor_role, event.actor_id) == (Role.COUNTY_ADMINISTRATOR, message.uploaded_by)
    elsewhere = await staff_client(session, Role.COUNTY_ADMINISTRATOR, "640500000000")
    assert (await elsewhere.post("/staff/v1/result-files", content=results, params=whose)).status_code == 404


def unfolding() -> bytes:
    """A hundred long cells in each line, all of them one shared string."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as made:
        page = made.add_worksheet()
        page.write_row(0, 0, ["到检情况"])
        for number in range(1, 100):
            page.write_row(number, 0, ["长" * 2_000] * 100)
    assert len(out.getvalue()) < 256 * 1024
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00" * 50, b"a,b\n1,2\n", b"PK\x03\x04nonsense", "到检情况,到检情况\n到检,未到\n".encode(),
        "到检情况\n".encode() + b"x\n" * 5_020, unfolding(),
    ],
    ids=range(7),
)  # fmt: skip
async def test_what_is_no_such_list_is_refused(session: AsyncSession, data: bytes) -> None:
    http = await caller(session, await given.clinic(session))
    for path in ("attendance-files", "result-files"):
        answer = await http.post(f"/partner/v1/{path}", content=data)
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:nuanxin:problem:file-refused"
