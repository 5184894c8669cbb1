"""Whether a certificate is good."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter

from app.api.deps import Body, Db, Text, View, example
from app.services.appointments import certificates

router = APIRouter(tags=["预约 appointments"])


class CertificateInHand(Body):
    """As printed: the number, and the first character of the name."""

    model_config = example(number="7K2M4FP90132", first_character="王")

    number: Annotated[str, Text(30)]
    first_character: Annotated[str, Text(1)]


class Verdict(View):
    """For what a good one was given; nothing but `valid` where it is not."""

    model_config = example(
        valid=True,
        training_zh="优生优育知识讲座",
        training_en="Lecture on healthy births",
        organization_name="银川市妇幼保健院",
        attended_on="2026-09-01",
    )

    valid: bool
    training_zh: str | None = None
    training_en: str | None = None
    organization_name: str | None = None
    attended_on: date | None = None


@router.post("/certificate-checks", summary="核验培训证明 Check a certificate")
async def check_certificate(db: Db, body: CertificateInHand) -> Verdict:
    """Says no name. Whatever does not fit is simply not valid."""
    said = await certificates.check(db, number=body.number, first_character=body.first_character)
    return Verdict.model_validate(said)
