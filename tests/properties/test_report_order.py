"""R1: whatever the order of arrival, and however often each version arrives, a report ends the same."""

import asyncio
import contextlib
import itertools
import random
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db
from app.models.follow_ups import FollowUp, FollowUpStatus
from app.models.results import DiagnosticReport, PartnerMessage, ReportStatus, ReportVersion, RiskAssessment
from app.services.results import receipts
from app.services.results.reports import IllegalReportStatus
from app.services.results.versions import legal_history
from tests.factories import appointments
from tests.factories.appointments import Attended
from tests.factories.report_model import STATUSES, Content, ModelReport
from tests.factories.results import NORMAL_WIFE, body, number, post, with_value


@given(st.dictionaries(st.integers(1, 9), st.sampled_from(STATUSES), min_size=1), st.randoms())
@settings(max_examples=300, deadline=None)
def test_the_versions_that_count_are_those_of_the_model(
    statuses: dict[int, str], order: random.Random
) -> None:
    """R1, R3 without a database, so that many more sets are tried than the machine could send."""
    model = ModelReport({version: Content(status, None) for version, status in statuses.items()})
    rows = [
        ReportVersion(version=version, status=ReportStatus(status)) for version, status in statuses.items()
    ]
    order.shuffle(rows)
    assert [row.version for row in legal_history(rows)] == model.counted()


FINDINGS = ["smoking", "hbsag", "genetic_disease_history", None]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[int]]:
    """Versions with any statuses and gaps between their numbers; an order in which each arrives at least once."""
    size = draw(st.integers(2, 4))
    numbers = sorted(draw(st.sets(st.integers(1, 9), min_size=size, max_size=size)))
    statuses = draw(st.lists(st.sampled_from(ReportStatus), min_size=size, max_size=size))
    if draw(st.integers(0, 3)):  # mostly steps that may follow one another
        statuses.sort(key=list(ReportStatus).index)
    versions = []
    for version, status in zip(numbers, statuses, strict=True):
        finding = draw(st.sampled_from(FINDINGS))
        value = "positive" if finding == "hbsag" else "yes"
        versions.append(
            {
                "version": version,
                "status": status.value,
                "issued_at": (clock.now() - timedelta(days=30 - version)).isoformat(),
                "wife": with_value(NORMAL_WIFE, finding, value) if finding else NORMAL_WIFE,
            }
        )
    again = draw(st.lists(st.integers(0, size - 1), max_size=2))
    return versions, draw(st.permutations([*range(size), *again]))


async def outcome(
    session: AsyncSession, attended: Attended, deliveries: list[dict[str, Any]]
) -> tuple[object, ...]:
    """What a report ends as: version, status, class, what is assessed, what is called for."""
    posted = body(attended, external_id=number())
    for delivery in deliveries:
        try:
            await post(session, attended, posted | delivery)
        except IllegalReportStatus:
            continue
    report = (
        await session.scalars(
            select(DiagnosticReport)
            .filter_by(external_id=posted["external_id"])
            .execution_options(populate_existing=True)
        )
    ).one()
    follow_ups = await session.execute(
        select(FollowUp.person_id, FollowUp.kind, FollowUp.status, FollowUp.due_on).where(
            FollowUp.report_id == report.id, FollowUp.status != FollowUpStatus.OBSOLETE
        )
    )
    assessed = await session.scalars(
        select(RiskAssessment.risk_class).filter_by(report_id=report.id, version=report.current_version)
    )
    return (
        report.current_version,
        report.status,
        report.risk_class,
        report.issued_at,
        assessed.all(),
        sorted(map(tuple, follow_ups)),
    )


@given(histories())
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_order_with_repeats_ends_the_same(
    session: AsyncSession, history: tuple[list[dict[str, Any]], list[int]]
) -> None:
    versions, order = history
    attended = await appointments.attended(session)
    in_order = await outcome(session, attended, versions)
    shuffled = await outcome(session, attended, [versions[index] for index in order])
    assert shuffled == in_order


LEGAL = ["preliminary", "final", "amended"]


async def test_every_permutation_of_a_legal_history_ends_with_its_last_version(session: AsyncSession) -> None:
    attended = await appointments.attended(session)
    for order in itertools.permutations(range(len(LEGAL))):
        deliveries = [{"version": index + 1, "status": LEGAL[index]} for index in order]
        ended = await outcome(session, attended, deliveries)
        assert ended[:2] == (3, "amended")


async def test_versions_that_arrive_all_at_once_end_as_if_in_order(committed: str) -> None:
    """Real commits, an illegal step among them."""
    async with db.begin() as session:
        attended = await appointments.attended(session)
    statuses = [*LEGAL, "preliminary", "corrected"]
    posted = body(attended, external_id=number())

    async def deliver(index: int) -> None:
        async with db.begin() as session:
            with contextlib.suppress(IllegalReportStatus):
                await post(session, attended, posted | {"version": index + 1, "status": statuses[index]})

    await asyncio.gather(*(deliver(index) for index in [4, 3, 2, 1, 0, 2, 4]))

    async with db.begin() as session:
        report = (await session.scalars(select(DiagnosticReport))).one()
        assert (report.current_version, report.status) == (5, "corrected")
        assert len((await session.scalars(select(PartnerMessage.id))).all()) == 5
        receipt = await receipts.receipt(session, attended.partner, external_id=posted["external_id"])
        reasons = [message.reason for message in receipt.messages]
        assert sorted(filter(None, reasons)) == ["illegal_status"]
