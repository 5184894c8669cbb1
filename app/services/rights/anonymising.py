"""Erasure as anonymisation: what identifies goes, what is counted stays (PIPL arts. 4, 47). One transaction."""

import secrets
from datetime import date

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.consents import Consent
from app.models.households import Membership, Person
from app.models.identity import ResidentAccount
from app.models.regions import COUNTY, Region
from app.services import audit, identity
from app.services.appointments import waitlist
from app.services.disbursements.erasure import forget_payee
from app.services.households import belonging
from app.services.rights import accounts
from app.services.rights.emptying import NAME, empty, empty_households


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
        await forget_payee(db, one.id)
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
    """Unbound and signed out everywhere. What was agreed to ends, by whomever it was given."""
    account = await db.scalar(
        select(ResidentAccount).where(ResidentAccount.person_id == person.id).with_for_update()
    )
    await identity.release(db, actor, person)
    live = update(Consent).where(Consent.person_id == person.id, Consent.withdrawn_at.is_(None))
    await db.execute(live.values(withdrawn_at=clock.now()))
    if account is not None:
        await accounts.let_go(db, actor, account)


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
