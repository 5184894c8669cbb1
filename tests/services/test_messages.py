"""Reminders: queued once, sent at most once, never after a cancellation, never without consent."""

import uuid
from datetime import datetime, time, timedelta

import httpx
import pytest
from sqlalchemy import delete, func, select, text, update

from app import clock
from app.access import Actor
from app.models.appointments import Appointment, AppointmentStatus
from app.models.households import Person
from app.models.identity import ResidentAccount, Role
from app.models.messages import InboxMessage, MessageCredit, MessageStatus, NoticeKind, SubscriptionMessage
from app.services import messages
from app.services.idempotency import Key
from app.services.messages.credits import NoTemplate
from app.settings import settings
from tests.factories.appointments import attended, service
from tests.residents import control

pytestmark = pytest.mark.usefixtures("connection", "wechat")
KIND = NoticeKind.APPOINTMENT_REMINDER


@pytest.fixture(autouse=True)
def _any_hour(monkeypatch):
    """Whenever the tests run, it is day."""
    monkeypatch.setenv("NUANXIN_QUIET_TO", "21:00")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


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
    assert [row.status for row in rows] == [MessageStatus.DROPPED]
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
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.DROPPED]
    assert await sent_to(session, appointment) == []


async def test_no_consent_left_at_wechat_is_final(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": 43101, "times": 1})
    rows = await queue_and_send(session)
    assert [(row.status, row.error_code) for row in rows] == [(MessageStatus.REFUSED, 43101)]
    await queue_and_send(session)
    assert await sent_to(session, appointment) == []


async def test_a_consent_that_wechat_does_not_know_is_not_counted_on_any_more(session, appointment):
    await session.execute(update(MessageCredit).values(remaining=3))
    await session.commit()
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": 43101, "times": 1})
    await queue_and_send(session)
    assert await session.scalar(select(MessageCredit.remaining)) == 0


async def test_a_refusal_for_another_reason_gives_the_credit_back(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "errcode": 47003, "times": 1})
    rows = await queue_and_send(session)
    assert [(row.status, row.error_code) for row in rows] == [(MessageStatus.REFUSED, 47003)]
    assert await session.scalar(select(MessageCredit.remaining)) == 1


async def test_after_an_answer_that_was_lost_nothing_is_sent_again(session, appointment):
    await control("fail", {"path": "/cgi-bin/message/subscribe/send", "status": 502, "times": 1})
    for _ in range(2):
        rows = await queue_and_send(session)
        await later(session)
    assert [(row.status, row.attempts) for row in rows] == [(MessageStatus.SENDING, 1)]
    assert await sent_to(session, appointment) == []


@pytest.mark.parametrize("gone", ["released", "died", "restricted"])
async def test_who_is_no_longer_there_hears_nothing(session, appointment, gone):
    await messages.queue_due(session)
    if gone == "released":
        await session.execute(update(ResidentAccount).values(person_id=None))
    else:
        values = {"died_on": clock.today()} if gone == "died" else {"restricted_at": clock.now()}
        await session.execute(update(Person).where(Person.id == appointment.person_id).values(values))
    await session.commit()
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.DROPPED]
    assert await sent_to(session, appointment) == []


async def test_an_appointment_that_was_moved_is_reminded_of_at_its_new_time(session, appointment):
    await messages.queue_due(session)
    appointment.starts_at += timedelta(days=5)
    appointment.ends_at += timedelta(days=5)
    await session.commit()
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.DROPPED]
    assert await sent_to(session, appointment) == []
    told = select(func.count()).where(InboxMessage.person_id == appointment.person_id)
    assert await session.scalar(told) == 1
    with pytest.MonkeyPatch.context() as patched:
        in_five_days = clock.now() + timedelta(days=5)
        patched.setattr(clock, "now", lambda: in_five_days)
        await messages.queue_due(session)
        await messages.queue_due(session)
    assert await session.scalar(told) == 2


async def test_both_spouses_find_the_reminder_in_the_inbox_once(session, appointment):
    both = sorted([appointment.person_id, appointment.spouse_id])
    for _ in range(2):
        await queue_and_send(session)
    told = list(await session.scalars(select(InboxMessage.person_id).where(InboxMessage.kind == KIND)))
    assert sorted(told) == both


async def test_at_night_a_reminder_waits_for_the_morning_unless_it_would_be_too_late(
    session, appointment, monkeypatch
):
    monkeypatch.setenv("NUANXIN_QUIET_TO", "08:00")
    settings.cache_clear()
    night = datetime.combine(clock.today(), time(23), clock.SHANGHAI)
    for starts, status in ((time(15), MessageStatus.QUEUED), (time(8, 30), MessageStatus.SENT)):
        appointment.starts_at = datetime.combine(night.date() + timedelta(days=1), starts, clock.SHANGHAI)
        appointment.ends_at = appointment.starts_at + timedelta(hours=1)
        await session.execute(delete(SubscriptionMessage))
        await session.execute(delete(InboxMessage))
        await session.commit()
        with monkeypatch.context() as patched:
            patched.setattr(clock, "now", lambda: night)
            [row] = await queue_and_send(session)
        assert row.status is status
        if status is MessageStatus.QUEUED:
            assert row.next_attempt_at.astimezone(clock.SHANGHAI).time() == time(8)
            assert row.attempts == 0


async def test_a_tap_after_the_notice_still_sends_it(session, appointment):
    actor = Actor(Role.RESIDENT, id=appointment.account_id)
    await session.execute(update(MessageCredit).values(remaining=0))
    await session.commit()
    assert await queue_and_send(session) == []
    assert await messages.add_credit(session, actor, key=Key(uuid.uuid4(), b"later"), kind=KIND) == 1
    await session.commit()
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.SENT]


async def test_what_found_no_credit_left_is_sent_after_the_next_tap(session, appointment):
    """Two notices were told while there was one credit."""
    actor = Actor(Role.RESIDENT, id=appointment.account_id)
    await messages.queue_due(session)
    await session.execute(update(MessageCredit).values(remaining=0))
    await session.commit()
    assert await queue_and_send(session) == []
    await messages.add_credit(session, actor, key=Key(uuid.uuid4(), b"later"), kind=KIND)
    await session.commit()
    assert [row.status for row in await queue_and_send(session)] == [MessageStatus.SENT]


async def test_a_kind_without_a_template_is_in_the_inbox_only(session, appointment):
    actor = Actor(Role.RESIDENT, id=appointment.account_id)
    with pytest.raises(NoTemplate):
        await messages.add_credit(
            session, actor, key=Key(uuid.uuid4(), b"tap"), kind=NoticeKind.REPORT_RELEASED
        )
    await messages.tell(
        session, NoticeKind.REPORT_RELEASED, [appointment.person_id], entity="diagnostic_report",
        entity_id=uuid.uuid4(), values={"service": "两癌筛查", "place": "优生门诊"},
    )  # fmt: skip
    assert list(await session.scalars(select(SubscriptionMessage.id))) == []
    assert await messages.unread(session, actor) == 1


async def test_what_is_not_sensitive_is_called_by_its_name(session, appointment):
    lecture = await service(session, "health_lecture")
    appointment.service_id = lecture.id
    await session.commit()
    await queue_and_send(session)
    (message,) = await sent_to(session, appointment)
    assert message["data"]["thing1"]["value"] == "优生优育知识讲座"
    assert message["data"]["thing2"]["value"] == "优生门诊"


async def test_the_text_names_no_person(session, appointment):
    await queue_and_send(session)
    (message,) = await sent_to(session, appointment)
    assert message["data"]["thing1"]["value"] == "健康服务"
    assert message["data"]["thing2"]["value"] == "预约的服务机构"
    assert set(message["data"]) == {"thing1", "thing2", "time3", "thing4"}


async def test_an_appointment_far_ahead_waits(session, appointment):
    appointment.starts_at = clock.now() + timedelta(hours=30)
    appointment.ends_at = appointment.starts_at + timedelta(hours=1)
    await session.commit()
    assert await queue_and_send(session) == []
    assert await session.scalar(select(func.count()).select_from(SubscriptionMessage)) == 0
