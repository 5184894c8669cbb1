"""appointments in full: terms of services, held places, courses, waiting lists, the inbox"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.schema import install

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    terms_of_services()
    slots_and_appointments()
    waiting_lists()
    inbox()


def terms_of_services() -> None:
    for column, default in (
        ("cycle_years", "1"), ("sessions", "1"), ("places_limit", "1"), ("cancel_hours", "0"),
        ("no_show_limit", "0"), ("no_show_days", "0"), ("offer_hours", "24"),
    ):  # fmt: skip
        op.add_column(
            "healthcare_service", sa.Column(column, sa.BigInteger(), nullable=False, server_default=default)
        )
    for column, default in (("sensitive", "true"), ("certificate", "false")):
        op.add_column(
            "healthcare_service", sa.Column(column, sa.Boolean(), nullable=False, server_default=default)
        )
    for name, check in {
        "sessions": "sessions BETWEEN 1 AND 60",
        "places_limit": "places_limit BETWEEN 1 AND 50",
        "cycle_years": "cycle_years BETWEEN 1 AND 20",
        "offer_hours": "offer_hours BETWEEN 1 AND 720",
        "terms": "least(cancel_hours, no_show_limit, no_show_days) >= 0",
    }.items():
        op.create_check_constraint(op.f(f"ck_healthcare_service_{name}"), "healthcare_service", check)
    op.drop_constraint(op.f("ck_healthcare_service_cycle"), "healthcare_service")
    op.create_check_constraint(
        op.f("ck_healthcare_service_cycle"), "healthcare_service", "cycle IN ('child', 'year', 'event')"
    )


def slots_and_appointments() -> None:
    for column in ("room_id", "practitioner_id", "schedule_id"):
        op.add_column("slot", sa.Column(column, sa.Uuid()))
    op.add_column("slot", sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
    op.alter_column("appointment", "account_id", nullable=True)
    for column in ("session", "places"):
        op.add_column("appointment", sa.Column(column, sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("appointment", sa.Column("course_id", sa.Uuid()))
    op.add_column(
        "appointment", sa.Column("origin", sa.String(40), nullable=False, server_default="resident")
    )
    op.add_column("appointment", sa.Column("hold_expires_at", sa.DateTime(timezone=True)))
    op.add_column("appointment_event", sa.Column("slot_id", sa.Uuid()))
    for name, check in {
        "places": "places >= 1",
        "hold_ends": "status <> 'held' OR hold_expires_at IS NOT NULL",
        "origin": "origin IN ('resident', 'waitlist', 'closure', 'walk_in', 'staff')",
    }.items():
        op.create_check_constraint(op.f(f"ck_appointment_{name}"), "appointment", check)
    op.drop_index("uq_appointment_subject_id_service_id_cycle_active")
    op.create_index(
        "uq_appointment_subject_id_service_id_cycle_session_active", "appointment",
        ["subject_id", "service_id", "cycle", "session"], unique=True,
        postgresql_where=sa.text("status IN ('held', 'booked', 'arrived', 'fulfilled')"),
    )
    op.create_index(
        "ix_appointment_hold_expires_at", "appointment", ["hold_expires_at"],
        postgresql_where=sa.text("status = 'held'"),
    )
    # Its rows are of the type that the table has now.
    op.execute("DROP FUNCTION book_appointment")
    install("book_appointment")


def waiting_lists() -> None:
    op.create_table(
        "waitlist_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("spouse_id", sa.Uuid()),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("to_on", sa.Date(), nullable=False),
        sa.Column("places", sa.BigInteger(), nullable=False, server_default="1"),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("appointment_id", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("to_on >= from_on", name=op.f("ck_waitlist_entry_period")),
        sa.CheckConstraint("places >= 1", name=op.f("ck_waitlist_entry_places")),
        sa.CheckConstraint(
            "(status IN ('offered', 'accepted')) <= (appointment_id IS NOT NULL)",
            name=op.f("ck_waitlist_entry_offered"),
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'offered', 'accepted', 'declined', 'expired', 'withdrawn')",
            name=op.f("ck_waitlist_entry_status"),
        ),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=f"fk_waitlist_entry_{column}_{table}")
            for column, table in (
                ("clinic_id", "clinic"), ("service_id", "healthcare_service"), ("person_id", "person"),
                ("spouse_id", "person"), ("account_id", "resident_account"), ("appointment_id", "appointment"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name="pk_waitlist_entry"),
        sa.UniqueConstraint("number", name="uq_waitlist_entry_number"),
    )  # fmt: skip
    op.create_index(
        "uq_waitlist_entry_subject_id_service_id_clinic_id_live", "waitlist_entry",
        ["subject_id", "service_id", "clinic_id"], unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'offered')"),
    )
    op.create_index(
        "ix_waitlist_entry_clinic_id_service_id_waiting", "waitlist_entry", ["clinic_id", "service_id", "number"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index("ix_waitlist_entry_person_id", "waitlist_entry", ["person_id", "id"])
    op.create_index("ix_waitlist_entry_spouse_id", "waitlist_entry", ["spouse_id", "id"])
    op.create_index("ix_waitlist_entry_appointment_id", "waitlist_entry", ["appointment_id"])


def inbox() -> None:
    kinds = (
        "appointment_reminder", "appointment_cancelled", "appointment_moved", "place_offered", "offer_expired",
        "closed_another_offered", "closed_none_free", "invitation", "report_released", "report_changed",
        "contact_requested", "supply_ready", "certificate_ready",
    )  # fmt: skip
    op.create_table(
        "inbox_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Uuid(), nullable=False),
        sa.Column("once", sa.Text(), nullable=False, server_default=""),
        sa.Column("values", postgresql.JSONB(), nullable=False, server_default="{}"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "kind IN (" + ", ".join(f"'{kind}'" for kind in kinds) + ")", name=op.f("ck_inbox_message_kind")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_inbox_message_person_id_person"),
        sa.PrimaryKeyConstraint("id", name="pk_inbox_message"),
        sa.UniqueConstraint(
            "person_id", "kind", "entity_id", "once", name="uq_inbox_message_person_id_kind_entity_id_once"
        ),
    )
    op.create_index("ix_inbox_message_person_id", "inbox_message", ["person_id", "id"])
