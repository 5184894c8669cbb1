"""schedules, rooms, practitioners and the calendar of working days"""

import sqlalchemy as sa
from alembic import op

from app.schema import append_only, install

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NOT_CANCELLED = sa.text("status <> 'cancelled'")


def upgrade() -> None:
    # A trusted extension: whoever may create in the database may install it.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    calendar()
    rooms_and_practitioners()
    schedules()
    slots()
    install("wanted_slots")


def states(table: str, column: str, *values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}_{target}")


def calendar() -> None:
    op.create_table(
        "calendar_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("in_place_of", sa.Date()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("edited_by", sa.Uuid()),
        sa.Column("edited_at", sa.DateTime(timezone=True)),
        states("calendar_day", "kind", "holiday", "workday", "festival"),
        check("calendar_day", "in_place_of", "kind = 'workday' OR in_place_of IS NULL"),
        sa.PrimaryKeyConstraint("day", name="pk_calendar_day"),
    )


def rooms_and_practitioners() -> None:
    for table, columns in {"room": ("name",), "practitioner": ("name", "title")}.items():
        op.create_table(
            table,
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("clinic_id", sa.Uuid(), nullable=False),
            *(sa.Column(column, sa.Text(), nullable=False) for column in columns),
            sa.Column("retired_at", sa.DateTime(timezone=True)),
            sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            refers(table, "clinic_id", "clinic"),
            sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        )
        op.create_index(
            f"uq_{table}_clinic_id_name_used", table, ["clinic_id", "name"], unique=True,
            postgresql_where=sa.text("retired_at IS NULL"),
        )
        op.create_index(f"ix_{table}_clinic_id", table, ["clinic_id", "id"])


def schedules() -> None:
    op.create_table(
        "schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_on", sa.Date(), nullable=False),
        sa.Column("until_on", sa.Date()),
        sa.Column("follows_calendar", sa.Boolean(), nullable=False),
        sa.Column("swapped_weekday", sa.BigInteger()),
        sa.Column("release_at", sa.DateTime(timezone=True)),
        sa.Column("days_ahead", sa.BigInteger()),
        sa.Column("release_time", sa.Time()),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("published_through", sa.Date()),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        states("schedule", "status", "draft", "active", "ended"),
        check("schedule", "period", "until_on >= from_on"),
        check("schedule", "swapped_weekday", "swapped_weekday BETWEEN 1 AND 7"),
        check("schedule", "days_ahead", "days_ahead BETWEEN 0 AND 180"),
        check(
            "schedule", "release",
            "(release_at IS NULL) = (days_ahead IS NOT NULL) AND (days_ahead IS NULL) = (release_time IS NULL)",
        ),
        check("schedule", "endless", "until_on IS NOT NULL OR days_ahead IS NOT NULL"),
        refers("schedule", "clinic_id", "clinic"),
        refers("schedule", "service_id", "healthcare_service"),
        sa.PrimaryKeyConstraint("id", name="pk_schedule"),
    )  # fmt: skip
    op.create_index("ix_schedule_clinic_id", "schedule", ["clinic_id", "id"])
    op.create_index("ix_schedule_active", "schedule", ["id"], postgresql_where=sa.text("status = 'active'"))
    op.create_table(
        "schedule_line",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("weekday", sa.BigInteger(), nullable=False),
        sa.Column("begins", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.Column("minutes", sa.BigInteger(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("room_id", sa.Uuid()),
        sa.Column("practitioner_id", sa.Uuid()),
        check("schedule_line", "weekday", "weekday BETWEEN 1 AND 7"),
        check("schedule_line", "period", "ends > begins"),
        check("schedule_line", "minutes", "minutes BETWEEN 5 AND 1440"),
        check("schedule_line", "capacity", "capacity >= 1"),
        refers("schedule_line", "schedule_id", "schedule"),
        refers("schedule_line", "room_id", "room"),
        refers("schedule_line", "practitioner_id", "practitioner"),
        sa.PrimaryKeyConstraint("schedule_id", "number", name="pk_schedule_line"),
    )
    for column in ("room_id", "practitioner_id"):
        op.create_index(f"ix_schedule_line_{column}", "schedule_line", [column])


def slots() -> None:
    for column, target in (("room_id", "room"), ("practitioner_id", "practitioner"), ("schedule_id", "schedule")):
        op.create_foreign_key(f"fk_slot_{column}_{target}", "slot", target, [column], ["id"])
    # Two practitioners of a clinic may have a slot each at the same time.
    op.drop_constraint("uq_slot_clinic_id_service_id_starts_at", "slot")
    op.create_index(
        "uq_slot_clinic_service_starts_practitioner_room_kept", "slot",
        ["clinic_id", "service_id", "starts_at", "practitioner_id", "room_id"], unique=True,
        postgresql_where=NOT_CANCELLED, postgresql_nulls_not_distinct=True,
    )  # fmt: skip
    for column in ("room_id", "practitioner_id"):
        op.execute(
            f"ALTER TABLE slot ADD CONSTRAINT ex_slot_{column} EXCLUDE USING gist "
            f"({column} WITH =, tstzrange(starts_at, ends_at) WITH &&) "
            f"WHERE (status <> 'cancelled' AND {column} IS NOT NULL)"
        )
    op.create_index("ix_slot_starts_at", "slot", ["starts_at", "id"])
    op.create_index(
        "ix_slot_schedule_id", "slot", ["schedule_id", "starts_at"],
        postgresql_where=sa.text("schedule_id IS NOT NULL"),
    )  # fmt: skip
    op.create_table(
        "slot_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("slot_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("old", sa.Text()),
        sa.Column("new", sa.Text()),
        sa.Column("actor_role", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        refers("slot_event", "slot_id", "slot"),
        sa.PrimaryKeyConstraint("id", name="pk_slot_event"),
    )
    op.create_index("ix_slot_event_slot_id", "slot_event", ["slot_id", "id"])
    append_only("slot_event")
