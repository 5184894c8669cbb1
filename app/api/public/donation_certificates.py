"""Whether the certificate of a gift is good."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path

from app.api.deps import Db, View, example
from app.services.donations import certificates

router = APIRouter(tags=["捐赠 donations"])


class GiftVerdict(View):
    """For what a good one was given; nothing but `valid` where it is not. `refunded_fen` went back since. `proof`: that
    it is in the public log."""

    model_config = example(
        valid=True, fund_zh="生育关怀基金", fund_en="Care fund", amount_fen=10000, refunded_fen=0,
        given_on="2026-11-20", proof="/public/v1/proofs/gifts/20261120-7K2M4FP901",
    )  # fmt: skip

    valid: bool
    fund_zh: str | None = None
    fund_en: str | None = None
    amount_fen: int | None = None
    refunded_fen: int | None = None
    given_on: date | None = None
    proof: str | None = None


@router.get("/donation-certificates/{number}", summary="核验捐赠证书 Check a certificate of a gift")
async def check_donation_certificate(
    db: Db, number: Annotated[str, Path(min_length=1, max_length=30)]
) -> GiftVerdict:
    """The address in the code on the page. Says no name."""
    return GiftVerdict.model_validate(await certificates.check(db, number=number))
