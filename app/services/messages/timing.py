"""When somebody may be disturbed with a notice, and until when that is worth it."""

from datetime import datetime, timedelta

from app import clock
from app.models.messages import InboxMessage
from app.services.messages.texts import catalogue, moment
from app.settings import settings


def ends(notice: InboxMessage) -> datetime:
    """Afterwards a message is pointless: the appointment has begun, the offer is over, nobody remembers."""
    kind = catalogue().kinds[notice.kind]
    latest = notice.created_at + timedelta(days=kind.days)
    said = moment(notice.values, kind.ends) if kind.ends else None
    return min(latest, said) if said else latest


def waits_until(notice: InboxMessage, now: datetime) -> datetime | None:
    """The end of the quiet hours, if it can wait for that."""
    morning = end_of_quiet(now)
    if morning is None:
        return None
    kind = catalogue().kinds[notice.kind]
    deadline = moment(notice.values, kind.urgent) if kind.urgent else None
    if deadline and deadline - timedelta(hours=kind.urgent_hours) < morning:
        return None
    return morning


def end_of_quiet(now: datetime) -> datetime | None:
    """When these quiet hours end; None outside of them."""
    first, last = settings().quiet_from, settings().quiet_to
    local = now.astimezone(clock.SHANGHAI)
    at = local.time()
    quiet = first <= at < last if first <= last else at >= first or at < last
    if not quiet:
        return None
    day = local.date() + timedelta(days=int(at >= last))
    return datetime.combine(day, last, clock.SHANGHAI)
