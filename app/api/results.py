"""What the doors share of results: pages, documents and pictures as answers, the items of a service."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query

from app.api.deps import View
from app.models.catalogue import AppliesTo, RecordForm, ValueType
from app.services.results import attachments
from app.services.results.catalogue import CatalogueItem

Responses = dict[int | str, dict[str, Any]]

#: A page of ours runs no script and fetches nothing.
HTML_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
PDF_HEADERS = {"Content-Disposition": 'attachment; filename="report.pdf"'}
PDF: Responses = {
    200: {"content": {attachments.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
SVG: Responses = {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}}
Code = Annotated[str, Query(pattern="^[a-z0-9_]{1,60}$", examples=["haemoglobin"])]


class ObservationView(View):
    code: str
    zh: str
    en: str
    applies_to: AppliesTo
    value_type: ValueType
    unit: str | None
    codes: list[dict[str, Any]]
    form: RecordForm | None


class ItemView(View):
    """`region_code` is null for an item of everywhere."""

    id: uuid.UUID
    number: int
    zh: str
    en: str
    applies_to: AppliesTo
    region_code: str | None
    retired_at: datetime | None
    observations: list[ObservationView]

    @classmethod
    def of(cls, one: CatalogueItem) -> Self:
        item = one.item
        return cls(
            id=item.id, number=item.number, zh=item.zh, en=item.en, applies_to=item.applies_to,
            region_code=item.region_code, retired_at=item.retired_at,
            observations=[ObservationView.model_validate(definition) for definition in one.observations],
        )  # fmt: skip
