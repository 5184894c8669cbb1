"""Couples, clinics, slots and attended appointments, in states that the services can reach."""

import itertools
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.appointments import Appointment, AppointmentEvent, AppointmentStatus, Clinic, Slot, SlotStatus
from app.models.catalogue import Cycle, HealthcareService, Subject
from app.models.consents import Consent, ConsentNotice
from app.models.households import (
    Couple,
    DocumentKind,
    Household,
    HouseholdStatus,
    HukouType,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.identity import ResidentAccount, Role
from app.models.partners import Algorithm, Organization, PartnerKey
from app.models.staff import StaffAccount
from app.services import partners
from app.services.documents import Document

REGION = "640104001000"
COUNTY = "640104000000"
PRE_PREGNANCY, FERTILITY = "pre_pregnancy_check", "fertility_assessment"
_numbers = itertools.count(1)
_STEPS = {
    AppointmentStatus.BOOKED: (AppointmentStatus.BOOKED,),
    AppointmentStatus.ARRIVED: (AppointmentStatus.BOOKED, AppointmentStatus.ARRIVED),
    AppointmentStatus.FULFILLED: (
        AppointmentStatus.BOOKED,
        AppointmentStatus.ARRIVED,
        AppointmentStatus.FULFILLED,
    ),
    AppointmentStatus.CANCELLED: (AppointmentStatus.BOOKED, AppointmentStatus.CANCELLED),
    AppointmentStatus.NO_SHOW: (AppointmentStatus.BOOKED, AppointmentStatus.NO_SHOW),
}
_SEATED = {
    AppointmentStatus.BOOKED,
    AppointmentStatus.ARRIVED,
    AppointmentStatus.FULFILLED,
    AppointmentStatus.NO_SHOW,
}


@dataclass(frozen=True)
class Spouses:
    """A married couple in one household, each bound to an account, with consent to every notice."""

    couple: Couple
    household: Household
    wife: Person
    husband: Person
    wife_actor: Actor
    husband_actor: Actor


@dataclass(frozen=True)
class Hospital:
    organization: Organization
    key: PartnerKey
    clinic: Clinic

    @property
    def actor(self) -> Actor:
        return Actor(
            Role.PARTNER,
            id=self.organization.id,
            region_code=self.organization.region_code,
            key_id=self.key.id,
        )


@dataclass(frozen=True)
class Attended:
    appointment: Appointment
    service: HealthcareService
    slot: Slot
    spouses: Spouses
    hospital: Hospital

    @property
    def partner(self) -> Actor:
        return self.hospital.actor

    @property
    def wife(self) -> Actor:
        return self.spouses.wife_actor

    @property
    def husband(self) -> Actor:
        return self.spouses.husband_actor


async def service(session: AsyncSession, code: str = PRE_PREGNANCY) -> HealthcareService:
    """From the reference data."""
    return (await session.scalars(select(HealthcareService).where(HealthcareService.code == code))).one()


async def worker(
    session: AsyncSession, region_code: str = COUNTY, role: Role = Role.TOWNSHIP_OFFICER
) -> Actor:
    """An association worker of the region."""
    row = StaffAccount(
        id=new_id(),
        username=f"worker-{uuid.uuid4().hex[:12]}",
        name="马建国",
        role=role,
        region_code=region_code,
        password_hash="unusable",
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    return Actor(role, id=row.id, region_code=region_code)


def person(name: str, sex: Sex, *, birth_date: date = date(1995, 6, 1)) -> Person:
    """With a document number of its own."""
    number = f"G{next(_numbers):04d}{uuid.uuid4().hex[:10]}".upper()
    row = Person(
        id=new_id(),
        name=name,
        sex=sex,
        birth_date=birth_date,
        document_kind=DocumentKind.PASSPORT,
        document_index=Document(DocumentKind.PASSPORT, number, None, None).index,
        region_code=REGION,
        hukou_region_code=REGION,
        hukou_type=HukouType.RURAL,
        resident_since=date(2020, 1, 1),
        created_at=clock.now(),
    )
    row.document_number = number
    return row


async def couple(session: AsyncSession, region_code: str = REGION) -> Spouses:
    """李秀英 and 王建军, registered and verified, planning a pregnancy."""
    wife, husband = person("李秀英", Sex.FEMALE), person("王建军", Sex.MALE)
    wife.region_code = husband.region_code = region_code
    now = clock.now()
    household = Household(
        id=new_id(),
        region_code=region_code,
        status=HouseholdStatus.ACTIVE,
        submitted_at=now,
        verified_at=now,
        created_at=now,
    )
    session.add_all([wife, husband, household])
    await session.flush()
    marriage = Couple(
        id=new_id(),
        wife_id=wife.id,
        husband_id=husband.id,
        plans_pregnancy=True,
        valid_from=date(2023, 1, 1),
    )
    session.add(marriage)
    for one, relation in ((husband, Relation.HEAD), (wife, Relation.SPOUSE)):
        session.add(
            Membership(
                id=new_id(),
                household_id=household.id,
                person_id=one.id,
                relation=relation,
                valid_from=date(2023, 1, 1),
            )
        )
    actors = [await account(session, one) for one in (wife, husband)]
    await consents(session, wife, husband)
    return Spouses(marriage, household, wife, husband, *actors)


async def account(session: AsyncSession, holder: Person) -> Actor:
    """A resident account bound to the person."""
    row = ResidentAccount(
        id=new_id(),
        openid=f"o-{uuid.uuid4().hex}",
        person_id=holder.id,
        bound_at=clock.now(),
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    return Actor(Role.RESIDENT, id=row.id)


async def consents(session: AsyncSession, *people: Person) -> None:
    """To every notice in force."""
    notices = await session.scalars(select(ConsentNotice.id).where(ConsentNotice.retired_at.is_(None)))
    session.add_all(
        Consent(id=new_id(), person_id=one.id, notice_id=notice, given_at=clock.now())
        for notice in list(notices)
        for one in people
    )
    await session.flush()


async def clinic(session: AsyncSession, region_code: str = COUNTY) -> Hospital:
    """A partner hospital with a live key and one clinic."""
    organization, key = await partners.create(
        session,
        Actor.system("test"),
        None,
        name=f"妇幼保健院 {uuid.uuid4().hex[:8]}",
        region_code=region_code,
        algorithm=Algorithm.HMAC_SHA256,
    )
    place = Clinic(
        id=new_id(),
        organization_id=organization.id,
        region_code=region_code,
        name="优生门诊",
        address="解放东街1号",
        phone="0951-1234567",
        created_at=clock.now(),
    )
    session.add(place)
    await session.flush()
    return Hospital(organization, key, place)


async def slot(
    session: AsyncSession,
    *,
    place: Clinic,
    service: HealthcareService,
    starts_at: datetime | None = None,
    capacity: int = 10,
    opens_at: datetime | None = None,
    status: SlotStatus = SlotStatus.OPEN,
) -> Slot:
    """Open since yesterday, for tomorrow, unless told otherwise."""
    starts_at = starts_at or clock.now() + timedelta(days=1, seconds=next(_numbers))
    row = Slot(
        id=new_id(),
        clinic_id=place.id,
        service_id=service.id,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=1),
        capacity=capacity,
        opens_at=opens_at or clock.now() - timedelta(days=1),
        status=status,
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    return row


async def attended(
    session: AsyncSession,
    *,
    service_code: str = PRE_PREGNANCY,
    status: AppointmentStatus = AppointmentStatus.ARRIVED,
    hospital: Hospital | None = None,
    spouses: Spouses | None = None,
    by: Sex = Sex.FEMALE,
    region_code: str = REGION,
    in_days: int = 1,
) -> Attended:
    """An appointment that went through its steps up to `status`; `by` is who booked. Nobody is in two places at one
    time: a second one of a couple is on another day."""
    spouses = spouses or await couple(session, region_code)
    hospital = hospital or await clinic(session)
    kind = await service(session, service_code)
    starts_at = clock.now() + timedelta(days=in_days, seconds=next(_numbers))
    place = await slot(session, place=hospital.clinic, service=kind, starts_at=starts_at)
    place.booked = int(status in _SEATED)
    booker, other = spouses.wife, spouses.husband
    if by is Sex.MALE:
        booker, other = other, booker
    for_couple = kind.subject is Subject.COUPLE
    actor = spouses.wife_actor if by is Sex.FEMALE else spouses.husband_actor
    row = Appointment(
        id=new_id(),
        slot_id=place.id,
        clinic_id=hospital.clinic.id,
        service_id=kind.id,
        subject_id=spouses.couple.id if for_couple else booker.id,
        person_id=booker.id,
        spouse_id=other.id if for_couple else None,
        account_id=actor.id,
        region_code=region_code,
        cycle="child-1" if kind.cycle is Cycle.CHILD else str(clock.today().year),
        code=uuid.uuid4().hex[:10].upper(),
        starts_at=place.starts_at,
        ends_at=place.ends_at,
        status=status,
        created_at=clock.now(),
    )
    session.add(row)
    await session.flush()
    session.add_all(
        AppointmentEvent(
            appointment_id=row.id,
            at=clock.now(),
            status=step,
            actor_role=Role.RESIDENT if step is AppointmentStatus.BOOKED else Role.PARTNER,
            actor_id=actor.id if step is AppointmentStatus.BOOKED else hospital.organization.id,
        )
        for step in _STEPS[status]
    )
    await session.flush()
    return Attended(row, kind, place, spouses, hospital)
