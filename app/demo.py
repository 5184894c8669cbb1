"""What `nuanxin demo` starts with: one worker of each role, a hospital that signs, two weeks of slots, a care fund.
Everything here is known to everybody and exists in development only."""

import uuid
from datetime import datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor
from app.models.appointments import Clinic, Slot, SlotStatus
from app.models.catalogue import HealthcareService
from app.models.funds import BudgetLine, CampaignMode, Fund
from app.models.identity import STAFF_ROLES, Role
from app.models.partners import Algorithm, Organization, PartnerKey
from app.models.regions import Region
from app.models.staff import StaffAccount
from app.services.donations import recording
from app.services.funds import budgets, campaigns, funds
from app.services.idempotency import Key
from app.settings import settings

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
    Role.ACCOUNTANT: PREFECTURE,
    Role.SUPERVISOR: PREFECTURE,
    Role.AUDITOR: PREFECTURE,
    Role.SYSTEM_ADMINISTRATOR: PREFECTURE,
}


def demo_id(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"nuanxin demo {name}")


HOSPITAL, CLINIC, PARTNER_KEY = demo_id("hospital"), demo_id("clinic"), demo_id("partner key")
FUND, CAMPAIGN = demo_id("care fund"), demo_id("campaign")
ADMINISTRATOR = Actor(Role.COUNTY_ADMINISTRATOR, id=demo_id(Role.COUNTY_ADMINISTRATOR), region_code=COUNTY)
ACCOUNTANT = Actor(Role.ACCOUNTANT, id=demo_id(Role.ACCOUNTANT), region_code=PREFECTURE)
LINES = (
    ("urgent_help", "紧急救助", "Urgent help", 20_000_00),
    ("festival_visits", "节日慰问", "Visits at festivals", 10_000_00),
)


async def seed(db: AsyncSession) -> None:
    """Idempotent: what exists is left as it is; slots are topped up to two weeks."""
    await _staff(db)
    if not await db.scalar(select(Organization.id).where(Organization.id == HOSPITAL)):
        await _hospital(db)
    await _villages(db)
    await _slots(db)
    await _care_fund(db)


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
    ids = {demo_id(role): role for role in STAFF_ROLES}
    there = set(await db.scalars(select(StaffAccount.id).where(StaffAccount.id.in_(ids))))
    missing = [role for id, role in ids.items() if id not in there]
    hashed = tokens.hash_password(PASSWORD) if missing else ""
    for role in missing:
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


def _key(name: str) -> Key:
    return Key(demo_id(name), name.encode())


async def _care_fund(db: AsyncSession) -> None:
    """Through the services, as the people who may do it. Each year has its budget."""
    if await db.scalar(select(Fund.id).where(Fund.id == FUND)) is None:
        await _funds(db)
        await _campaigns(db)
        await _gifts(db)
    await _budget(db)


async def _funds(db: AsyncSession) -> None:
    for name, code, zh, en, restricted in (
        ("care fund", "DEMOCARE", "生育关怀基金（演示）", "Care fund (demo)", True),
        ("general fund", "DEMOGEN", "协会公益资金（演示）", "General fund (demo)", False),
    ):
        new = funds.NewFund(
            code=code, region_code=COUNTY, zh=zh, en=en, restricted=restricted, purpose_zh="帮扶计划生育特殊困难家庭",
            purpose_en="Help for families in special hardship",
        )  # fmt: skip
        await funds.open_fund(db, ADMINISTRATOR, key=_key(name), new=new)


async def _campaigns(db: AsyncSession) -> None:
    """One to a known circle, that takes gifts here; one that everybody sees, with its papers, paid at a platform."""
    until = {"starts_on": clock.today(), "ends_on": clock.today() + timedelta(days=365)}
    circle = campaigns.NewCampaign(
        fund_id=FUND, zh="暖心·好孕（演示）", en="A warm start (demo)", story_zh="为困难家庭的孕产妇提供营养包和陪护。",
        story_en="Food and company for expecting mothers in hardship.", mode=CampaignMode.TARGETED,
        in_app_payment=settings().in_app_payment, goal_fen=100_000_00, **until,
    )  # fmt: skip
    public = campaigns.NewCampaign(
        fund_id=FUND, zh="暖冬行动（演示）", en="A warm winter (demo)", story_zh="为特殊困难家庭的老人送去冬衣和煤款。",
        story_en="Clothes and coal for the old in hardship.", mode=CampaignMode.PLATFORM_IMPORT, in_app_payment=False,
        certificate_number="53640000MJ0000000X", filing_number="53640000MJ0000000XA26001",
        platform_name="公开募捐平台（演示）", platform_url="https://platform.example/warm-winter",
        goal_fen=50_000_00, **until,
    )  # fmt: skip
    for name, new in (("campaign", circle), ("public campaign", public)):
        row = await campaigns.draft(db, ADMINISTRATOR, key=_key(name), new=new)
        await campaigns.open_campaign(db, ADMINISTRATOR, id=row.id, version=row.version)


async def _gifts(db: AsyncSession) -> None:
    """What came to the bank and in cash; through WeChat Pay people give at their phones (`nuanxin journey`)."""
    given = {"fund_id": str(FUND), "campaign_id": str(CAMPAIGN), "donated_on": clock.today().isoformat()}
    for name, more in (
        ("gift by bank", {"channel": "bank", "amount_fen": 5_000_00, "source": "DEMO-0001", "donor_name": "王建国",
                          "shown_as": "initial"}),
        ("gift in cash", {"channel": "cash", "amount_fen": 200_00}),
    ):  # fmt: skip
        new = recording.NewDonation.model_validate(given | more)
        await recording.record(db, ACCOUNTANT, key=_key(name), new=new)


async def _budget(db: AsyncSession) -> None:
    year = clock.today().year
    query = select(BudgetLine.id).where(BudgetLine.fund_id == FUND, BudgetLine.year == year)
    if await db.scalar(query) is None:
        for code, zh, en, amount in LINES:
            new = budgets.NewBudgetLine(year=year, code=code, zh=zh, en=en, amount_fen=amount)
            await budgets.add(db, ADMINISTRATOR, key=_key(f"{code} {year}"), fund_id=FUND, new=new)
