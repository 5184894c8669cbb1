"""Reminders: queued once, sent at most once, never after a cancellation, never without consent."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from app import clock
from app.access import Actor
from app.models.appointments import Appointment, AppointmentStatus
from app.models.identity import ResidentAccount, Role
from app.models.messages import MessageCredit, MessageKind, MessageStatus, SubscriptionMessage
from app.services import messages
from app.services.idempotency import Key
from tests.factories.appointments import attended
from tests.residents import control

pytestmark = pytest.mark.usefixtures("connection", "wechat")
KIND = MessageKind.APPOINTMENT_REMINDER


@pytest.fixture
async def appointment(session):
    """Booked for tomorrow, by somebody who allowed one reminder here and at WeChat."""
    made = await attended(session)
    row = await session.get(Appointment, getattr(made, "appointment", made).id)
    row.status, row.starts_at = AppointmentStatus.BOOKED, clock.now() + timedelta(hours=20)
    row.ends_at = row.starts_at + timedelta(hours=1)
    await session.commit()
    await messages.add_credit(
        session, Actor(Role.RESIDENT, id=row.account_id), key=Key(uuid.uuid4(), b"tap"), kind=KIND
    )
    await session.commit()
    openid = await session.scalar(select(ResidentAccount.openid).where(ResidentAccount.id == row.account_id))
    await control("consent", {"openid": openid, "template_id": "reminder-template", "count": 1})
    return row


async def queue_and_send(session):
    await messages.queue_due(session)
    await session.commit()
    ids = list(await session.scalars(select(SubscriptionMessage.id)))
    for id in ids:
        await messages.send(id)
    session.expire_all()
    return list(await session.scalars(select(SubscriptionMessage)))


async def later(session):
    """The time of the next attempt has come."""
    await session.execute(update(SubscriptionMessage).values(next_attempt_at=clock.now()))
    await session.commit()


async def sent_to(session, appointment):
    import httpx

    from app.settings import settings

    await session.refresh(appointment)
    openid = await session.scalar(
        select(ResidentAccount.openid).where(ResidentAccount.id == appointment.account_id)
    )
    async with httpx.AsyncClient(base_url=settings().wechat_base_url, trust_env=False) as http:
        return [m for m in (await http.get("/control/messages")).json() if m["touser"] == openid]


async def test_one_reminder_is_sent_once_and_uses_one_credit(session, appointment):
    for _ in range(3):
        rows = await queue_and_send(session)
    assert [(row.status, row.attempts) for row in rows] == [(MessageStatus.SENT, 1)]
    assert len(await sent_to(session, appointment)) == 1
    assert await session.scalar(select(MessageCredit.remaining)) == 0


async def test_queueing_twice_makes_one_job(session, appointment):
    await messages.queue_due(session)
    await messages.queue_due(session)
    assert await session.scalar(text("SELECT count(*) FROM pgqueuer")) == 1


async def test_nothing_is_written_without_consent(session, appointment):
    await session.execute(update(MessageCredit).values(remaining=0))
    assert await queue_and_send(session) == []


async def test_nothing_is_sent_after_a_cancellation(session, appointment):
    await messages.queue_due(session)
    await session.execute(update(Appointment).values(status=AppointmentStatus.CANCELLED))
    await session.commit()
    rows = await queue_and_send(session)
    assert [row.status for row in rows] == [MessageStatus.REFUSED]
    assert await sent_to(session, appointment) == []
    assert await session.scalar(select(MessageCredit.remaining)) == 1


async def test_busy_is_tried_again_and_the_credit_comes_back(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": -1, "times": 1})
    rows = await queue_and_send(session)
    assert [row.status for row in rows] == [MessageStatus.QUEUED]
    assert await session.scalar(select(MessageCredit.remaining)) == 1
    await later(session)
    rows = await queue_and_send(session)
    assert [(row.status, row.attempts) for row in rows] == [(MessageStatus.SENT, 2)]


async def test_an_outage_of_hours_loses_no_reminder(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": -1, "times": 9})
    waits = []
    for _ in range(9):
        (row,) = await queue_and_send(session)
        assert row.status is MessageStatus.QUEUED
        waits.append(round((row.next_attempt_at - clock.now()).total_seconds() / 60))
        await later(session)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.SENT]
    assert len(await sent_to(session, appointment)) == 1


async def test_between_two_attempts_no_job_is_made(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": -1, "times": 1})
    await queue_and_send(session)
    await session.execute(text("DELETE FROM pgqueuer"))
    assert await messages.queue_due(session) == 0
    await later(session)
    assert await messages.queue_due(session) == 1


async def test_when_the_appointment_has_begun_the_reminder_is_given_up(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": -1, "times": 1})
    await queue_and_send(session)
    await session.execute(update(Appointment).values(starts_at=clock.now()))
    await later(session)
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.REFUSED]
    assert await sent_to(session, appointment) == []


async def test_no_consent_left_at_wechat_is_final(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": 43101, "times": 1})
    rows = await queue_and_send(session)
    assert [(row.status, row.error_code) for row in rows] == [(MessageStatus.REFUSED, 43101)]
    await queue_and_send(session)
    assert await sent_to(session, appointment) == []


async def test_the_text_names_no_person(session, appointment):
    await queue_and_send(session)
    (message,) = await sent_to(session, appointment)
    assert message["data"]["thing1"]["value"] == "免费孕前优生健康检查"
    assert set(message["data"]) == {"thing1", "thing2", "time3", "thing4"}


async def test_an_appointment_far_ahead_waits(session, appointment):
    appointment.starts_at = clock.now() + timedelta(hours=30)
    appointment.ends_at = appointment.starts_at + timedelta(hours=1)
    await session.commit()
    assert await queue_and_send(session) == []
    assert await session.scalar(select(func.count()).select_from(SubscriptionMessage)) == 0
