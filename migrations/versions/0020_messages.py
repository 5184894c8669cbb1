"""messages by template, quiet hours, delivery"""

import sqlalchemy as sa
from alembic import op

from app.settings import settings

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# What was to be sent has its place in the inbox, of the person whose account it went to where that is still bound.
INTO_THE_INBOX = """
INSERT INTO inbox_message (id, person_id, kind, entity, entity_id, once, values, created_at)
SELECT gen_random_uuid(), coalesce(account.person_id, appointment.person_id), 'appointment_reminder', 'appointment',
       appointment.id, '',
       jsonb_build_object('service', service.zh, 'place', clinic.name, 'time', appointment.starts_at),
       min(message.created_at)
  FROM subscription_message AS message
  JOIN appointment ON appointment.id = message.appointment_id
  JOIN resident_account AS account ON account.id = message.account_id
  JOIN healthcare_service AS service ON service.id = appointment.service_id
  JOIN clinic ON clinic.id = appointment.clinic_id
 GROUP BY 2, appointment.id, service.zh, clinic.name
ON CONFLICT DO NOTHING
"""
REFER_TO_IT = """
UPDATE subscription_message AS message SET inbox_message_id = inbox.id
  FROM resident_account AS account, appointment, inbox_message AS inbox
 WHERE account.id = message.account_id AND appointment.id = message.appointment_id
   AND inbox.person_id = coalesce(account.person_id, appointment.person_id)
   AND inbox.kind = 'appointment_reminder' AND inbox.entity_id = appointment.id AND inbox.once = ''
"""
STATUSES = "status IN ('queued', 'sending', 'sent', 'refused', 'dropped')"


def upgrade() -> None:
    outbox()
    credits_by_template()


def outbox() -> None:
    table = "subscription_message"
    op.add_column(table, sa.Column("inbox_message_id", sa.Uuid()))
    op.execute(INTO_THE_INBOX)
    op.execute(REFER_TO_IT)
    op.alter_column(table, "inbox_message_id", nullable=False)
    # With them go their constraints.
    op.drop_column(table, "appointment_id")
    op.drop_column(table, "kind")
    op.create_foreign_key(
        "fk_subscription_message_inbox_message_id_inbox_message", table, "inbox_message",
        ["inbox_message_id"], ["id"],
    )  # fmt: skip
    name = "uq_subscription_message_inbox_message_id_account_id"
    op.create_unique_constraint(name, table, ["inbox_message_id", "account_id"])
    op.create_index("ix_subscription_message_account_id", table, ["account_id"])
    op.drop_constraint(op.f("ck_subscription_message_messagestatus"), table)
    op.create_check_constraint(op.f("ck_subscription_message_messagestatus"), table, STATUSES)


def credits_by_template() -> None:
    """WeChat counts by template: an id that an operator replaces has none left."""
    table = "message_credit"
    template = settings().wechat_templates.get("appointment_reminder", "none")
    op.add_column(table, sa.Column("template_id", sa.Text()))
    op.execute(sa.text("UPDATE message_credit SET template_id = :id").bindparams(id=template))
    op.drop_column(table, "kind")
    op.alter_column(table, "template_id", nullable=False)
    op.create_primary_key(op.f("pk_message_credit"), table, ["account_id", "template_id"])
