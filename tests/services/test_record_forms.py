from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.errors import NotFound
from app.models.audit import AuditEvent
from app.models.consents import Consent
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus
from app.services import reference_data
from app.services.results import forms
from app.services.results.forms import FormState
from tests.factories import appointments as given
from tests.factories.appointments import Attended
from tests.factories.results import NORMAL_HUSBAND, NORMAL_WIFE, body, post

EMPTY, UNFINISHED, FINISHED = FormState.EMPTY, FormState.UNFINISHED, FormState.FINISHED


def complete(role: str) -> list[dict[str, Any]]:
    """A value for everything that the catalogue asks of this spouse."""
    (service,) = [one for one in reference_data.services() if one["code"] == given.PRE_PREGNANCY]
    return [
        {"code": one["code"], "value": one["codes"][0]}
        if one["value_type"] == "code"
        else {"code": one["code"], "value": 5, "unit": one["unit"]}
        for item in service["items"]
        for one in item["observations"]
        if one.get("applies_to", item["applies_to"]) in (role, "both")
    ]


async def states(session: AsyncSession, attended: Attended) -> dict[int, FormState]:
    found = await forms.of_appointment(session, attended.partner, appointment_id=attended.appointment.id)
    return {form.number: form.state for form in found.forms}


async def test_from_nothing_to_the_last_form(session: AsyncSession) -> None:
    attended = await given.attended(session)
    numbers = [*range(1, 10), 14, 15, 16, 17]
    assert await states(session, attended) == dict.fromkeys(numbers, EMPTY) | {1: UNFINISHED}
    for person in (attended.spouses.wife, attended.spouses.husband):
        person.phone = "13812345678"
    await session.flush()

    posted = body(attended, status="preliminary")
    await post(session, attended, posted)
    begun = await states(session, attended)
    assert {number for number, state in begun.items() if state is UNFINISHED} == {2, 3, 8, 9, 15}
    assert begun[1] is FINISHED

    full = {"wife": complete("wife"), "husband": complete("husband")}
    await post(session, attended, posted | full | {"version": 2, "status": "preliminary"})
    assert (await states(session, attended))[8] is UNFINISHED  # not released yet
    await post(session, attended, posted | full | {"version": 3, "status": "final"})
    done = await states(session, attended)
    assert {number for number, state in done.items() if state is not FINISHED} == {16, 17}

    follow_up = await session.scalar(
        select(FollowUp).where(
            FollowUp.kind == FollowUpKind.EARLY_PREGNANCY, FollowUp.person_id == attended.spouses.wife.id
        )
    )
    assert follow_up is not None
    follow_up.status = FollowUpStatus.IN_PROGRESS
    await session.flush()
    assert (await states(session, attended))[16] is UNFINISHED
    follow_up.status = FollowUpStatus.DONE
    await session.flush()
    assert (await states(session, attended))[16] is FINISHED

    await post(
        session, attended, posted | {"version": 4, "status": "entered_in_error", "wife": [], "husband": []}
    )
    assert (await states(session, attended))[8] is EMPTY


async def test_what_is_missing_is_named(session: AsyncSession) -> None:
    attended = await given.attended(session)
    await post(session, attended, body(attended, wife=NORMAL_WIFE, husband=NORMAL_HUSBAND))
    found = await forms.of_appointment(session, attended.partner, appointment_id=attended.appointment.id)
    general = next(form for form in found.forms if form.number == 3)
    assert (general.state, general.zh) == (UNFINISHED, "丈夫一般情况")
    assert "diabetes_history" in general.missing
    assert "smoking" not in general.missing


async def test_forms_that_only_a_province_has(session: AsyncSession) -> None:
    hospital = await given.clinic(session, "440106000000")
    attended = await given.attended(session, hospital=hospital)
    numbers = set(await states(session, attended))
    assert numbers == set(range(1, 18))


async def test_the_consent_as_the_national_system_codes_it(session: AsyncSession) -> None:
    attended = await given.attended(session)

    async def code() -> int | None:
        found = await forms.of_appointment(session, attended.partner, appointment_id=attended.appointment.id)
        return found.consent

    assert await code() == 0
    for person, expected in ((attended.spouses.wife, 1), (attended.spouses.husband, None)):
        for consent in await session.scalars(select(Consent).where(Consent.person_id == person.id)):
            consent.withdrawn_at = clock.now()
        await session.flush()
        assert await code() == expected


async def test_a_worker_needs_a_purpose_and_others_find_nothing(session: AsyncSession) -> None:
    attended = await given.attended(session)
    worker = await given.worker(session)
    await forms.of_appointment(session, worker, appointment_id=attended.appointment.id, purpose="follow_up")
    read = await session.execute(
        select(AuditEvent.person_id, AuditEvent.purpose).where(
            AuditEvent.action == "read_forms", AuditEvent.actor_id == worker.id
        )
    )
    assert {tuple(one) for one in read} == {
        (attended.spouses.wife.id, "follow_up"),
        (attended.spouses.husband.id, "follow_up"),
    }
    for other in ((await given.clinic(session)).actor, await given.worker(session, "640200000000")):
        with pytest.raises(NotFound):
            await forms.of_appointment(session, other, appointment_id=attended.appointment.id)


async def test_a_service_without_record_forms_has_none(session: AsyncSession) -> None:
    attended = await given.attended(session, service_code=given.FERTILITY)
    assert await states(session, attended) == {}
