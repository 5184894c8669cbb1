"""R1–R6: whatever hospitals send, in whatever order and however often, each report ends as its versions say.

The model predicts the answer to every delivery and the state after it; the database is asked after each.
"""

import asyncio
import json
import uuid
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import clock, db, errors
from app.crypto import digest
from app.models.follow_ups import FollowUp, FollowUpStatus
from app.models.messages import InboxMessage
from app.models.results import DiagnosticReport, PartnerMessage, ReportVersion, RiskAssessment
from app.services import partners
from app.services.partners import SignedRequest
from app.services.results import reports
from app.services.results.posted import PostedReport
from tests.factories import appointments
from tests.factories.appointments import Attended
from tests.factories.report_model import FINDINGS, RELEASED, STATUSES, Content, ModelReport
from tests.factories.results import NORMAL_HUSBAND, NORMAL_WIFE, with_value

NOON = datetime(2026, 6, 1, 12, tzinfo=clock.SHANGHAI)
PATH = "/partner/v1/reports"
Result = TypeVar("Result")

NUMBERS = ("LIS-1", "LIS-2")
HIGHEST = 5


class ReportMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = {number: ModelReport() for number in NUMBERS}
        self.been_current: dict[str, list[int]] = {number: [] for number in NUMBERS}
        self.verified: set[uuid.UUID] = set()
        self.sent = 0
        self.last: SignedRequest | None = None
        self.clock = time_machine.travel(NOON, tick=False)
        self.clock.start()
        self.runner = asyncio.Runner()
        self.do(self.open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    async def open(self) -> None:
        """One connection whose outer transaction is rolled back; in it a couple that was examined."""
        self.engine = create_async_engine(self.url, poolclass=NullPool)
        self.connection = await self.engine.connect()
        await self.connection.begin()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=self.connection, join_transaction_mode="create_savepoint")
        async with db.begin() as session:
            self.attended: Attended = await appointments.attended(session)

    def teardown(self) -> None:
        self.do(self.close())
        self.runner.close()
        self.clock.stop()

    async def close(self) -> None:
        await self.connection.close()
        await self.engine.dispose()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None, join_transaction_mode="conditional_savepoint")

    def raw(self, number: str, version: int, content: Content) -> bytes:
        value, _ = FINDINGS[content.finding]
        wife = with_value(NORMAL_WIFE, content.finding, value) if content.finding else NORMAL_WIFE
        body = {
            "external_id": number, "version": version, "appointment_id": str(self.attended.appointment.id),
            "status": content.status, "issued_at": (NOON - timedelta(days=30 - version)).isoformat(),
            "wife": wife, "husband": NORMAL_HUSBAND,
        }  # fmt: skip
        return json.dumps(body).encode()

    def signed(self, raw: bytes, *, late: bool = False) -> SignedRequest:
        key, organization = self.attended.hospital.key, self.attended.hospital.organization
        self.sent += 1
        message, sent = f"msg_{self.sent}", int((NOON - timedelta(minutes=9 if late else 0)).timestamp())
        signature = partners.signature(organization.algorithm, key.secret, message, sent, "POST", PATH, raw)
        return SignedRequest(str(key.id), message, str(sent), signature, "POST", PATH, raw)

    async def send(self, request: SignedRequest) -> str:
        """As the door does it: a refusal that keeps something is an answer, any other error undoes everything."""
        try:
            async with db.begin() as session:
                actor = await partners.authenticate(session, request)
                signature = f"{request.message_id}.{request.timestamp} {request.signature}"
                report = PostedReport.model_validate_json(request.body)
                answer = await reports.accept(
                    session, actor, report=report, raw=request.body, signature=signature
                )
        except errors.Problem as problem:
            return problem.slug()
        return answer.slug() if isinstance(answer, errors.Problem) else answer.state

    contents = st.builds(Content, st.sampled_from(STATUSES), st.sampled_from(list(FINDINGS)))
    # Mostly one report, so that its versions meet; the other shows that they are kept apart.
    numbers = st.sampled_from(["LIS-1", "LIS-1", "LIS-1", "LIS-2"])
    any_version = st.integers(1, HIGHEST)

    @rule(number=numbers, index=st.integers(0, HIGHEST - 1), content=contents)
    def deliver(self, number: str, index: int, content: Content) -> None:
        """A version that has not come yet, in any order."""
        missing = [one for one in range(1, HIGHEST + 1) if one not in self.model[number].versions]
        if missing:
            self.exchange(number, missing[index % len(missing)], content)

    @rule(number=numbers, version=any_version, content=contents)
    def contradict(self, number: str, version: int, content: Content) -> None:
        """Often other content under a version that has come."""
        self.exchange(number, version, content)

    def exchange(self, number: str, version: int, content: Content) -> None:
        expected = self.model[number].deliver(version, content)
        request = self.signed(self.raw(number, version, content))
        assert self.do(self.send(request)) == expected
        self.last = request

    @precondition(lambda self: self.last is not None)
    @rule()
    def replay(self) -> None:
        """R6: the very same request again."""
        before = self.do(self.rows())
        assert self.last is not None
        assert self.do(self.send(self.last)) == "replayed-request"
        assert self.do(self.rows()) == before

    @rule(number=numbers)
    def repeat_all(self, number: str) -> None:
        """R2: everything once more, signed anew, changes nothing."""
        before = self.do(self.rows())
        for version, content in self.model[number].versions.items():
            expected = self.model[number].deliver(version, content)
            assert self.do(self.send(self.signed(self.raw(number, version, content)))) == expected
            assert expected in ("replayed", "illegal-report-status")
        assert self.do(self.rows()) == before

    @rule(number=numbers, version=any_version, content=contents, how=st.sampled_from(["body", "late", "key"]))
    def forge(self, number: str, version: int, content: Content, how: str) -> None:
        """R6: what somebody changed on the way, or kept back, or signed with no key of ours."""
        before = self.do(self.rows())
        raw = self.raw(number, version, content)
        request = self.signed(raw, late=how == "late")
        if how == "body":
            request = SignedRequest(**{**fields(request), "body": raw.replace(b"128", b"127")})
        elif how == "key":
            request = SignedRequest(**{**fields(request), "key_id": str(uuid.uuid4())})
        assert self.do(self.send(request)) == "signature-refused"
        assert self.do(self.rows()) == before

    async def rows(self) -> list[int]:
        models = (PartnerMessage, ReportVersion, RiskAssessment, FollowUp, InboxMessage)
        counts = [select(func.count()).select_from(model).scalar_subquery() for model in models]
        async with self.session() as session:
            return list((await session.execute(select(*counts))).one())

    def session(self) -> AsyncSession:
        return AsyncSession(self.connection, join_transaction_mode="create_savepoint")

    @invariant()
    def everything_is_as_the_versions_say(self) -> None:
        """R1, R3: a function of the set of versions. R4: with evidence. R5: each assessed once."""
        self.do(self.compare())

    async def compare(self) -> None:
        async with self.session() as session:
            rows = await session.scalars(
                select(DiagnosticReport).filter_by(appointment_id=self.attended.appointment.id)
            )
            found = {row.external_id: row for row in rows}
            for number, model in self.model.items():
                row = found.get(number)
                assert (row and (row.current_version, row.status, row.risk_class)) == model.state()
                if row is not None:
                    self.went_on(row)
            if found:
                await self.evidence(session)
                await self.assessed(session, found)

    def went_on(self, row: DiagnosticReport) -> None:
        """R3: the current version steps back only from what could not be issued."""
        been = self.been_current[row.external_id]
        if been and row.current_version < been[-1]:
            assert been[-1] not in self.model[row.external_id].counted()
        if been[-1:] != [row.current_version]:
            been.append(row.current_version)

    async def evidence(self, session: AsyncSession) -> None:
        """R4: every version traces to a message that still verifies: the bytes, their hash, the signature over them.
        Both are append-only, so that each is looked at once."""
        key, algorithm = self.attended.hospital.key, self.attended.hospital.organization.algorithm
        pairs = select(ReportVersion, PartnerMessage).join(
            PartnerMessage, PartnerMessage.id == ReportVersion.message_id
        )
        mine = pairs.where(PartnerMessage.key_id == key.id, ReportVersion.id.not_in(self.verified))
        for version, message in await session.execute(mine):
            raw = message.body.encode()
            assert digest(raw) == message.body_hash == version.content_hash
            sent, signature = message.signature.split(" ")
            id, timestamp = sent.split(".")
            assert signature == partners.signature(
                algorithm, key.secret, id, int(timestamp), "POST", PATH, raw
            )
            assert json.loads(raw)["version"] == version.version
            self.verified.add(version.id)
        assert len(self.verified) == sum(len(model.versions) for model in self.model.values())

    async def assessed(self, session: AsyncSession, found: dict[str, DiagnosticReport]) -> None:
        """R5: the same content under the same rule has the same class; follow-ups are those of the current one."""
        numbers = {row.id: number for number, row in found.items()}
        rows = await session.scalars(select(RiskAssessment).where(RiskAssessment.report_id.in_(numbers)))
        kept = sorted((numbers[row.report_id], row.version, row.risk_class.value) for row in rows)
        assert kept == sorted(
            (number, version, FINDINGS[content.finding][1])
            for number in found
            for version in set(self.been_current[number])
            if (content := self.model[number].versions[version]).status in RELEASED
        )
        live = select(FollowUp.report_id).where(
            FollowUp.report_id.in_(numbers), FollowUp.status != FollowUpStatus.OBSOLETE
        )
        called_for = {row.id for row in found.values() if row.status in RELEASED}
        assert set(await session.scalars(live)) == called_for


def fields(request: SignedRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in SignedRequest.__slots__}


def test_reports_as_the_model_says(database: str) -> None:
    ReportMachine.url = db.driver(database)
    run_state_machine_as_test(
        ReportMachine,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
