"""Reminders by WeChat subscription message: due ones queued once, each sent at most once."""

import uuid
from datetime import timedelta

from sqlalchemy import exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import begin
from app.integrations import wechat
from app.models.appointments import Appointment, AppointmentStatus, Clinic, HealthcareService
from app.models.identity import ResidentAccount
from app.models.messages import MessageCredit, MessageKind, MessageStatus, SubscriptionMessage
from app.services import audit, idempotency, queue, wechat_token
from app.services.idempotency import Key
from app.settings import settings

REMIND_BEFORE = timedelta(hours=24)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)
BATCH = 500
JOB = "send_message"


async def add_credit(db: AsyncSession, actor: Actor, *, key: Key, kind: MessageKind) -> int:
    """The resident tapped "allow" once: one more message of this kind may be sent. Returns how many may."""
    if not await idempotency.claim(db, actor, key):
        query = select(MessageCredit.remaining)
        known = query.where(MessageCredit.account_id == actor.account_id, MessageCredit.kind == kind)
        return await db.scalar(known) or 0
    values = {"account_id": actor.account_id, "kind": kind, "remaining": 1}
    one_more = {"remaining": func.least(MessageCredit.remaining + 1, 20)}
    statement = (
        insert(MessageCredit)
        .values(values)
        .on_conflict_do_update(constraint="pk_message_credit", set_=one_more)
    )
    remaining = await db.scalar(statement.returning(MessageCredit.remaining))
    await audit.record(db, actor, "allow_message", "message_credit")
    return remaining or 0


async def queue_due(db: AsyncSession) -> int:
    """Write a reminder for every appointment of the coming day whose booker agreed to one and has none yet,
    and a job for every message whose time has come: a job lost with its worker is made again here."""
    await db.execute(_write_due())
    due = (
        select(SubscriptionMessage.id)
        .where(SubscriptionMessage.status == MessageStatus.QUEUED)
        .where(SubscriptionMessage.next_attempt_at <= clock.now())
    )
    ids = list(await db.scalars(due.order_by(SubscriptionMessage.next_attempt_at).limit(BATCH)))
    for id in ids:
        await queue.enqueue(db, JOB, {"message_id": str(id)}, once=f"{JOB}:{id}")
    return len(ids)


def _write_due() -> Insert:
    now, kind = clock.now(), MessageKind.APPOINTMENT_REMINDER
    reminded = exists().where(
        SubscriptionMessage.appointment_id == Appointment.id, SubscriptionMessage.kind == kind
    )
    due = (
        select(
            func.gen_random_uuid(),
            Appointment.account_id,
            Appointment.id,
            literal(kind.value),
            literal(MessageStatus.QUEUED.value),
            literal(now),
            literal(now),
        )
        .join(MessageCredit, MessageCredit.account_id == Appointment.account_id)
        .where(MessageCredit.kind == kind, MessageCredit.remaining > 0)
        .where(Appointment.status == AppointmentStatus.BOOKED, ~reminded)
        .where(Appointment.starts_at > now, Appointment.starts_at <= now + REMIND_BEFORE)
    )
    columns = ["id", "account_id", "appointment_id", "kind", "status", "created_at", "next_attempt_at"]
    return insert(SubscriptionMessage).from_select(columns, due).on_conflict_do_nothing()


async def send(message_id: uuid.UUID) -> None:
    """Three steps: take the message and one credit; call WeChat with no transaction open; record the outcome.
    Only a refusal that surely sent nothing is tried again, ever more rarely, until the appointment begins."""
    taken = await _take(message_id)
    if taken is None:
        return
    openid, data = taken
    try:
        await wechat_token.call(
            lambda token: wechat.send_subscription_message(
                token, openid=openid, template_id=settings().wechat_reminder_template,
                page=f"pages/appointment?message={message_id}", data=data,
            )
        )  # fmt: skip
    except wechat.MessageRefused as refusal:
        await _record(message_id, MessageStatus.REFUSED, refusal.code)
    except wechat.MessageDelayed as delay:
        await _record(
            message_id, MessageStatus.SENDING if delay.maybe_sent else MessageStatus.QUEUED, delay.code
        )
    except wechat.WechatUnavailable:  # no token: nothing was sent
        await _record(message_id, MessageStatus.QUEUED, None)
    else:
        await _record(message_id, MessageStatus.SENT, None)


async def _take(message_id: uuid.UUID) -> tuple[str, dict[str, str]] | None:
    """The addressee and the text, if this message still waits and its appointment still stands."""
    async with begin() as db:
        message = await db.scalar(
            update(SubscriptionMessage)
            .where(SubscriptionMessage.id == message_id, SubscriptionMessage.status == MessageStatus.QUEUED)
            .values(status=MessageStatus.SENDING, attempts=SubscriptionMessage.attempts + 1)
            .returning(SubscriptionMessage)
        )
        if message is None:
            return None
        appointment = await db.get_one(Appointment, message.appointment_id)
        credit = (
            update(MessageCredit)
            .where(MessageCredit.account_id == message.account_id, MessageCredit.kind == message.kind)
            .where(MessageCredit.remaining > 0)
            .values(remaining=MessageCredit.remaining - 1)
            .returning(MessageCredit.remaining)
        )
        account = await db.get_one(ResidentAccount, message.account_id)
        stands = appointment.status is AppointmentStatus.BOOKED and appointment.starts_at > clock.now()
        # A binding that was released is no longer told where the couple goes.
        theirs = account.person_id in {appointment.person_id, appointment.spouse_id} - {None}
        if not stands or not theirs or await db.scalar(credit) is None:
            message.status = MessageStatus.REFUSED
            return None
        return account.openid, await _text(db, appointment)


async def _text(db: AsyncSession, appointment: Appointment) -> dict[str, str]:
    """What, where, when. Never a name, a result or a diagnosis: a phone lies open on a table."""
    service = await db.get_one(HealthcareService, appointment.service_id)
    clinic = await db.get_one(Clinic, appointment.clinic_id)
    starts = appointment.starts_at.astimezone(clock.SHANGHAI)
    return {
        "thing1": service.zh,
        "thing2": clinic.name,
        "time3": starts.strftime("%Y-%m-%d %H:%M"),
        "thing4": "请携带身份证，按检查须知做好准备",
    }


async def _record(message_id: uuid.UUID, status: MessageStatus, code: int | None) -> None:
    """The outcome. What was not sent gives its credit back."""
    async with begin() as db:
        message = await db.get_one(SubscriptionMessage, message_id, with_for_update=True)
        message.status, message.error_code = status, code
        message.sent_at = clock.now() if status is MessageStatus.SENT else None
        if status is MessageStatus.QUEUED:
            message.next_attempt_at = clock.now() + min(
                FIRST_WAIT * 2 ** (message.attempts - 1), LONGEST_WAIT
            )
            await db.execute(
                update(MessageCredit)
                .where(MessageCredit.account_id == message.account_id, MessageCredit.kind == message.kind)
                .values(remaining=MessageCredit.remaining + 1)
            )
        await audit.record(db, Actor.system("reminders"), status, "subscription_message", message_id)
