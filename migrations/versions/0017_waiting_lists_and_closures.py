"""waiting lists and closures"""

import sqlalchemy as sa
from alembic import op

from app.schema import install

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KINDS = (
    "appointment_reminder", "appointment_cancelled", "appointment_moved", "place_offered", "offer_expired",
    "closed_another_offered", "closed_none_free", "waiting_ended", "invitation", "report_released", "report_changed",
    "contact_requested", "supply_ready", "certificate_ready",
)  # fmt: skip


def upgrade() -> None:
    lines()
    closures()
    kind = "kind IN (" + ", ".join(f"'{kind}'" for kind in KINDS) + ")"
    op.drop_constraint(op.f("ck_inbox_message_kind"), "inbox_message")
    op.create_check_constraint(op.f("ck_inbox_message_kind"), "inbox_message", kind)


def lines() -> None:
    op.alter_column("waitlist_entry", "account_id", nullable=True)
    op.add_column(
        "waitlist_entry", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="1")
    )
    op.create_check_constraint(
        op.f("ck_waitlist_entry_priority"), "waitlist_entry", "priority BETWEEN 0 AND 1"
    )
    name = "ix_waitlist_entry_clinic_id_service_id_waiting"
    op.drop_index(name)
    op.create_index(
        name, "waitlist_entry", ["clinic_id", "service_id", "priority", "number", "from_on", "to_on"],
        postgresql_where=sa.text("status = 'waiting'"),
    )  # fmt: skip
    install("waitlist_follows")
    op.execute(
        "CREATE TRIGGER waitlist_follows AFTER UPDATE OF status ON appointment FOR EACH ROW "
        "WHEN (OLD.status = 'held' AND NEW.status <> 'held') EXECUTE FUNCTION waitlist_follows()"
    )


def closures() -> None:
    reasons = ("staff_absent", "equipment", "utilities", "weather", "epidemic", "other")
    op.create_table(
        "closure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid()),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("to_at > from_at", name=op.f("ck_closure_period")),
        sa.CheckConstraint(
            "reason IN (" + ", ".join(f"'{reason}'" for reason in reasons) + ")",
            name=op.f("ck_closure_reason"),
        ),
        sa.CheckConstraint("status IN ('closing', 'done')", name=op.f("ck_closure_status")),
        sa.ForeignKeyConstraint(["clinic_id"], ["clinic.id"], name="fk_closure_clinic_id_clinic"),
        sa.ForeignKeyConstraint(
            ["service_id"], ["healthcare_service.id"], name="fk_closure_service_id_healthcare_service"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_closure"),
    )
    op.create_index("ix_closure_clinic_id", "closure", ["clinic_id", "id"])
    op.create_index("ix_closure_closing", "closure", ["id"], postgresql_where=sa.text("status = 'closing'"))
    op.create_table(
        "closure_move",
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("closure_id", sa.Uuid(), nullable=False),
        sa.Column("offered_id", sa.Uuid()),
        sa.Column("waitlist_entry_id", sa.Uuid()),
        sa.CheckConstraint(
            "offered_id IS NULL OR waitlist_entry_id IS NULL", name=op.f("ck_closure_move_one_way")
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_closure_move_{column}_{table}")
            for column, table in (
                ("appointment_id", "appointment"), ("closure_id", "closure"), ("offered_id", "appointment"),
                ("waitlist_entry_id", "waitlist_entry"),
            )
        ),
        sa.PrimaryKeyConstraint("appointment_id", name="pk_closure_move"),
    )  # fmt: skip
    op.create_index("ix_closure_move_closure_id", "closure_move", ["closure_id"])
