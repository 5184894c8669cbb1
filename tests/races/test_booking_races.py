"""Two at once on real commits: one wins, the other is told why, and nothing is counted twice."""

import asyncio
import secrets
import uuid
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app import clock, db, errors, tokens
from app.access import Actor
from app.db import new_id
from app.journey import Spouse, couple
from app.models.appointments import Appointment, AppointmentStatus, Slot
from app.models.households import DocumentKind, FamilyType, Household, Membership, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.services import documents, eligibility, households, identity, sign_ins
from app.services.appointments import attendance, bookings
from app.services.households import Form
from app.services.idempotency import Key
from tests.clients import client
from tests.factories import appointments
from tests.factories.appointments import Hospital, Spouses

pytestmark = pytest.mark.usefixtures("committed")
ROUNDS = 5


async def outcomes(*calls: Awaitable[Any]) -> list[str]:
    """All at once: the name of the problem of each, or "done"."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [
        errors.to_problem(answer).slug() if isinstance(answer, Exception) else "done" for answer in answers
    ]


async def book(actor: Actor, slot_id: uuid.UUID, key: Key | None = None) -> Any:
    return await bookings.book(actor, key=key or Key(new_id(), b"fingerprint"), slot_id=slot_id)


async def cancel(actor: Actor, id: uuid.UUID) -> None:
    async with db.begin() as session:
        await bookings.cancel(session, actor, id=id, reason=None)


async def check_in(actor: Actor, code: str) -> None:
    async with db.begin() as session:
        await attendance.check_in(session, actor, code=code)


async def a_family_and_slots(count: int = 1) -> tuple[Spouses, Hospital, list[uuid.UUID]]:
    """Settled beforehand. The slots begin soon: late enough to cancel, early enough to check in."""
    async with db.begin() as session:
        family, hospital = await appointments.couple(session), await appointments.clinic(session)
        service, soon = await appointments.service(session), clock.now() + timedelta(minutes=30)
        await eligibility.settle(session, family.wife_actor, service=service, person_id=family.wife.id)
        slots = [
            await appointments.slot(
                session, place=hospital.clinic, service=service, starts_at=soon + timedelta(minutes=minute)
            )
            for minute in range(count)
        ]
    return family, hospital, [slot.id for slot in slots]


async def booked(slot_id: uuid.UUID) -> int:
    async with db.begin() as session:
        return (await session.get_one(Slot, slot_id)).booked


async def test_of_two_cancellations_one_wins_and_the_place_returns_once() -> None:
    for _ in range(ROUNDS):
        family, _, [slot_id] = await a_family_and_slots()
        row = await book(family.wife_actor, slot_id)
        said = await outcomes(cancel(family.wife_actor, row.id), cancel(family.husband_actor, row.id))
        assert sorted(said) == ["done", "wrong-state"]
        assert await booked(slot_id) == 0


async def test_cancelling_and_arriving_at_once_ends_as_one_of_them() -> None:
    for _ in range(ROUNDS):
        family, hospital, [slot_id] = await a_family_and_slots()
        row = await book(family.wife_actor, slot_id)
        said = await outcomes(cancel(family.wife_actor, row.id), check_in(hospital.actor, row.code))
        assert sorted(said) == ["done", "wrong-state"]
        async with db.begin() as session:
            status = (await session.get_one(Appointment, row.id)).status
        cancelled = said[0] == "done"
        assert status is (AppointmentStatus.CANCELLED if cancelled else AppointmentStatus.ARRIVED)
        assert await booked(slot_id) == (0 if cancelled else 1)


async def test_twenty_taps_with_one_key_are_one_appointment_and_one_answer() -> None:
    family, _, [slot_id] = await a_family_and_slots()
    key = Key(new_id(), b"fingerprint")
    answers = await asyncio.gather(*(book(family.wife_actor, slot_id, key) for _ in range(20)))
    assert {(answer.id, answer.code, answer.status) for answer in answers} == {
        (key.id, answers[0].code, AppointmentStatus.BOOKED)
    }
    assert await booked(slot_id) == 1


async def test_more_residents_to_settle_than_connections_do_not_stop_each_other() -> None:
    """Who did not qualify beforehand is settled while booking, on a second connection: never holding two."""
    _, _, [slot_id] = await a_family_and_slots()
    async with db.begin() as session:
        wives = [(await appointments.couple(session)).wife_actor for _ in range(25)]

    async def tap(phone: httpx.AsyncClient, wife: Actor) -> int:
        token = tokens.issue_access(identity.DOOR, wife.account_id, new_id())
        path, headers = f"{identity.DOOR}/appointments", {"Authorization": f"Bearer {token}"}
        return (await phone.post(path, json={"slot_id": str(slot_id)}, headers=headers)).status_code

    async with client() as phone, asyncio.timeout(25):  # a stalled pool gives up after thirty
        answers = Counter(await asyncio.gather(*(tap(phone, wife) for wife in wives)))
    assert answers == {201: 10, 409: 15}
    assert await booked(slot_id) == 10


async def test_two_spouses_who_book_different_slots_at_once_have_one_appointment() -> None:
    for _ in range(ROUNDS):
        family, _, [one, other] = await a_family_and_slots(2)
        said = await outcomes(book(family.wife_actor, one), book(family.husband_actor, other))
        assert sorted(said) == ["already-booked", "done"]
        assert await booked(one) + await booked(other) == 1


# Households


async def a_resident(spouse: Spouse) -> Actor:
    """Bound to the person of the document."""
    document = documents.read(DocumentKind.RESIDENT_ID, spouse.number)
    async with db.begin() as session:
        person, _ = await identity.register_person(
            session,
            name=spouse.name,
            document=document,
            birth_date=spouse.born,
            sex=Sex.FEMALE if spouse.female else Sex.MALE,
        )
        return await appointments.account(session, person)


def member(spouse: Spouse, relation: str) -> dict[str, Any]:
    return {
        "relation": relation,
        "name": spouse.name,
        "document_number": spouse.number,
        "phone": spouse.phone,
        "hukou_region_code": appointments.REGION,
        "hukou_type": "urban",
        "resident_since": "2020-01-01",
    }


async def a_submitted_form(head: Spouse, *others: Spouse) -> Household:
    """Registered by its head."""
    actor = await a_resident(head)
    form = Form.model_validate(
        {
            "region_code": appointments.REGION,
            "address": "凤凰北街 8 号",
            "family_type": FamilyType.DEVELOPING,
            "members": [member(head, "head"), *(member(other, "spouse") for other in others)],
        }
    )
    async with db.begin() as session:
        row = await households.register(session, actor, key=Key(new_id(), b"fingerprint"), form=form)
    async with db.begin() as session:
        return await households.submit(session, actor, id=row.id, version=row.version)


async def verify(actor: Actor, row: Household) -> None:
    async with db.begin() as session:
        await households.verify(session, actor, id=row.id, version=row.version)


async def a_worker() -> Actor:
    async with db.begin() as session:
        return await appointments.worker(session, role=Role.VILLAGE_WORKER)


async def test_of_two_verifications_of_one_form_one_wins_and_people_are_made_once() -> None:
    row = await a_submitted_form(*couple())
    one, other = await a_worker(), await a_worker()
    said = await outcomes(verify(one, row), verify(other, row))
    assert sorted(said) == ["done", "stale-version"]
    async with db.begin() as session:
        members = select(func.count()).select_from(Membership).filter_by(household_id=row.id)
        assert await session.scalar(members) == 2


async def test_a_person_in_two_forms_verified_at_once_belongs_to_one_household() -> None:
    """In opposite order, too: no deadlock."""
    worker = await a_worker()
    for _ in range(ROUNDS):
        wife, husband = couple()
        forms = [await a_submitted_form(husband, wife), await a_submitted_form(wife, husband)]
        said = await outcomes(*(verify(worker, form) for form in forms))
        assert sorted(said) == ["already-in-household", "done"]


async def test_registrations_of_one_document_at_once_meet_in_one_person() -> None:
    wife, _ = couple()
    document = documents.read(DocumentKind.RESIDENT_ID, wife.number)

    async def register() -> uuid.UUID:
        async with db.begin() as session:
            person, _ = await identity.register_person(
                session, name=wife.name, document=document, birth_date=wife.born, sex=Sex.FEMALE
            )
            return person.id

    assert len(set(await asyncio.gather(*(register() for _ in range(10))))) == 1
    async with db.begin() as session:
        assert await session.scalar(select(func.count()).select_from(Person)) == 1


# Sign-ins


async def test_a_refresh_token_used_twice_at_once_makes_one_pair_and_ends_the_sign_in() -> None:
    async with db.begin() as session:
        account = ResidentAccount(id=new_id(), openid=secrets.token_hex(8), created_at=clock.now())
        session.add(account)
    actor = Actor(Role.RESIDENT, id=account.id)
    async with db.begin() as session:
        first = await sign_ins.start(
            session, actor, door=identity.DOOR, account_id=account.id, device="phone"
        )

    def refresh(token: str) -> Awaitable[sign_ins.TokenPair]:
        return sign_ins.refresh(door=identity.DOOR, token=token)

    answers = await asyncio.gather(*[refresh(first.refresh_token) for _ in range(5)], return_exceptions=True)
    pairs = [answer for answer in answers if isinstance(answer, sign_ins.TokenPair)]
    assert Counter(type(answer) for answer in answers) == {
        sign_ins.TokenPair: 1,
        sign_ins.RefreshTokenRefused: 4,
    }
    # Somebody holds a copy: the pair that was made is worth nothing either.
    with pytest.raises(sign_ins.RefreshTokenRefused):
        await refresh(pairs[0].refresh_token)
