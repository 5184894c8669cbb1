"""The certificate of a gift: a page to keep, the proof that the gift is in the public log, and a check for whoever
holds the page in hand."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch
from app.db import begin
from app.errors import Conflict, WrongState
from app.models.donations import Donation, DonationStatus
from app.models.funds import Fund
from app.services import audit, papers
from app.services.donations import certificate_page, donors
from app.services.proofs import reading
from app.settings import settings

#: With a certificate.
GIVEN = (DonationStatus.RECEIVED, DonationStatus.PART_REFUNDED)


class NoCertificate(WrongState):
    zh, en = "该笔捐赠未到账或已全额退款、冲销", "This gift has not come, or has gone back"


class CertificateNotSealed(Conflict):
    zh, en = "该笔捐赠正在写入公开账本", "This gift is being sealed into the public log"
    do_zh, do_en = "通常在数秒内完成，请稍后再下载", "It usually takes a few seconds: download it then"
    headers = {"Retry-After": "10"}


async def sheet(actor: Actor, *, id: uuid.UUID, purpose: str | None = None) -> bytes:
    """As a PDF, with its proof attached. CertificateNotSealed for some seconds after the gift."""
    with papers.turn():
        async with begin() as db:
            page = await _page(db, actor, id, purpose)
        return await papers.drawn(certificate_page.draw, page)


async def _page(db: AsyncSession, actor: Actor, id: uuid.UUID, purpose: str | None) -> certificate_page.Page:
    shown = await proof(db, actor, id=id, purpose=purpose)
    gift = await fetch(db, actor, Donation, id)
    fund = await db.get_one(Fund, gift.fund_id)
    goods = gift.goods
    return certificate_page.Page(
        name=gift.donor_name, number=gift.number, fund=fund.zh, fund_en=fund.en, amount_fen=gift.amount_fen,
        back_fen=gift.refunded_fen, goods=f"{goods['what']} {goods['quantity']} {goods['unit']}" if goods else "",
        given_on=donors.day_of(gift), issuer=settings().association_name, check=check_url(gift.number), proof=shown,
    )  # fmt: skip


async def proof(
    db: AsyncSession, actor: Actor, *, id: uuid.UUID, purpose: str | None = None
) -> dict[str, Any]:
    """What docs/verify.py takes: `salt` and `name` open the commitment of the leaf, the path leads from the leaf to the
    signed head. Whoever has this file can show who gave: it is the donor's own."""
    gift = await fetch(db, actor, Donation, id)
    if gift.status not in GIVEN or gift.transfer_id is None:
        raise NoCertificate
    try:
        inclusion = await reading.inclusion(db, gift.transfer_id)
    except reading.NotSealedYet as error:
        raise CertificateNotSealed from error
    person = await donors.person_of(db, gift)
    await audit.record(
        db, actor, "download", "donation_certificate", gift.id, people=[person], purpose=purpose
    )
    opened = {"number": gift.number, "name": gift.donor_name, "salt": gift.salt.hex() if gift.salt else None}
    return opened | {"transfer_id": str(gift.transfer_id), "amount_fen": gift.amount_fen, **inclusion}


def check_url(number: str) -> str:
    return f"{settings().public_url}/public/v1/donation-certificates/{number}"


async def check(db: AsyncSession, *, number: str) -> dict[str, Any]:
    """What a certificate of this number was given for; never a name. Anything else is not valid."""
    query = select(Donation, Fund).join(Fund, Fund.id == Donation.fund_id)
    found = (await db.execute(query.where(Donation.number == number.strip().upper()))).one_or_none()
    if found is None or found[0].status not in GIVEN:
        return {"valid": False}
    gift, fund = found
    return {
        "valid": True, "fund_zh": fund.zh, "fund_en": fund.en, "amount_fen": gift.amount_fen,
        "refunded_fen": gift.refunded_fen, "given_on": donors.day_of(gift),
        "proof": f"{reading.AT}/gifts/{gift.number}",
    }  # fmt: skip
