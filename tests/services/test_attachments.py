import io
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import BodyTooLarge, NotFound
from app.models.audit import AuditEvent
from app.models.files import StoredFile, StoredFileChunk
from app.models.results import DiagnosticReport, ReportAttachment
from app.services import files
from app.services.files import FileGone
from app.services.results import attachments, erasure, reading, receipts
from app.services.results.attachments import Attached, ExaminedErased, NoAttachmentStated, OtherAttachment
from app.services.results.pdf import ActivePdf
from app.settings import Settings
from tests.factories import appointments as given
from tests.factories import pdfs
from tests.factories.appointments import Attended
from tests.factories.results import body, post

DATA = pdfs.pdf(page=b"BT (a result) Tj ET")


async def send(
    session: AsyncSession, attended: Attended, external_id: str, data: bytes = DATA, version: int = 1
) -> Attached:
    return await attachments.accept(
        session, attended.partner, external_id=external_id, version=version, data=data, signature="v1,c2ln"
    )


async def announced(session: AsyncSession, data: bytes = DATA) -> tuple[Attended, dict[str, object]]:
    attended = await given.attended(session)
    posted = body(attended, attachment_sha256=pdfs.sha256(data))
    await post(session, attended, posted)
    return attended, posted


async def rows(session: AsyncSession) -> tuple[int, int]:
    counts = [select(func.count()).select_from(model) for model in (ReportAttachment, StoredFileChunk)]
    return (await session.scalar(counts[0]) or 0, await session.scalar(counts[1]) or 0)


async def test_the_announced_document_is_kept_sealed_and_read_by_couple_and_worker(
    session: AsyncSession,
) -> None:
    attended, posted = await announced(session)
    sent = await send(session, attended, str(posted["external_id"]))
    assert (sent.state, sent.size) == ("accepted", len(DATA))

    worker = await given.worker(session)
    for actor in (attended.wife, attended.husband):
        assert await attachments.download(session, actor, report_id=sent.report_id) == DATA
    seen = await attachments.download(session, worker, report_id=sent.report_id, purpose="follow_up")
    assert seen == DATA
    assert (await reading.sheet(session, attended.wife, report_id=sent.report_id)).attachment

    kept = (await session.scalars(select(StoredFileChunk.data_sealed))).all()
    assert kept
    assert not any(b"PDF" in piece or b"a result" in piece for piece in kept)
    trail = (
        await session.execute(
            select(AuditEvent.person_id, AuditEvent.purpose).where(
                AuditEvent.action == "download", AuditEvent.actor_id == worker.id
            )
        )
    ).all()
    assert {tuple(one) for one in trail} == {
        (attended.spouses.wife.id, "follow_up"),
        (attended.spouses.husband.id, "follow_up"),
    }


async def test_the_same_again_changes_nothing_and_another_is_refused(session: AsyncSession) -> None:
    attended, posted = await announced(session)
    number = str(posted["external_id"])
    before = await rows(session)
    with pytest.raises(OtherAttachment):
        await send(session, attended, number, DATA + b"\n")
    with pytest.raises(OtherAttachment):  # half of it
        await send(session, attended, number, DATA[: len(DATA) // 2])
    assert await rows(session) == before

    await send(session, attended, number)
    kept = await rows(session)
    assert kept == (before[0] + 1, before[1] + 1)
    assert (await send(session, attended, number)).state == "replayed"
    assert await rows(session) == kept


async def test_nothing_is_kept_of_what_was_not_announced_or_acts(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted)
    before = await rows(session)
    with pytest.raises(NoAttachmentStated):
        await send(session, attended, posted["external_id"])
    for number, version in (("never-posted", 1), (posted["external_id"], 2)):
        with pytest.raises(NotFound):
            await send(session, attended, number, version=version)

    active = pdfs.pdf(b"<< /S /JavaScript >>")
    second = posted | {"version": 2, "status": "amended", "attachment_sha256": pdfs.sha256(active)}
    await post(session, attended, second)
    with pytest.raises(ActivePdf):
        await send(session, attended, posted["external_id"], active, version=2)
    assert await rows(session) == before


async def test_another_hospital_a_stranger_and_another_region_find_nothing(session: AsyncSession) -> None:
    attended, posted = await announced(session)
    other = await given.attended(session)
    with pytest.raises(NotFound):
        await send(session, other, str(posted["external_id"]))
    sent = await send(session, attended, str(posted["external_id"]))
    for actor in (other.wife, await given.worker(session, "640200000000"), other.partner):
        with pytest.raises(NotFound):
            await attachments.download(session, actor, report_id=sent.report_id)


async def test_a_document_is_shown_only_with_the_version_that_it_belongs_to(session: AsyncSession) -> None:
    attended, posted = await announced(session)
    number = str(posted["external_id"])
    sent = await send(session, attended, number)
    states = [
        one.attachment
        for one in (await receipts.receipt(session, attended.partner, external_id=number)).messages
    ]
    assert states == ["received"]

    newer = pdfs.pdf(page=b"amended")
    amended = posted | {"version": 2, "status": "amended", "attachment_sha256": pdfs.sha256(newer)}
    await post(session, attended, amended)
    with pytest.raises(NotFound):
        await attachments.download(session, attended.wife, report_id=sent.report_id)
    receipt = await receipts.receipt(session, attended.partner, external_id=number)
    assert [one.attachment for one in receipt.messages] == ["awaited", "received"]

    await send(session, attended, number, newer, version=2)
    assert await attachments.download(session, attended.wife, report_id=sent.report_id) == newer
    await post(
        session, attended, posted | {"version": 3, "status": "entered_in_error", "wife": [], "husband": []}
    )
    with pytest.raises(NotFound):
        await attachments.download(session, attended.wife, report_id=sent.report_id)


async def test_too_large_is_refused_before_anything_is_looked_at(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended = await given.attended(session)
    monkeypatch.setattr(attachments, "settings", lambda: Settings(attachment_limit=1000))
    with pytest.raises(BodyTooLarge):
        await send(session, attended, "any", b"x" * 1001)


async def test_it_is_kept_as_long_as_reports_must_be_and_goes_with_an_erasure(session: AsyncSession) -> None:
    attended, posted = await announced(session)
    sent = await send(session, attended, str(posted["external_id"]))
    other, more = await announced(session)
    others = await send(session, other, str(more["external_id"]))
    file = (await session.scalars(select(StoredFile).order_by(StoredFile.created_at.desc()).limit(1))).one()
    assert file.expires_at - clock.now() > timedelta(days=15 * 365)

    await erasure.erase_attachments(session, attended.spouses.husband.id)

    with pytest.raises(FileGone):
        await attachments.download(session, attended.wife, report_id=sent.report_id)
    assert await attachments.download(session, other.wife, report_id=others.report_id) == DATA
    values = await reading.sheet(session, attended.wife, report_id=sent.report_id)
    assert values.observations


async def test_no_document_comes_after_an_erasure(session: AsyncSession) -> None:
    """It would name whom nothing names any more."""
    attended, posted = await announced(session)
    before = await rows(session)
    attended.spouses.husband.erased_at = clock.now()
    await session.flush()
    with pytest.raises(ExaminedErased):
        await send(session, attended, str(posted["external_id"]))
    assert await rows(session) == before


async def test_a_file_that_was_swapped_does_not_open(session: AsyncSession) -> None:
    """The pieces of another document are sealed for that one."""
    attended, posted = await announced(session)
    sent = await send(session, attended, str(posted["external_id"]))
    row = (
        await session.scalars(select(ReportAttachment).where(ReportAttachment.report_id == sent.report_id))
    ).one()
    other = await files.store(
        session, attended.partner, io.BytesIO(pdfs.pdf(page=b"other")), id=attended.appointment.id, name="x"
    )
    await session.flush()
    foreign = await session.scalar(
        select(StoredFileChunk.data_sealed).where(StoredFileChunk.file_id == other.id)
    )
    await session.execute(
        update(StoredFileChunk).where(StoredFileChunk.file_id == row.file_id).values(data_sealed=foreign)
    )
    with pytest.raises(Exception, match="stored_file_chunk"):
        await attachments.download(session, attended.wife, report_id=sent.report_id)
    assert await session.get(DiagnosticReport, sent.report_id)
