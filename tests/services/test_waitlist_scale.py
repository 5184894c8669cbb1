"""A long line is not read to its end: the next in it are found by index, whatever else there is."""

from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.consents import Consent
from app.services.appointments import line, waitlist
from tests.explain import Explain
from tests.factories import appointments
from tests.factories.waiting import Place, book, cancel, full, held, join, settled

WAITING = 6_000
FILL = (
    """INSERT INTO waitlist_entry (id, clinic_id, service_id, subject_id, person_id, spouse_id, region_code, from_on,
                                   to_on, places, status, created_at, changed_at)
       SELECT gen_random_uuid(), :clinic, :service, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
              '640104001000', day, day + 60, 1, 'waiting', now(), now()
         FROM generate_series(1, :count) AS n,
              CAST(current_date + CASE WHEN n <= 2700 THEN 90 ELSE 0 END AS date) AS day""",
    """INSERT INTO qualification (id, service_id, person_id, spouse_id, subject_id, cycle, region_code, rule_version_id,
                                  facts, decided_at, valid_until)
       SELECT gen_random_uuid(), service_id, person_id, spouse_id, subject_id, 'child-1', region_code,
              gen_random_uuid(), '{}', now(), now() + interval '9 days' FROM waitlist_entry""",
    """INSERT INTO couple (id, wife_id, husband_id, plans_pregnancy, valid_from)
       SELECT subject_id, person_id, spouse_id, true, '2020-01-01' FROM waitlist_entry""",
    """INSERT INTO consent (id, person_id, notice_id, given_at)
       SELECT gen_random_uuid(), who, n.id, now()
         FROM waitlist_entry, unnest(ARRAY[person_id, spouse_id]) AS who, consent_notice AS n""",
    """INSERT INTO appointment (id, slot_id, clinic_id, service_id, subject_id, person_id, spouse_id, region_code,
                                cycle, code, starts_at, ends_at, status, created_at)
       SELECT gen_random_uuid(), gen_random_uuid(), clinic_id, service_id, subject_id, person_id, spouse_id,
              region_code, 'child-0', gen_random_uuid()::text, '2020-01-01', '2020-01-02', 'fulfilled', now()
         FROM waitlist_entry""",
)


def blocks(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def read_whole(plan: dict[str, Any]) -> set[str]:
    own = {str(plan["Relation Name"])} if plan["Node Type"] == "Seq Scan" else set()
    return own.union(*(read_whole(part) for part in plan.get("Plans", [])))


async def test_the_next_for_25_places_are_found_without_reading_the_line(session: AsyncSession) -> None:
    """The first 2,700 wait for other days."""
    where, slot, _, _ = await full(session, 1)
    await session.execute(text("SET LOCAL session_replication_role = replica"))  # people who are not there
    values = {"clinic": where.hospital.clinic.id, "service": where.service.id, "count": WAITING}
    for statement in FILL:
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        await session.execute(text(statement), used)
    await session.execute(text("SET LOCAL session_replication_role = origin"))
    await session.execute(text("ANALYZE waitlist_entry, qualification, couple, consent, appointment"))
    row = (await session.execute(select(*Slot.__table__.columns).where(Slot.id == slot.id))).one()
    query = line.suited(row, where.service, free=25, after=(-1, 0), limit=25)
    assert len((await session.execute(query)).all()) == 25
    plan = await session.scalar(Explain(query, "(ANALYZE, BUFFERS, FORMAT JSON)"))
    assert blocks(plan[0]["Plan"]) < 2500, "some twenty probes each, and the index of the line"
    assert not read_whole(plan[0]["Plan"]) & {
        "waitlist_entry",
        "qualification",
        "couple",
        "consent",
        "appointment",
    }


async def test_the_job_looks_at_no_slot_for_whom_it_could_not_call(session: AsyncSession) -> None:
    """Somebody who waits everywhere and may have nothing would hide those behind from it."""
    where, slot, [family], [row] = await full(session, 1)
    silent, busy, had = await settled(session, where, 3)
    await session.commit()
    for one in (silent, busy, had):
        await join(one.wife_actor, where)
    notices = update(Consent).where(Consent.person_id == silent.husband.id)
    await session.execute(notices.values(withdrawn_at=clock.now()))
    elsewhere = await appointments.attended(
        session, service_code=appointments.FERTILITY, spouses=busy, status=AppointmentStatus.BOOKED
    )
    times = {"starts_at": slot.starts_at, "ends_at": slot.ends_at}
    await session.execute(update(Appointment).where(Appointment.id == elsewhere.appointment.id).values(times))
    await appointments.attended(session, spouses=had, status=AppointmentStatus.FULFILLED)
    await session.commit()
    await cancel(family.wife_actor, row.id)
    assert await waitlist.unserved(session, limit=9) == []
    await session.execute(notices.values(withdrawn_at=None))
    assert await waitlist.unserved(session, limit=9) == [slot.id]


async def test_a_lecture_has_a_line_too(session: AsyncSession) -> None:
    """Each is a cycle of its own."""
    where = Place(await appointments.clinic(session), await appointments.service(session, "health_lecture"))
    slot = await where.slot(session)
    has, waits = await settled(session, where, 2)
    await session.commit()
    row = await book(has.wife_actor, slot.id)
    await join(waits.wife_actor, where)
    assert await waitlist.unserved(session, limit=9) == []
    await cancel(has.wife_actor, row.id)
    [offer] = await held(slot.id)
    assert (offer.person_id, offer.cycle) == (waits.wife.id, str(slot.id))
