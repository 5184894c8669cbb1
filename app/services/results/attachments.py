"""The PDF of a report: sent after the report that states its hash, kept sealed, given to the couple and, for a
purpose, to a worker. No name of a file is taken or shown: it may say anything."""

import asyncio
import io
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible
from app.crypto import digest, same
from app.db import new_id
from app.errors import BodyTooLarge, Conflict, Forbidden, NotFound, WrongState
from app.models.households import Person
from app.models.results import DiagnosticReport, ReportAttachment, ReportVersion
from app.services import audit, files
from app.services.results import pdf
from app.services.results.versions import RELEASED
from app.services.rights.policy import retention
from app.settings import settings

MEDIA_TYPE = "application/pdf"
NAME = "检查报告.pdf"


class NoAttachmentStated(WrongState):
    zh, en = "该报告版本没有声明附件", "This version of the report states no attachment"
    do_zh = "请以新的版本提交报告，并在 attachment_sha256 中填写 PDF 的 SHA-256"
    do_en = "Post a new version of the report that states the SHA-256 of the PDF as attachment_sha256"


class OtherAttachment(Conflict):
    zh, en = "文件与报告中声明的 SHA-256 不一致", "The file is not the one whose SHA-256 the report states"
    do_zh, do_en = "请检查文件是否完整、版本号是否正确", "Check that the file is whole and the version right"


class ExaminedErased(WrongState):
    zh, en = "受检者的个人信息已删除", "The personal data of somebody examined was erased"
    do_zh, do_en = "无需再上传文件", "Send no document about them any more"


@dataclass(frozen=True, slots=True)
class Attached:
    report_id: uuid.UUID
    version: int
    size: int
    state: Literal["accepted", "replayed"]


async def accept(
    db: AsyncSession, actor: Actor, *, external_id: str, version: int, data: bytes, signature: str
) -> Attached:
    """The PDF that a version of a report has announced by its hash, whole or not at all. The same again changes
    nothing, and another one is not the announced one."""
    if len(data) > settings().attachment_limit:
        raise BodyTooLarge
    row, announced = await _announced(db, actor, external_id, version)
    if announced.attachment_hash is None:
        raise NoAttachmentStated
    if not same(announced.attachment_hash, digest(data)):
        raise OtherAttachment
    if await _of_version(db, row.id, version) is not None:
        return Attached(row.id, version, len(data), "replayed")
    erased = select(Person.id).where(
        Person.id.in_([row.person_id, row.spouse_id]), Person.erased_at.is_not(None)
    )
    if await db.scalar(erased.limit(1)):
        raise ExaminedErased
    await asyncio.to_thread(pdf.check, data)
    await _keep(db, actor, announced, data, signature)
    await audit.record(
        db, actor, "attach", "diagnostic_report", row.id, people=[row.person_id, row.spouse_id]
    )
    return Attached(row.id, version, len(data), "accepted")


async def _announced(
    db: AsyncSession, actor: Actor, external_id: str, version: int
) -> tuple[DiagnosticReport, ReportVersion]:
    """Locked: two that send the same at once come one after the other."""
    query = (
        select(DiagnosticReport, ReportVersion)
        .join(ReportVersion, ReportVersion.report_id == DiagnosticReport.id)
        .where(
            visible(actor, DiagnosticReport),
            DiagnosticReport.organization_id == actor.account_id,
            DiagnosticReport.external_id == external_id,
            ReportVersion.version == version,
        )
    )
    found = (await db.execute(query.with_for_update(of=DiagnosticReport))).first()
    if found is None:
        raise NotFound
    return found[0], found[1]


async def _keep(db: AsyncSession, actor: Actor, version: ReportVersion, data: bytes, signature: str) -> None:
    """As long as a report must be kept."""
    if actor.key_id is None:
        raise Forbidden
    kept = timedelta(days=366 * retention().holds.report_retention.years)
    file = await files.store(db, actor, io.BytesIO(data), id=new_id(), name=NAME, kept=kept)
    await db.flush()  # the attachment refers to it
    db.add(
        ReportAttachment(
            id=new_id(), report_id=version.report_id, version=version.version, file_id=file.id, size=len(data),
            key_id=actor.key_id, signature=signature[:1000], received_at=clock.now(),
        )
    )  # fmt: skip


async def _of_version(db: AsyncSession, report_id: uuid.UUID, version: int) -> ReportAttachment | None:
    return await db.scalar(
        select(ReportAttachment).where(
            ReportAttachment.report_id == report_id, ReportAttachment.version == version
        )
    )


async def of(db: AsyncSession, report: DiagnosticReport) -> ReportAttachment | None:
    """Of the current version while that is released: an amended report is not explained by an older document."""
    if report.status not in RELEASED:
        return None
    return await _of_version(db, report.id, report.current_version)


async def download(
    db: AsyncSession, actor: Actor, *, report_id: uuid.UUID, purpose: str | None = None
) -> bytes:
    """For either spouse, and for a worker with a purpose; recorded in both files. FileGone after its time."""
    row = await fetch(db, actor, DiagnosticReport, report_id)
    attachment = await of(db, row)
    if attachment is None:
        raise NotFound
    people = [row.person_id, row.spouse_id]
    await audit.record(
        db, actor, "download", "report_attachment", attachment.id, people=people, purpose=purpose
    )
    return b"".join([piece async for piece in files.stream(db, attachment.file_id)])
