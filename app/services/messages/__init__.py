"""What residents are told: the inbox, and subscription messages by WeChat."""

from app.services.messages.credits import add_credit, overview
from app.services.messages.inbox import (
    Notice,
    listed,
    mark_all_read,
    mark_read,
    purge,
    tell,
    tell_many,
    unread,
)
from app.services.messages.subscriptions import JOB, queue_due, send
from app.services.messages.texts import prepare

__all__ = [
    "JOB", "Notice", "add_credit", "listed", "mark_all_read", "mark_read", "overview", "prepare", "purge", "queue_due",
    "send", "tell", "tell_many", "unread",
]  # fmt: skip
