"""Gifts by every channel: recorded, read, reversed, and taken from files."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from app.access import Actor, Permission
from app.api.deps import (
    Db,
    IdempotencyKey,
    Listing,
    Paging,
    Purpose,
    Versioned,
    View,
    example,
    listing,
    staff_may,
)
from app.api.hospital_files import Answer, Commit, FileVerdict, told
from app.api.sheets import UPLOAD, XLSX, sheet
from app.api.staff.receipts import ReceiptView
from app.errors import Invalid, NotFound, StaleVersion, Unavailable, WrongState, problems
from app.models.donations import Channel, DonationStatus, ShownAs
from app.models.ledger import ReversalReason, TransferKind
from app.services.donations import arrivals, certificates, correcting, files, reading, recording
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken
from app.services.imports import FileRefused
from app.services.ledger.posting import AlreadyReversed, FundInsufficient, TransferMismatch
from app.services.payments.refunds import RefundUnderWay

router = APIRouter(tags=["捐赠 donations"])
Read = Annotated[Actor, staff_may(Permission.DONATION_READ)]
Record = Annotated[Actor, staff_may(Permission.DONATION_RECORD)]
TWICE = (IdempotencyKeyReused, IdempotencyKeyTaken)
ID, FUND = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11", "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01"
PDF = "application/pdf"


class DonationLine(View):
    """Of a list: the donor's name masked."""

    model_config = example(
        id=ID, number="20261120-7K3M9QX2TB", fund_id=FUND, campaign_id=None, channel="bank", amount_fen=500000,
        refunded_fen=0, status="received", donated_at="2026-11-19T16:00:00Z", donor="王*国",
        organization_donor_id=None, shown_as="initial", source="2026112000012345", version=1,
    )  # fmt: skip

    id: uuid.UUID
    number: str
    fund_id: uuid.UUID
    campaign_id: uuid.UUID | None
    channel: Channel
    amount_fen: int
    refunded_fen: int
    status: DonationStatus
    donated_at: datetime
    donor: str | None
    organization_donor_id: uuid.UUID | None
    shown_as: ShownAs
    source: str | None
    version: int


class RecordedView(View):
    """A gift as recorded; `number` is what the donor is told."""

    model_config = example(
        id=ID, number="20261120-7K3M9QX2TB", fund_id=FUND, channel="bank", amount_fen=500000, status="received",
        public_name="王某", version=1,
    )  # fmt: skip

    id: uuid.UUID
    number: str
    fund_id: uuid.UUID
    channel: Channel
    amount_fen: int
    status: DonationStatus
    public_name: str | None
    version: int


class DeliveryView(View):
    id: uuid.UUID
    quantity: int
    amount_fen: int
    purpose: str
    delivered_on: date


class DonationDetail(View):
    """With names in full."""

    donation: RecordedView
    donor_name: str | None
    goods: dict[str, Any] | None
    deliveries: list[DeliveryView]
    receipts: list[ReceiptView]


class ArrivalView(View):
    """One part of an arrival: what came to the bank, or the platform's fee."""

    id: uuid.UUID
    kind: TransferKind
    amount_fen: int
    reference: str
    effective_on: date


class GiftFileVerdict(FileVerdict):
    """`ready_fen`: what the lines come to that are taken, or would be: to be compared with the total of the bank."""

    ready_fen: int


class Reverse(Versioned):
    model_config = example(version=1, reason="wrong_amount")

    reason: ReversalReason


@router.get("/donations", summary="捐赠列表 Gifts", response_model=Listing[DonationLine])
async def donations(
    db: Db,
    actor: Read,
    page: Paging,
    fund_id: uuid.UUID | None = None,
    campaign_id: uuid.UUID | None = None,
    organization_donor_id: uuid.UUID | None = None,
    channel: Channel | None = None,
    status: DonationStatus | None = None,
    source: Annotated[str | None, Query(max_length=64, pattern=r"^[0-9A-Za-z_./-]{1,64}$")] = None,
) -> dict[str, Any]:
    """Newest first, with masked names."""
    wanted = reading.Wanted(fund_id, campaign_id, organization_donor_id, channel, status, source)
    after = page.after_one(uuid.UUID)
    rows = await reading.listed(db, actor, wanted=wanted, after=after, limit=page.limit + 1)
    answer = listing(rows, page, lambda row: (row[0].id,))
    fields = [name for name in DonationLine.model_fields if name != "donor"]
    answer["items"] = [
        {name: getattr(gift, name) for name in fields} | {"donor": donor} for gift, donor in answer["items"]
    ]
    return answer


@router.post(
    "/donations", status_code=201, summary="登记捐赠 Record a gift",
    responses=problems(NotFound, Invalid, recording.AlreadyRecorded, *TWICE),
)  # fmt: skip
async def record_donation(
    db: Db, actor: Record, key: IdempotencyKey, body: recording.NewDonation
) -> RecordedView:
    """By bank transfer, in cash, through a platform, or goods with their valuation. It is in the ledger at once."""
    return RecordedView.model_validate(await recording.record(db, actor, key=key, new=body))


@router.get("/donations/{id}", summary="捐赠详情 A gift", responses=problems(NotFound))
async def donation(db: Db, actor: Read, id: uuid.UUID, purpose: Purpose) -> DonationDetail:
    """With names in full; recorded, with the purpose."""
    return _detail(await reading.read(db, actor, id=id, purpose=purpose))


def _detail(gift: reading.Gift) -> DonationDetail:
    return DonationDetail.model_validate(
        {
            "donation": gift.donation, "donor_name": gift.donor_name, "goods": gift.donation.goods,
            "deliveries": gift.deliveries, "receipts": gift.receipts,
        }
    )  # fmt: skip


@router.post(
    "/donations/{id}/reverse",
    summary="冲销登记有误的捐赠 Reverse what was entered in error",
    responses=problems(
        NotFound, StaleVersion, WrongState, AlreadyReversed, FundInsufficient, correcting.ReceiptFirst,
        correcting.GoodsHandedOut, RefundUnderWay, *TWICE,
    ),
)  # fmt: skip
async def reverse_donation(
    db: Db, actor: Record, id: uuid.UUID, key: IdempotencyKey, body: Reverse
) -> RecordedView:
    """Not those that donors made by WeChat Pay: they are refunded. What was made a gift out of suspense is in suspense
    again. The same number of the bank may be entered anew afterwards."""
    row = await correcting.reverse(db, actor, key=key, id=id, version=body.version, reason=body.reason)
    return RecordedView.model_validate(row)


@router.post(
    "/donations/{id}/deliveries", status_code=201, summary="登记物资发放 Hand out goods",
    responses=problems(
        NotFound, Invalid, WrongState, FundInsufficient, correcting.MoreThanGiven, *TWICE
    ),
)  # fmt: skip
async def hand_out_goods(
    db: Db, actor: Record, id: uuid.UUID, key: IdempotencyKey, body: correcting.NewDelivery
) -> DeliveryView:
    """Of the goods of one gift, no more than are left."""
    return DeliveryView.model_validate(await correcting.hand_out(db, actor, key=key, id=id, new=body))


@router.post(
    "/bank-arrivals", status_code=201, summary="登记现金缴存或平台到账 What reached the bank",
    responses=problems(Invalid, arrivals.AlreadyArrived, arrivals.MoreThanStands, TransferMismatch, *TWICE),
)  # fmt: skip
async def record_arrival(
    db: Db, actor: Record, key: IdempotencyKey, body: arrivals.NewArrival
) -> list[ArrivalView]:
    """Cash that was carried to the bank, or what a platform paid out, less its fee. What was entered in error is
    reversed in the ledger, part by part."""
    rows = await arrivals.record(db, actor, key=key, new=body)
    return [ArrivalView.model_validate(row) for row in rows]


@router.get(
    "/donations/{id}/certificate.pdf", summary="下载捐赠证书 A certificate to print", response_class=Response,
    responses={
        200: {"content": {PDF: {}}},
        **problems(NotFound, certificates.NoCertificate, certificates.CertificateNotSealed, Unavailable),
    },
)  # fmt: skip
async def donation_certificate(actor: Record, id: uuid.UUID, purpose: Purpose) -> Response:
    """For donors who have no account here; recorded, with the purpose."""
    return Response(await certificates.sheet(actor, id=id, purpose=purpose), media_type=PDF)


# Files of banks and platforms, and cash books


@router.get(
    "/donation-files/template", summary="下载捐赠登记表 The sheet for gifts", response_class=Response,
    responses=XLSX,
)  # fmt: skip
async def donation_template(actor: Record) -> Response:
    """Chinese headings and drop-downs; lists of banks with their own headings are read too."""
    return sheet(await files.template(), "捐赠登记表.xlsx")


@router.post(
    "/donation-files", summary="上传银行、平台或现金捐赠明细 Upload gifts",
    responses=problems(NotFound, FileRefused, recording.AlreadyRecorded),
    response_model=GiftFileVerdict, openapi_extra=UPLOAD,
)  # fmt: skip
async def upload_donations(
    db: Db, actor: Record, request: Request, fund_id: uuid.UUID, channel: Literal["bank", "platform", "cash"],
    campaign_id: uuid.UUID | None = None, commit: Commit = False, answer: Answer = "json",
) -> Any:  # fmt: skip
    """The body is the file itself, xlsx or csv, up to 5,000 lines. First without `commit`; then the same file with it.
    Refused lines hinder no others; a line that was taken before, in whatever file, is `known`; one of a bank's whole
    statement by which money went out is `skipped`."""
    into = files.Into(fund_id, Channel(channel), campaign_id)
    taken = await files.take(db, actor, data=await request.body(), into=into, commit=commit)
    said = await told(taken.file, taken.judged, commit=commit, answer=answer)
    return said if answer == "xlsx" else said.model_dump() | {"ready_fen": taken.ready_fen}
