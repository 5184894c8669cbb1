"""Notices by WeChat subscription message: each sent at most once, paced, not at night."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin
from app.integrations import wechat
from app.models.appointments import Appointment
from app.models.catalogue import HealthcareService
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.messages import InboxMessage, MessageStatus, SubscriptionMessage
from app.services import audit, queue, wechat_token
from app.services.messages import credits, reminders, texts, timing

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
#: So many are under way at a time: a closed morning does not use up what WeChat takes in a minute.
BATCH = 500
JOB = "send_message"
NO_CONSENT = 43101


@dataclass(frozen=True, slots=True)
class Outgoing:
    openid: str
    template_id: str
    page: str
    data: dict[str, str]


async def queue_due(db: AsyncSession) -> int:
    """Tell the reminders that are due, and queue a job for every message whose time has come: a job lost with its
    worker is made again here."""
    await reminders.tell_due(db)
    due = (
        select(SubscriptionMessage.id)
        .where(SubscriptionMessage.status == MessageStatus.QUEUED)
        .where(SubscriptionMessage.next_attempt_at <= clock.now())
    )
    ids = list(await db.scalars(due.order_by(SubscriptionMessage.next_attempt_at).limit(BATCH)))
    await queue.enqueue_all(db, JOB, {f"{JOB}:{id}": {"message_id": str(id)} for id in ids})
    return len(ids)


async def send(message_id: uuid.UUID) -> None:
    """Three steps: take the message and one credit; call WeChat with no transaction open; record the outcome.
    Only a refusal that surely sent nothing is tried again, ever more rarely, until it is pointless."""
    taken = await _take(message_id)
    if taken is None:
        return
    try:
        await wechat_token.call(
            lambda token: wechat.send_subscription_message(
                token, openid=taken.openid, template_id=taken.template_id, page=taken.page, data=taken.data
            )
        )
    except wechat.MessageRefused as refusal:
        await _record(message_id, taken.template_id, MessageStatus.REFUSED, refusal.code)
    except wechat.MessageDelayed as delay:
        status = MessageStatus.SENDING if delay.maybe_sent else MessageStatus.QUEUED
        await _record(message_id, taken.template_id, status, delay.code)
    except wechat.WechatUnavailable:  # no token: nothing was sent
        await _record(message_id, taken.template_id, MessageStatus.QUEUED, None)
    else:
        await _record(message_id, taken.template_id, MessageStatus.SENT, None)


async def _take(message_id: uuid.UUID) -> Outgoing | None:
    """The addressee and the text, if this message still waits, may be sent now and is still worth it."""
    async with begin() as db:
        waiting = (
            select(SubscriptionMessage)
            .where(SubscriptionMessage.id == message_id, SubscriptionMessage.status == MessageStatus.QUEUED)
            .with_for_update()
        )
        message = await db.scalar(waiting)
        if message is None:
            return None
        notice, now = await db.get_one(InboxMessage, message.inbox_message_id), clock.now()
        openid = await _addressee(db, message, notice)
        template_id = texts.template_of(notice.kind)
        if openid is None or template_id is None or not await _stands(db, notice, now):
            message.status = MessageStatus.DROPPED
            return None
        morning = timing.waits_until(notice, now)
        if morning is not None:
            message.next_attempt_at = morning
            return None
        if not await credits.use(db, message.account_id, template_id):
            await db.delete(message)  # as if told without a credit: the next tap may send it
            return None
        message.status, message.attempts = MessageStatus.SENDING, message.attempts + 1
        data = texts.wechat_data(notice, discreet=await _discreet(db, notice))
        return Outgoing(openid, template_id, texts.page_of(notice), data)


async def _addressee(db: AsyncSession, message: SubscriptionMessage, notice: InboxMessage) -> str | None:
    """A binding that was released hears nothing more; nor does anybody of who died or is to be erased."""
    query = (
        select(ResidentAccount.openid)
        .join(Person, Person.id == ResidentAccount.person_id)
        .where(ResidentAccount.id == message.account_id, Person.id == notice.person_id)
        .where(Person.died_on.is_(None), Person.erased_at.is_(None), Person.restricted_at.is_(None))
    )
    return await db.scalar(query)


async def _stands(db: AsyncSession, notice: InboxMessage, now: datetime) -> bool:
    """It is not pointless yet, and the appointment that it is about is still as it says."""
    states = texts.catalogue().kinds[notice.kind].as_long_as
    if timing.ends(notice) <= now:
        return False
    if not states or notice.entity != "appointment":
        return True
    appointment = await db.get(Appointment, notice.entity_id)
    if appointment is None or appointment.status not in states:
        return False
    return appointment.starts_at == texts.moment(notice.values, "time")


async def _discreet(db: AsyncSession, notice: InboxMessage) -> bool:
    """What a service is called, and the clinic that gives it, tells of somebody's health, unless the service is known
    not to."""
    sensitive = func.bool_or(HealthcareService.sensitive)
    named = select(sensitive).where(HealthcareService.zh == notice.values.get("service"))
    return await db.scalar(named) is not False


async def _record(message_id: uuid.UUID, template_id: str, status: MessageStatus, code: int | None) -> None:
    """The outcome. What was surely not sent gives its credit back, but where WeChat knows of none."""
    async with begin() as db:
        message = await db.get_one(SubscriptionMessage, message_id, with_for_update=True)
        message.status, message.error_code = status, code
        message.sent_at = clock.now() if status is MessageStatus.SENT else None
        if status is MessageStatus.QUEUED:
            wait = FIRST_WAIT * 2 ** min(message.attempts - 1, 10)
            message.next_attempt_at = clock.now() + min(wait, LONGEST_WAIT)
        if code == NO_CONSENT:
            await credits.none_left(db, message.account_id, template_id)
        elif status in (MessageStatus.QUEUED, MessageStatus.REFUSED):
            await credits.agreed(db, message.account_id, template_id)
        await audit.record(db, Actor.system("messages"), status, "subscription_message", message_id)
