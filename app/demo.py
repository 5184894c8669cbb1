"""What `nuanxin demo` starts with: one worker of each role, a hospital that signs, two weeks of slots.
Everything here is known to everybody and exists in development only."""

import uuid
from datetime import datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.models.appointments import Clinic, HealthcareService, Slot, SlotStatus
from app.models.identity import STAFF_ROLES, Role
from app.models.partners import Algorithm, Organization, PartnerKey
from app.models.regions import Region
from app.models.staff import StaffAccount

TOWN = "640104001000"
COUNTY = "640104000000"
PREFECTURE = "640100000000"
PASSWORD = "nuanxin-demo-2026"  # noqa: S105
TOTP_SECRET = "NUANXINDEMONUANXINDEMONUANXINDEM"  # noqa: S105
PARTNER_SECRET = "whsec_bnVhbnhpbi1kZW1vLWhvc3BpdGFsLXNlY3JldC0wMDE="  # noqa: S105
VILLAGES = {
    "640104001901": "北塔村（演示）",
    "640104001902": "新华社区（演示）",
    "640104001903": "丽景社区（演示）",
}
REGIONS = {
    Role.VILLAGE_WORKER: TOWN,
    Role.TOWNSHIP_OFFICER: TOWN,
    Role.COUNTY_ADMINISTRATOR: COUNTY,
    Role.SUPERVISOR: PREFECTURE,
    Role.AUDITOR: PREFECTURE,
    Role.SYSTEM_ADMINISTRATOR: PREFECTURE,
}


def demo_id(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"nuanxin demo {name}")


HOSPITAL, CLINIC, PARTNER_KEY = demo_id("hospital"), demo_id("clinic"), demo_id("partner key")


async def seed(db: AsyncSession) -> None:
    """Idempotent: what exists is left as it is; slots are topped up to two weeks."""
    if not await db.scalar(select(StaffAccount.id).where(StaffAccount.id == demo_id("auditor"))):
        await _staff(db)
        await _hospital(db)
    await _villages(db)
    await _slots(db)


async def _villages(db: AsyncSession) -> None:
    rows = [
        {
            "code": code, "level": 5, "parent_code": TOWN, "name": name, "valid_from": clock.today(),
            "valid_to": None, "source": "demo",
        }
        for code, name in VILLAGES.items()
    ]  # fmt: skip
    await db.execute(insert(Region).on_conflict_do_nothing(), rows)


async def _staff(db: AsyncSession) -> None:
    hashed = tokens.hash_password(PASSWORD)
    for role in STAFF_ROLES:
        account = StaffAccount(
            id=demo_id(role), username=role.value, name="演示账号", role=role, region_code=REGIONS[role],
            password_hash=hashed, totp_enrolled_at=clock.now(), created_at=clock.now(),
        )  # fmt: skip
        account.totp_secret = TOTP_SECRET
        db.add(account)


async def _hospital(db: AsyncSession) -> None:
    now = clock.now()
    name = "兴庆区妇幼保健院（演示）"
    db.add(
        Organization(
            id=HOSPITAL, name=name, region_code=COUNTY, algorithm=Algorithm.HMAC_SHA256, created_at=now
        )
    )
    key = PartnerKey(id=PARTNER_KEY, organization_id=HOSPITAL, created_at=now)
    key.secret = PARTNER_SECRET
    clinic = Clinic(
        id=CLINIC, organization_id=HOSPITAL, region_code=COUNTY, name="优生健康检查门诊（演示）",
        address="凤凰北街 1 号", phone="0951-0000000", created_at=now,
    )  # fmt: skip
    await db.flush()  # keys and clinics refer to the hospital
    db.add_all([key, clinic])
    await db.flush()  # slots refer to the clinic


async def _slots(db: AsyncSession) -> None:
    services = list(await db.scalars(select(HealthcareService)))
    rows = []
    for ahead in range(1, 15):
        day = clock.today() + timedelta(days=ahead)
        for service in services:
            for hour in (8, 9, 10) if day.weekday() < 5 else ():
                starts = datetime.combine(day, time(hour), clock.SHANGHAI)
                rows.append({
                    "id": demo_id(f"{service.code} {starts}"), "clinic_id": CLINIC, "service_id": service.id,
                    "starts_at": starts, "ends_at": starts + timedelta(hours=1), "capacity": 20,
                    "opens_at": clock.now(), "status": SlotStatus.OPEN, "created_at": clock.now(),
                })  # fmt: skip
    await db.execute(insert(Slot).on_conflict_do_nothing(), rows)
