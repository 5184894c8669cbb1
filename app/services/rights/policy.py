"""How long what is kept, and why: app/data/retention.json, for the association to adjust."""

import json
from functools import cache
from typing import Annotated

from pydantic import Field

from app.services.plain import Body, Note
from app.settings import ROOT


class HoldReason(Body):
    zh: Note
    en: Note
    source: Note
    years: Annotated[int, Field(ge=0, le=100)] = 0


class Holds(Body):
    """The duties to keep that may stand against an erasure (PIPL art. 47)."""

    active_membership: HoldReason
    active_roster: HoldReason
    open_appointment: HoldReason
    open_follow_up: HoldReason
    open_payment: HoldReason
    report_retention: HoldReason


class Period(Body):
    days: Annotated[int, Field(ge=1, le=3650)]
    why: Note


class Years(Body):
    years: Annotated[int, Field(ge=10, le=100)]
    why: Note


class Purge(Body):
    """`accounting`: counted from the end of the year of a document."""

    idempotency_key: Period
    sign_in: Period
    message: Period
    accounting: Years


class Retention(Body):
    holds: Holds
    purge: Purge


@cache
def retention() -> Retention:
    text = (ROOT / "app" / "data" / "retention.json").read_text(encoding="utf-8")
    return Retention.model_validate(json.loads(text))
