"""Reports as a hospital posts them."""

import json
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import Problem
from app.services.results import reports
from app.services.results.posted import PostedReport
from tests.factories.appointments import Attended

NORMAL_WIFE: list[dict[str, Any]] = [
    {"code": "haemoglobin", "value": 128, "unit": "g/L", "range_low": 115, "range_high": 150},
    {"code": "tsh", "value": 2.1, "unit": "mIU/L", "range_low": 0.35, "range_high": 4.94},
    {"code": "hbsag", "value": "negative"},
    {"code": "smoking", "value": "no"},
]
NORMAL_HUSBAND: list[dict[str, Any]] = [
    {"code": "haemoglobin", "value": 150, "unit": "g/L", "range_low": 130, "range_high": 175},
    {"code": "hbsag", "value": "negative"},
    {"code": "smoking", "value": "no"},
]
#: Later than any test posts with an offset of its own.
ISSUED = timedelta(hours=1)


def number() -> str:
    return f"LIS-{uuid.uuid4().hex[:12]}"


def with_value(
    lines: list[dict[str, Any]], code: str, value: float | str, **more: Any
) -> list[dict[str, Any]]:
    """The same list with one value replaced or added."""
    return [line for line in lines if line["code"] != code] + [{"code": code, "value": value, **more}]


def body(attended: Attended, **changes: Any) -> dict[str, Any]:
    """A final report of a couple in which nothing was found, unless told otherwise."""
    return {
        "external_id": number(),
        "version": 1,
        "appointment_code": attended.appointment.code,
        "status": "final",
        "issued_at": (clock.now() - ISSUED).isoformat(),
        "wife": NORMAL_WIFE,
        "husband": NORMAL_HUSBAND,
    } | changes


async def post(
    session: AsyncSession, attended: Attended, body: dict[str, Any], *, signature: str = "v1,c2ln"
) -> reports.Accepted:
    """Raises the refusal, too, that the endpoint only answers with: the session goes on with what it keeps."""
    raw = json.dumps(body, ensure_ascii=False).encode()
    report = PostedReport.model_validate(body)
    answer = await reports.accept(session, attended.partner, report=report, raw=raw, signature=signature)
    if isinstance(answer, Problem):
        raise answer
    return answer
