"""What residents are told: the inbox, and subscription messages by WeChat."""

from app.services.messages.inbox import tell
from app.services.messages.subscriptions import JOB, add_credit, queue_due, send

__all__ = ["JOB", "add_credit", "queue_due", "send", "tell"]
