"""Erasure as anonymisation: what identifies goes, what is counted stays (PIPL arts. 4, 47). One transaction."""

import secrets
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.consents import Consent
from app.models.households import (
    PENDING,
    Household,
    HouseholdStatus,
    Membership,
    Person,
)
from app.models.identity import CITIZEN_DOOR, ResidentAccount, SignIn
from app.models.regions import Region
from app.services import audit, identity
from app.services.appointments import waitlist
from app.services.donations.erasure import forget_donor
from app.services.households import belonging
from app.services.households.handbook import note
from app.services.rights.emptying import NAME, empty, empty_households

COUNTY = 3


async def anonymise(db: AsyncSession, actor: Actor, person: Person) -> None:
    """The caller holds the person's households, then the row. Afterwards the same document registers as a new person;
    ids, sex, year of birth, county, categories, results and appointments stay, so that statistics count what was.
    The audit trail and who agreed to what are proof and stay: ids only."""
    await _let_go_of_the_account(db, actor, person)
    await _leave(db, person)
    await waitlist.end_of_person(db, actor, person.id)
    merged = select(Person).where(Person.merged_into == person.id).order_by(Person.id).with_for_update()
    for one in (person, *await db.scalars(merged)):
        await empty(db, one)
        await _blank(db, one)
    await empty_households(db, person)
    await audit.record(db, actor, "erase", "person", person.id, people=[person.id])


async def _blank(db: AsyncSession, person: Person) -> None:
    person.name = NAME
    person.document_number = f"erased-{secrets.token_hex(16)}"
    person.document_index = secrets.token_bytes(32)
    identity.set_phone(person, None)
    person.birth_date = date(person.birth_date.year, 1, 1)
    person.died_on = date(person.died_on.year, 12, 31) if person.died_on else None
    person.hukou_region_code = await _county(db, person.hukou_region_code)
    person.resident_since = person.region_code = person.restricted_at = None
    person.erased_at = clock.now()


async def _let_go_of_the_account(db: AsyncSession, actor: Actor, person: Person) -> None:
    """Unbound and signed out everywhere; the WeChat id goes too: who signs in again is somebody new. What was agreed
    to ends, by whomever it was given."""
    account = await db.scalar(
        select(ResidentAccount).where(ResidentAccount.person_id == person.id).with_for_update()
    )
    await identity.release(db, actor, person)
    live = update(Consent).where(Consent.person_id == person.id, Consent.withdrawn_at.is_(None))
    await db.execute(live.values(withdrawn_at=clock.now()))
    if account is None:
        return
    account.openid = f"erased-{secrets.token_hex(16)}"
    await forget_donor(db, account.id)
    devices = update(SignIn).where(SignIn.door == CITIZEN_DOOR, SignIn.account_id == account.id)
    await db.execute(devices.values(device=""))
    pending = select(Household).where(Household.account_id == account.id, Household.status.in_(PENDING))
    for form in await db.scalars(pending.with_for_update()):
        form.form, form.marks, form.status = None, [], HouseholdStatus.CLOSED
        await db.flush()  # the step is written about a household without a form
        await note(db, actor, form, "closed_by_erasure")


async def _leave(db: AsyncSession, person: Person) -> None:
    """A household that has moved out of the association keeps its members: not this one. A marriage, too, ends for
    the spouse, who stays."""
    mine = select(Membership).where(Membership.person_id == person.id, Membership.valid_to.is_(None))
    for membership in await db.scalars(mine.with_for_update()):
        membership.valid_to = max(clock.today(), membership.valid_from)
    couple = await belonging.couple_of(db, person.id)
    if couple is not None:
        couple.valid_to = max(clock.today(), couple.valid_from)


async def _county(db: AsyncSession, code: str | None) -> str | None:
    """The county of a division, or the nearest above where that level is skipped."""
    while code is not None:
        region = await db.get_one(Region, code)
        if region.level <= COUNTY:
            break
        code = region.parent_code
    return code
