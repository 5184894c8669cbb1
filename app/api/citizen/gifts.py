"""One's own gifts by every channel, their papers, and what one has promised to give."""

import uuid
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response

from app.access import Actor, Permission
from app.api.deps import (
    Body,
    Db,
    IdempotencyKey,
    Line,
    Listing,
    Paging,
    Text,
    Versioned,
    View,
    example,
    listing,
    resident_may,
)
from app.errors import Invalid, NotFound, StaleVersion, Unavailable, WrongState, problems
from app.models.donations import Channel, DonationStatus, PledgeStatus, ReceiptStatus, ShownAs
from app.services.donations import certificate_page, certificates, pledges, reading, receipts
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken

router = APIRouter(tags=["捐赠 donations"])
Give = Annotated[Actor, resident_may(Permission.DONATION_GIVE)]
TWICE = (IdempotencyKeyReused, IdempotencyKeyTaken)
ID, FUND = "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e11", "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01"
PRIVATE = {"Cache-Control": "private, no-store"}
PAPER = (NotFound, certificates.NoCertificate, certificates.CertificateNotSealed)


class GiftView(View):
    """`public_name`: as the public list shows the donor; null: 爱心人士. `used_at`: what became of the fund's money."""

    model_config = example(
        id=ID, number="20261120-7K3M9QX2TB", fund_id=FUND, fund_zh="生育关怀基金", fund_en="Care fund",
        campaign_id=None, channel="wechat", amount_fen=10000, refunded_fen=0, status="received",
        donated_at="2026-11-20T02:00:00Z", shown_as="anonymous", public_name=None,
        used_at=f"/public/v1/funds/{FUND}/spending", version=2,
    )  # fmt: skip

    id: uuid.UUID
    number: str
    fund_id: uuid.UUID
    fund_zh: str
    fund_en: str
    campaign_id: uuid.UUID | None
    channel: Channel
    amount_fen: int
    refunded_fen: int
    status: DonationStatus
    donated_at: datetime
    shown_as: ShownAs
    public_name: str | None
    used_at: str
    version: int


class OwnReceiptView(View):
    """`reason`: why it was refused or reversed."""

    model_config = example(
        id=ID, status="issued", payer="王建国", receipt_code="64060126", receipt_number="0000012345",
        check_code="a1b2c3", issued_on="2026-11-21", reason=None, requested_at="2026-11-20T03:00:00Z",
    )  # fmt: skip

    id: uuid.UUID
    status: ReceiptStatus
    payer: str | None
    receipt_code: str | None
    receipt_number: str | None
    check_code: str | None
    issued_on: date | None
    reason: str | None
    requested_at: datetime


class GiftDetail(View):
    gift: GiftView
    receipts: list[OwnReceiptView]


class OwnPledgeView(View):
    model_config = example(
        id=ID,
        fund_id=FUND,
        amount_fen=100000,
        received_fen=20000,
        due_on="2027-03-31",
        status="open",
        version=2,
    )

    id: uuid.UUID
    fund_id: uuid.UUID
    amount_fen: int
    received_fen: int
    due_on: date
    status: PledgeStatus
    version: int


class HowShown(Versioned):
    model_config = example(version=2, shown_as="initial")

    shown_as: ShownAs
    name: Line | None = None


class NumberInHand(Body):
    model_config = example(number="20261120-7K3M9QX2TB")

    number: Annotated[str, Text(30)]


def _view(gift: Any, fund: Any) -> dict[str, Any]:
    made = {
        "fund_zh": fund.zh, "fund_en": fund.en, "used_at": f"/public/v1/funds/{fund.id}/spending",
    }  # fmt: skip
    return made | {name: getattr(gift, name) for name in GiftView.model_fields if name not in made}


def _detail(gift: reading.Gift) -> GiftDetail:
    made = {"gift": _view(gift.donation, gift.fund), "receipts": gift.receipts}
    return GiftDetail.model_validate(made)


@router.get("/gifts", summary="我的捐赠 My gifts", response_model=Listing[GiftView])
async def my_gifts(db: Db, actor: Give, page: Paging) -> dict[str, Any]:
    """By every channel, newest first."""
    after = page.after_one(uuid.UUID)
    rows = await reading.own(db, actor, after=after, limit=page.limit + 1)
    answer = listing(rows, page, lambda row: (row[0].id,))
    answer["items"] = [_view(*row) for row in answer["items"]]
    return answer


@router.post("/gifts/claim", summary="认领捐赠 Claim a gift", responses=problems(NotFound))
async def claim_gift(db: Db, actor: Give, body: NumberInHand) -> GiftDetail:
    """A gift by the bank or in cash, with the number that one was told. The name written down with it must be that of
    the person whom the account is bound to."""
    return _detail(await reading.claim(db, actor, number=body.number))


@router.get("/gifts/{id}", summary="捐赠详情 A gift", responses=problems(NotFound))
async def my_gift(db: Db, actor: Give, id: uuid.UUID) -> GiftDetail:
    """With its receipts."""
    return _detail(await reading.read_own(db, actor, id=id))


@router.post(
    "/gifts/{id}/shown-as", summary="修改公示方式 Change how one is shown",
    responses=problems(Invalid, NotFound, StaleVersion),
)  # fmt: skip
async def show_gift_as(db: Db, actor: Give, id: uuid.UUID, body: HowShown) -> GiftDetail:
    """Anonymous, by initial or by name: the public list follows."""
    return _detail(
        await reading.show_as(
            db, actor, id=id, version=body.version, shown_as=body.shown_as, name=body.name
        )
    )  # fmt: skip


@router.get(
    "/gifts/{id}/certificate.pdf", summary="下载捐赠证书 A certificate", response_class=Response,
    responses={200: {"content": {"application/pdf": {}}}, **problems(*PAPER, Unavailable)},
)  # fmt: skip
async def gift_certificate(actor: Give, id: uuid.UUID) -> Response:
    """With the proof that the gift is in the public log as its attachment. 409 for some seconds after the gift."""
    drawn = await certificates.sheet(actor, id=id)
    return Response(drawn, media_type="application/pdf", headers=PRIVATE)


@router.get(
    "/gifts/{id}/proof.json", summary="下载存在证明 The proof of a gift", response_class=Response,
    responses={200: {"content": {"application/json": {}}}, **problems(*PAPER)},
)  # fmt: skip
async def gift_proof(db: Db, actor: Give, id: uuid.UUID) -> Response:
    """For docs/verify.py, which checks it without us. 409 for some seconds after the gift."""
    proof = await certificates.proof(db, actor, id=id)
    return Response(certificate_page.written(proof), media_type="application/json", headers=PRIVATE)


@router.post(
    "/gifts/{id}/receipt-requests", status_code=201, summary="申请捐赠票据 Ask for a receipt",
    responses=problems(NotFound, receipts.ReceiptAlreadyAsked, receipts.NoReceiptForThis, *TWICE),
)  # fmt: skip
async def ask_receipt(
    db: Db, actor: Give, id: uuid.UUID, key: IdempotencyKey, body: receipts.Payer
) -> OwnReceiptView:
    """公益事业捐赠票据, once for a gift; anew when it was refused or reversed. The inbox tells when it is there."""
    row = await receipts.request(db, actor, key=key, donation_id=id, payer=body)
    return OwnReceiptView.model_validate(row)


@router.get("/pledges", summary="我的认捐 My pledges", response_model=Listing[OwnPledgeView])
async def my_pledges(db: Db, actor: Give, page: Paging) -> dict[str, Any]:
    """Newest first."""
    after = page.after_one(uuid.UUID)
    rows = await pledges.own(db, actor, after=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row.id,))


@router.post(
    "/pledges", status_code=201, summary="认捐 Pledge", responses=problems(Invalid, NotFound, *TWICE)
)
async def pledge(db: Db, actor: Give, key: IdempotencyKey, body: pledges.NewPledge) -> OwnPledgeView:
    """A promise to give by a day. A gift that names it counts towards it."""
    return OwnPledgeView.model_validate(await pledges.promise(db, actor, key=key, new=body))


@router.post(
    "/pledges/{id}/cancel", summary="取消认捐 Cancel a pledge",
    responses=problems(NotFound, StaleVersion, WrongState),
)  # fmt: skip
async def cancel_own_pledge(db: Db, actor: Give, id: uuid.UUID, body: Versioned) -> OwnPledgeView:
    """What came of it stays."""
    return OwnPledgeView.model_validate(await pledges.cancel(db, actor, id=id, version=body.version))
