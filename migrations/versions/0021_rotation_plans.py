"""rotation plans, invitations and coverage"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from app.schema import append_only

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TURNS = ("planned", "invited", "booked", "attended", "declined", "not_reached", "dropped")
REASONS = (
    "no_time", "not_wished", "health", "away", "other", "died", "moved_away", "not_eligible",
)  # fmt: skip
HOW = ("inbox", "phone", "visit", "letter")


def upgrade() -> None:
    rotations()
    capacities()
    turns()
    steps()


def one_of(values: tuple[str, ...], column: str) -> str:
    return f"{column} IN (" + ", ".join(f"'{value}'" for value in values) + ")"


def checks(table: str, **found: str) -> list[sa.CheckConstraint]:
    return [sa.CheckConstraint(check, name=op.f(f"ck_{table}_{name}")) for name, check in found.items()]


def refers(table: str, **found: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}_{target.split('.')[0]}")
        for column, target in found.items()
    ]


def rotations() -> None:
    op.create_table(
        "rotation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("first_year", "years", "remind_days", "remind_rounds")
        ),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("work", sa.String(40), nullable=False),
        sa.Column("people", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("placed", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("planned_at", sa.DateTime(timezone=True)),
        sa.Column("invited_through", sa.Date()),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"),
        *checks(
            "rotation", years="years BETWEEN 1 AND 5", remind_days="remind_days BETWEEN 7 AND 180",
            remind_rounds="remind_rounds BETWEEN 0 AND 5",
            rotationstatus=one_of(("draft", "published", "ended"), "status"),
            rotationwork=one_of(("queued", "running", "done", "failed"), "work"),
        ),
        *refers(
            "rotation", service_id="healthcare_service.id", region_code="region.code",
            created_by="staff_account.id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rotation"),
    )  # fmt: skip
    op.create_index("ix_rotation_service_id", "rotation", ["service_id", "id"])


def capacities() -> None:
    op.create_table(
        "rotation_capacity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rotation_id", sa.Uuid(), nullable=False),
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("serves_region_code", sa.Text(), nullable=False),
        sa.Column("monthly", JSONB(none_as_null=True)),
        *refers(
            "rotation_capacity", rotation_id="rotation.id", clinic_id="clinic.id",
            serves_region_code="region.code",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rotation_capacity"),
        sa.UniqueConstraint("rotation_id", "clinic_id", name="uq_rotation_capacity_rotation_id_clinic_id"),
    )  # fmt: skip


def turns() -> None:
    op.create_table(
        "rotation_turn",
        *(
            sa.Column(name, sa.Uuid(), nullable=False)
            for name in ("id", "rotation_id", "person_id")
        ),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("first_year", sa.BigInteger(), nullable=False),
        sa.Column("last_year", sa.BigInteger(), nullable=False),
        sa.Column("checked_year", sa.BigInteger()),
        sa.Column("clinic_id", sa.Uuid()),
        sa.Column("month", sa.Date()),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(40)),
        sa.Column("invited_at", sa.DateTime(timezone=True)),
        sa.Column("reminders", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("appointment_id", sa.Uuid()),
        sa.Column("checked_on", sa.Date()),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"),
        *checks(
            "rotation_turn", month="(month IS NULL) = (clinic_id IS NULL)",
            first_of_month="extract(day FROM month) = 1",
            reason="status <> 'declined' OR reason IS NOT NULL",
            turnstatus=one_of(TURNS, "status"), turnreason=one_of(REASONS, "reason"),
        ),
        *refers(
            "rotation_turn", rotation_id="rotation.id", person_id="person.id", clinic_id="clinic.id",
            appointment_id="appointment.id",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rotation_turn"),
        sa.UniqueConstraint("rotation_id", "person_id", name="uq_rotation_turn_rotation_id_person_id"),
    )  # fmt: skip
    for name, columns in {
        "person_id": ["person_id", "id"],
        "rotation_id_region_code": ["rotation_id", "region_code", "id"],
        "rotation_id_status": ["rotation_id", "status", "region_code", "id"],
        "rotation_id_month": ["rotation_id", "month", "region_code", "id"],
    }.items():
        op.create_index(f"ix_rotation_turn_{name}", "rotation_turn", columns)
    op.create_index(
        "ix_rotation_turn_invited_at", "rotation_turn", ["invited_at", "id"],
        postgresql_where=sa.text("status = 'invited'"),
    )  # fmt: skip


def steps() -> None:
    op.create_table(
        "rotation_step",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("turn_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("how", sa.String(40)),
        sa.Column("reason", sa.String(40)),
        sa.Column("happened_on", sa.Date()),
        sa.Column("actor_role", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        *checks(
            "rotation_step", turnstatus=one_of(TURNS, "status"), invitedhow=one_of(HOW, "how"),
            turnreason=one_of(REASONS, "reason"),
        ),
        *refers("rotation_step", turn_id="rotation_turn.id"),
        sa.PrimaryKeyConstraint("id", name="pk_rotation_step"),
    )  # fmt: skip
    op.create_index("ix_rotation_step_turn_id", "rotation_step", ["turn_id", "id"])
    append_only("rotation_step")
