import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app import db
from app.errors import NotFound
from app.models.appointments import AppointmentStatus
from app.models.audit import AuditEvent
from app.models.results import (
    DiagnosticReport,
    Observation,
    PartnerMessage,
    ReportStatus,
    ReportVersion,
    RiskAssessment,
    RiskClass,
)
from app.services.results import receipts, reports
from app.services.results.receipts import MessageState
from app.services.results.reports import IllegalReportStatus, NotAttended, ReportConflict
from app.services.results.versions import NEXT, RELEASED, legal_history
from tests import clients
from tests.factories import appointments as given
from tests.factories.appointments import Attended
from tests.factories.results import NORMAL_WIFE, body, post, with_value


async def report_of(session: AsyncSession, accepted: reports.Accepted) -> DiagnosticReport:
    query = select(DiagnosticReport).where(DiagnosticReport.id == accepted.report_id)
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


async def states(
    session: AsyncSession, attended: Attended, external_id: str
) -> list[tuple[MessageState, str | None]]:
    """As the hospital is told, oldest first."""
    receipt = await receipts.receipt(session, attended.partner, external_id=external_id)
    return [(message.state, message.reason) for message in reversed(receipt.messages)]


async def count(session: AsyncSession, model: Any, **equals: Any) -> int:
    return (await session.scalars(select(func.count()).select_from(model).filter_by(**equals))).one()


async def test_a_report_becomes_a_version_with_observations_and_the_sealed_body(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    posted = body(attended, conclusion="未见明显异常")

    accepted = await post(session, attended, posted)

    assert (accepted.state, accepted.current_version) == ("accepted", 1)
    report = await report_of(session, accepted)
    assert (report.status, report.risk_class) == ("final", RiskClass.GENERAL)
    version = (await session.scalars(select(ReportVersion).where(ReportVersion.report_id == report.id))).one()
    assert version.conclusion == "未见明显异常"
    assert await count(session, Observation, report_id=report.id, version=1) == 7
    message = await session.get_one(PartnerMessage, version.message_id)
    assert json.loads(message.body) == posted
    assert (message.reason, message.key_id) == (None, attended.partner.key_id)
    assert "未见" not in message.body_sealed.decode("latin-1")


async def test_the_same_bytes_again_change_nothing(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    first = await post(session, attended, posted)

    again = await post(session, attended, posted)

    assert (again.state, again.report_id) == ("replayed", first.report_id)
    assert await count(session, PartnerMessage, external_id=posted["external_id"]) == 1
    assert await count(session, RiskAssessment, report_id=first.report_id) == 1


async def test_other_content_under_a_known_version_is_quarantined(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    accepted = await post(session, attended, posted)

    with pytest.raises(ReportConflict):
        await post(session, attended, posted | {"stated_risk": "X"})

    assert (await report_of(session, accepted)).risk_class is RiskClass.GENERAL
    assert await states(session, attended, posted["external_id"]) == [
        (MessageState.ACCEPTED, None),
        (MessageState.QUARANTINED, "other_content"),
    ]


async def test_a_known_number_for_another_appointment_is_quarantined(session: AsyncSession) -> None:
    attended = await given.attended(session)
    other = await given.attended(session, hospital=attended.hospital)
    posted = body(attended)
    await post(session, attended, posted)

    with pytest.raises(ReportConflict):
        await post(session, other, body(other, external_id=posted["external_id"], version=2))

    assert (await states(session, attended, posted["external_id"]))[-1] == (
        MessageState.QUARANTINED,
        "other_appointment",
    )


async def test_an_older_version_that_arrives_late_is_kept_as_stale(session: AsyncSession) -> None:
    attended = await given.attended(session)
    newer = body(attended, version=2, wife=with_value(NORMAL_WIFE, "hbsag", "positive"))
    accepted = await post(session, attended, newer)

    late = await post(session, attended, newer | {"version": 1, "status": "preliminary", "wife": NORMAL_WIFE})

    assert (late.state, late.current_version) == ("stale", 2)
    assert (await report_of(session, accepted)).risk_class is RiskClass.C
    assert await states(session, attended, newer["external_id"]) == [
        (MessageState.ACCEPTED, None),
        (MessageState.STALE, None),
    ]


async def test_final_then_preliminary_is_quarantined_and_refused_again_when_repeated(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    accepted = await post(session, attended, posted)
    illegal = posted | {"version": 2, "status": "preliminary"}

    for _ in range(2):
        with pytest.raises(IllegalReportStatus):
            await post(session, attended, illegal)

    assert (await report_of(session, accepted)).current_version == 1
    assert (await states(session, attended, posted["external_id"]))[1:] == [
        (MessageState.QUARANTINED, "illegal_status")
    ]


async def test_a_late_final_puts_the_preliminary_after_it_into_quarantine(session: AsyncSession) -> None:
    """The mirror image of the test above ends the same."""
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted | {"version": 2, "status": "preliminary"})

    accepted = await post(session, attended, posted)

    assert (accepted.state, accepted.current_version) == ("accepted", 1)
    assert (await report_of(session, accepted)).risk_class is RiskClass.GENERAL
    assert await states(session, attended, posted["external_id"]) == [
        (MessageState.QUARANTINED, "illegal_status"),
        (MessageState.ACCEPTED, None),
    ]


async def test_a_version_counts_again_once_a_late_one_makes_it_legal(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted | {"version": 2, "status": "cancelled"})
    with pytest.raises(IllegalReportStatus):
        await post(session, attended, posted | {"version": 3, "status": "amended"})

    accepted = await post(session, attended, posted)

    assert accepted.current_version == 3
    assert await states(session, attended, posted["external_id"]) == [
        (MessageState.QUARANTINED, "illegal_status"),
        (MessageState.ACCEPTED, None),
        (MessageState.STALE, None),
    ]


async def test_an_amendment_is_legal_while_the_final_version_is_still_on_its_way(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    posted = body(attended, status="preliminary")
    await post(session, attended, posted)

    amended = await post(session, attended, posted | {"version": 3, "status": "amended"})
    final = await post(session, attended, posted | {"version": 2, "status": "final"})

    assert (amended.state, final.state, final.current_version) == ("accepted", "stale", 3)


@pytest.mark.parametrize("first", ReportStatus)
@pytest.mark.parametrize("second", ReportStatus)
def test_a_status_changes_only_along_the_table(first: ReportStatus, second: ReportStatus) -> None:
    step = [ReportVersion(version=1, status=first), ReportVersion(version=2, status=second)]
    assert (len(legal_history(reversed(step))) == 2) == (second in NEXT[first])
    # Neither withdrawn nor cancelled reports come back, and what was released is never unreleased.
    if first in ("cancelled", "entered_in_error") or (
        first in RELEASED and second not in NEXT[ReportStatus.FINAL]
    ):
        assert len(legal_history([step[0], ReportVersion(version=9, status=second)])) == 1


@pytest.fixture
async def one_connection(committed: str) -> AsyncIterator[None]:
    """Real commits, and a pool of one."""
    engine = create_async_engine(db.driver(committed), pool_size=1, max_overflow=0, pool_timeout=1)
    db.bind(engine)
    yield
    await engine.dispose()


@pytest.mark.usefixtures("one_connection")
async def test_what_is_refused_is_kept_on_the_one_connection_of_its_request() -> None:
    async with db.begin() as session:
        attended = await given.attended(session)
    posted = body(attended)
    refused = (
        (posted | {"version": 2, "status": "registered"}, "illegal-report-status"),
        (posted | {"stated_risk": "D"}, "report-conflict"),
    )
    async with clients.partner_client(attended.hospital.organization, attended.hospital.key) as partner:
        assert (await partner.post("/partner/v1/reports", json=posted)).status_code == 201
        for illegal, problem in refused:
            answer = await partner.post("/partner/v1/reports", json=illegal)
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, problem)

    async with db.begin() as session:
        assert [reason for _, reason in await states(session, attended, posted["external_id"])] == [
            None,
            "illegal_status",
            "other_content",
        ]


@pytest.mark.usefixtures("one_connection")
async def test_a_refused_request_is_not_accepted_a_second_time_and_its_content_is_kept_once() -> None:
    async with db.begin() as session:
        attended = await given.attended(session)
    posted = body(attended)
    other = posted | {"stated_risk": "X"}
    hospital = attended.hospital
    async with clients.partner_client(hospital.organization, hospital.key) as partner:
        await partner.post("/partner/v1/reports", json=posted)
        signed = {"Webhook-Id": "msg_conflict", "Webhook-Timestamp": str(int(time.time()))}
        for expected in ("report-conflict", "replayed-request"):
            answer = await partner.post("/partner/v1/reports", json=other, headers=signed)
            assert answer.json()["type"].rpartition(":")[2] == expected
        again = await partner.post("/partner/v1/reports", json=other)
        assert again.json()["type"].rpartition(":")[2] == "report-conflict"

    async with db.begin() as session:
        assert await count(session, PartnerMessage, external_id=posted["external_id"]) == 2
        assert await count(session, AuditEvent, action="quarantine", actor_id=hospital.organization.id) == 1


async def test_ten_twins_at_once_make_one_version(committed: str) -> None:
    async with db.begin() as session:
        attended = await given.attended(session)
    posted = body(attended)

    async def twin() -> str:
        async with db.begin() as session:
            return (await post(session, attended, posted)).state

    answers = await asyncio.gather(*(twin() for _ in range(10)))

    assert sorted(answers) == ["accepted"] + ["replayed"] * 9


async def test_a_report_can_be_taken_back_when_its_appointment_was_entered_in_error(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    first = await post(session, attended, posted)
    attended.appointment.status = AppointmentStatus.ENTERED_IN_ERROR
    await session.flush()
    with pytest.raises(NotAttended):
        await post(session, attended, posted | {"version": 2, "status": "amended"})
    nothing = {"version": 2, "status": "entered_in_error", "wife": [], "husband": []}
    with pytest.raises(NotAttended):  # a number that nobody knows takes nothing back
        await post(session, attended, body(attended) | nothing)
    await post(session, attended, posted | nothing)
    report = await report_of(session, first)
    assert (report.status, report.risk_class) == ("entered_in_error", None)


async def test_a_hospital_reports_only_on_its_own_attended_appointments(session: AsyncSession) -> None:
    attended = await given.attended(session)
    elsewhere = await given.attended(session)
    booked = await given.attended(session, status=AppointmentStatus.BOOKED, hospital=attended.hospital)

    with pytest.raises(NotFound):
        await post(session, attended, body(elsewhere))
    with pytest.raises(NotAttended):
        await post(session, booked, body(booked))
    by_id = body(attended, appointment_code=None, appointment_id=str(attended.appointment.id))
    assert (await post(session, attended, by_id)).state == "accepted"
