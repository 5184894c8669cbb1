"""Two people who are one: everything that refers to the one moves to the other, and both histories are kept."""

import uuid

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock
from app.access import Actor, fetch
from app.errors import Invalid, Unavailable, WrongState, to_problem
from app.models.appointments import Appointment, AppointmentStatus, Qualification
from app.models.catalogue import HealthcareService
from app.models.consents import Consent
from app.models.duplicates import Merge, Suspicion, SuspicionStatus
from app.models.households import Couple, Household, HouseholdStatus, Membership, Person, Relation
from app.services import audit, idempotency
from app.services.appointments.bookings import OverlappingAppointment
from app.services.duplicates import obstacles, waiting
from app.services.duplicates.changes import Changes, dump, put, table
from app.services.duplicates.obstacles import MergeBlocked
from app.services.duplicates.references import KEYS, moved
from app.services.follow_ups.events import LIVE
from app.services.households import belonging, family_types
from app.services.households.handbook import members_of, note
from app.services.idempotency import Key

ACTIVE = ("held", "booked", "arrived", "fulfilled")
#: What a person says of itself and may lack.
OWN = ("hukou_region_code", "hukou_type", "resident_since")
MEMBERSHIP, COUPLE, PERSON, HOUSEHOLD = map(table, ("membership", "couple", "person", "household"))


async def people(
    db: AsyncSession, actor: Actor, *, key: Key, kept_id: uuid.UUID, lost_id: uuid.UUID, reason: str
) -> Merge:
    """Keep one person; the other points to it, and its document leads there. What is told twice ends in the other's
    history: a membership, a marriage, a consent given before the latest word. What people have to settle first
    is refused with its name."""
    if kept_id == lost_id:
        raise Invalid.at("/lost_id", "不能与自身合并", "the same person")
    if await idempotency.claim(db, actor, key):
        homes, kept, lost = await _hold(db, actor, kept_id, lost_id)
        found = await obstacles.of_people(db, kept, lost) + await obstacles.of_moves(db, homes)
        twice = await obstacles.overlapping(db, kept, lost)
        if found or twice:
            raise MergeBlocked(*found, appointments=twice)
        changes: Changes = []
        await _leave(db, changes, kept, lost, homes)
        await _end_marriage(db, changes, kept, lost)
        await _end_consents(db, changes, kept_id, lost_id)
        await end_categories(db, changes, "person_id", kept_id, lost_id)
        await _fill(db, changes, kept, lost)
        await unsettle(db, kept_id, lost_id)
        await move(db, changes, kept_id, lost_id, {lost_id: kept_id})
        await follow(db, changes, kept_id, lost_id)
        await family_types.settle(db, list(homes))
        await write(db, actor, key, changes, reason, kept_person_id=kept_id, lost_person_id=lost_id)
        await _confirm(db, actor, kept_id, lost_id)
        await raise_versions(db, kept, lost, *homes.values())
        for home in homes.values():
            await note(db, actor, home, "person_merged", person_id=kept_id)
    return await fetch(db, actor, Merge, key.id)


async def _hold(
    db: AsyncSession, actor: Actor, kept_id: uuid.UUID, lost_id: uuid.UUID
) -> tuple[dict[uuid.UUID, Household], Person, Person]:
    """Their households, then both people, each in the order of the ids."""
    ids = sorted((kept_id, lost_id))
    before = [await belonging.home_of(db, id) for id in ids]
    homes = await belonging.lock(db, [home for home in before if home is not None])
    held = {id: await fetch(db, actor, Person, id, lock=True) for id in ids}
    for person in held.values():
        await db.refresh(person)
        if person.merged_into is not None:
            raise WrongState(status_now="merged")
    if before != [await belonging.home_of(db, id) for id in ids]:
        raise Unavailable  # somebody moved while we waited
    return homes, held[kept_id], held[lost_id]


async def _leave(
    db: AsyncSession, changes: Changes, kept: Person, lost: Person, homes: dict[uuid.UUID, Household]
) -> None:
    """Of two active memberships the other's ends. A household in which nobody is left is closed; of one in which
    others are, somebody has to be the head."""
    theirs = select(Membership).where(
        Membership.person_id.in_([kept.id, lost.id]), Membership.valid_to.is_(None)
    )
    rows = await db.scalars(theirs.execution_options(populate_existing=True))
    active = {row.person_id: row for row in rows}
    if len(active) < 2:
        return
    stays, ends = active[kept.id], active[lost.id]
    home = homes[ends.household_id]
    alone = set(await db.scalars(members_of(home))) == {lost.id}
    if ends.relation is Relation.HEAD and stays.household_id == home.id:
        await put(db, changes, MEMBERSHIP, MEMBERSHIP.c.id == stays.id, relation=Relation.HEAD)
    elif ends.relation is Relation.HEAD and not alone:
        raise MergeBlocked("head")
    if alone:
        await put(db, changes, HOUSEHOLD, HOUSEHOLD.c.id == home.id, status=HouseholdStatus.CLOSED)
    day = max(clock.today(), ends.valid_from)
    await put(db, changes, MEMBERSHIP, MEMBERSHIP.c.id == ends.id, valid_to=day)


async def _end_marriage(db: AsyncSession, changes: Changes, kept: Person, lost: Person) -> None:
    """One marriage recorded with each of the two: the other's ends. Spouses who neither are the same nor sound
    alike are two people."""
    theirs = select(Couple).where(_spouse((kept.id, lost.id)), Couple.valid_to.is_(None))
    rows = await db.scalars(theirs.execution_options(populate_existing=True))
    couples = {(kept.id if kept.id in {row.wife_id, row.husband_id} else lost.id): row for row in rows}
    if len(couples) < 2:
        return
    spouses = [({row.wife_id, row.husband_id} - {id}).pop() for id, row in couples.items()]
    sounds = set(await db.scalars(select(Person.pinyin).where(Person.id.in_(spouses))))
    if len(sounds) > 1:
        raise MergeBlocked("marriage")
    day = max(clock.today(), couples[lost.id].valid_from)
    await put(db, changes, COUPLE, COUPLE.c.id == couples[lost.id].id, valid_to=day)


def _spouse(ids: tuple[uuid.UUID, ...]) -> ColumnElement[bool]:
    return or_(Couple.wife_id.in_(ids), Couple.husband_id.in_(ids))


async def _end_consents(db: AsyncSession, changes: Changes, kept_id: uuid.UUID, lost_id: uuid.UUID) -> None:
    """The latest word on each notice counts, whether it gave or withdrew."""
    theirs = select(Consent).where(Consent.person_id.in_([kept_id, lost_id])).with_for_update()
    rows = list(await db.scalars(theirs.execution_options(populate_existing=True)))
    ended = []
    for row in rows:
        others = [one for one in rows if one.notice_id == row.notice_id and one.person_id != row.person_id]
        later = any((one.withdrawn_at or one.given_at, one.id) > (row.given_at, row.id) for one in others)
        if row.withdrawn_at is None and later:
            ended.append(row.id)
    consent = table("consent")
    await put(db, changes, consent, consent.c.id.in_(ended), withdrawn_at=clock.now())


async def end_categories(
    db: AsyncSession, changes: Changes, holder: str, kept_id: uuid.UUID, lost_id: uuid.UUID
) -> None:
    """Held twice is held once: the other's ends. Which of two grades is right, people decide."""
    category = table("category")
    own = category.alias()
    twice = (
        select(category.c.id, category.c.valid_from, category.c.grade.is_distinct_from(own.c.grade))
        .join(own, own.c.code == category.c.code)
        .where(category.c[holder] == lost_id, category.c.valid_to.is_(None))
        .where(own.c[holder] == kept_id, own.c.valid_to.is_(None))
    )
    for id, valid_from, differs in (await db.execute(twice)).all():
        if differs:
            raise MergeBlocked("grade")
        day = max(clock.today(), valid_from)
        await put(db, changes, category, category.c.id == id, valid_to=day)


async def _fill(db: AsyncSession, changes: Changes, kept: Person, lost: Person) -> None:
    """What only the other says of itself is said of the one who is kept; the phone is sealed anew."""
    filled = {
        name: getattr(lost, name)
        for name in OWN
        if getattr(kept, name) is None and getattr(lost, name) is not None
    }
    if kept.phone_index is None and lost.phone is not None:
        sealed = Person(id=kept.id)  # stays out of the session
        sealed.phone = lost.phone
        filled |= {"phone_sealed": sealed.phone_sealed, "phone_index": lost.phone_index}
    if filled:
        await put(db, changes, PERSON, PERSON.c.id == kept.id, **filled)


async def unsettle(db: AsyncSession, kept_id: uuid.UUID, lost_id: uuid.UUID) -> None:
    """Who they are decides what they may have: that is settled anew when they ask for it, also for the spouses."""
    ids = kept_id, lost_id
    couples = select(Couple.wife_id, Couple.husband_id).where(_spouse(ids), Couple.valid_to.is_(None))
    concerned = {*ids, *(id for couple in await db.execute(couples) for id in couple)}
    services = select(HealthcareService.id)  # leads to the index of service and person
    theirs = (Qualification.service_id.in_(services), Qualification.person_id.in_(concerned))
    ended = update(Qualification).where(*theirs, Qualification.valid_until > clock.now())
    await db.execute(ended.values(valid_until=clock.now()).execution_options(synchronize_session=False))


async def move(
    db: AsyncSession, changes: Changes, kept_id: uuid.UUID, lost_id: uuid.UUID, subjects: dict[uuid.UUID, uuid.UUID]
) -> None:  # fmt: skip
    """Every reference to the other, wherever it is. Appointments count for whom they were: a person, or a couple
    that was recorded twice."""
    await references(db, changes, "person", kept_id, lost_id)
    await put(db, changes, PERSON, PERSON.c.id == lost_id, merged_into=kept_id)
    theirs = select(Couple).where(_spouse((kept_id,))).execution_options(populate_existing=True)
    couples = list(await db.scalars(theirs))
    for own in couples:
        for twin in couples:
            same = (own.wife_id, own.husband_id) == (twin.wife_id, twin.husband_id) and own is not twin
            if own.valid_to is None and same and (twin.valid_to is None or twin.valid_to > own.valid_from):
                subjects[twin.id] = own.id
    for old, new in subjects.items():
        await _move_subject(db, changes, kept_id, old, new)


async def references(
    db: AsyncSession, changes: Changes, target: str, kept_id: uuid.UUID, lost_id: uuid.UUID
) -> None:
    try:
        for place, name in moved(target):
            condition = place.c[name] == lost_id
            if columns := KEYS.get(f"{place.name}.{name}"):
                own = place.alias()
                same = [own.c[column] == place.c[column] for column in columns]
                condition &= ~exists().where(own.c[name] == kept_id, *same).correlate(place)
            await put(db, changes, place, condition, **{name: kept_id})
    except IntegrityError as error:  # an appointment was moved just now; or one open request of a kind
        moved_now = isinstance(to_problem(error), OverlappingAppointment)
        raise MergeBlocked("overlap" if moved_now else "open_requests") from error


async def _move_subject(
    db: AsyncSession, changes: Changes, kept_id: uuid.UUID, old: uuid.UUID, new: uuid.UUID
) -> None:
    """Two that both took place stay beside each other, as they were."""
    own, other = aliased(Appointment), aliased(Appointment)
    clashes = await db.execute(
        select(other.id, own.status, other.status)
        .join(own, and_(own.service_id == other.service_id, own.cycle == other.cycle))
        .where(
            other.subject_id == old, own.subject_id == new, own.status.in_(ACTIVE), other.status.in_(ACTIVE)
        )
    )
    stay = []
    for id, *states in clashes:
        if set(states) != {AppointmentStatus.FULFILLED}:
            raise MergeBlocked("appointments")
        stay.append(id)
    place = table("appointment")
    theirs = or_(place.c.person_id == kept_id, place.c.spouse_id == kept_id)  # by index
    condition = and_(theirs, place.c.subject_id == old, place.c.id.not_in(stay))
    await put(db, changes, place, condition, subject_id=new)
    await waiting.move(db, changes, kept_id, old, new)


async def follow(db: AsyncSession, changes: Changes, kept_id: uuid.UUID, lost_id: uuid.UUID) -> None:
    """The one who is kept is counted where the one membership is; the village there does what is to be done, and
    reads the reports, of a couple only where both are counted there."""
    homes = select(Household).join(Membership, Membership.household_id == Household.id)
    active = homes.where(Membership.person_id == kept_id, Membership.valid_to.is_(None))
    home = await db.scalar(active.execution_options(populate_existing=True))
    region = belonging.counted_in(home) if home else None
    await put(db, changes, PERSON, PERSON.c.id == lost_id, region_code=None)
    await put(db, changes, PERSON, PERSON.c.id == kept_id, region_code=region)
    if region is None:
        return
    names = ("follow_up", "appointment", "diagnostic_report", "correction", "waitlist_entry")
    follow_up, appointment, report, correction, entry = map(table, names)
    both = PERSON.c.id.in_([report.c.person_id, report.c.spouse_id])
    elsewhere = exists().where(both, PERSON.c.region_code != region)
    own = or_(report.c.person_id == kept_id, report.c.spouse_id == kept_id)
    rows = {
        follow_up: and_(follow_up.c.person_id == kept_id, follow_up.c.status.in_(LIVE)),
        appointment: and_(appointment.c.person_id == kept_id, appointment.c.starts_at > clock.now()),
        report: and_(own, ~elsewhere),
        correction: correction.c.person_id == kept_id,
        entry: and_(entry.c.person_id == kept_id, entry.c.status.in_(waiting.LIVE)),
    }
    for place, theirs in rows.items():
        await put(db, changes, place, theirs, region_code=region)


async def write(
    db: AsyncSession, actor: Actor, key: Key, changes: Changes, reason: str, **pair: uuid.UUID
) -> None:
    row = Merge(id=key.id, merged_by=actor.id, merged_at=clock.now(), **pair)
    row.reason, row.changes = reason, dump(changes)
    db.add(row)
    await db.flush()  # what follows may refer to it
    people = pair.values() if "kept_person_id" in pair else ()
    await audit.record(db, actor, "merge", "merge", row.id, people=people)


async def _confirm(db: AsyncSession, actor: Actor, kept_id: uuid.UUID, lost_id: uuid.UUID) -> None:
    a, b = sorted((kept_id, lost_id))
    pair = update(Suspicion).where(
        Suspicion.person_a == a, Suspicion.person_b == b, Suspicion.status == SuspicionStatus.OPEN
    )
    decided = {"status": SuspicionStatus.CONFIRMED, "decided_by": actor.id, "decided_at": clock.now()}
    await db.execute(pair.values(decided))


async def raise_versions(db: AsyncSession, *rows: Person | Household) -> None:
    """Whoever has an older version of one of these in hand hears that it is stale."""
    for row in rows:
        place = table(row.__tablename__)
        await db.execute(update(place).where(place.c.id == row.id).values(version=place.c.version + 1))
        await db.refresh(row)
