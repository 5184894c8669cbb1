"""the partner door: polling, files, settlement"""

import sqlalchemy as sa
from alembic import op

from app.schema import install

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NOW = sa.text("(pg_current_xact_id()::text)::bigint")


def upgrade() -> None:
    changes()
    allowances()
    files()
    settlements()


def changes() -> None:
    # A constant first: the rows there are need not be written again.
    op.add_column("appointment", sa.Column("changed_in", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("appointment", "changed_in", server_default=NOW)
    op.create_index("ix_appointment_clinic_id_changed_in", "appointment", ["clinic_id", "changed_in", "id"])
    op.create_table(
        "appointment_left",
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointment.id"], name="fk_appointment_left_appointment_id_appointment"
        ),
        sa.PrimaryKeyConstraint("clinic_id", "appointment_id", name="pk_appointment_left"),
    )
    op.create_index(
        "ix_appointment_left_clinic_id", "appointment_left", ["clinic_id", "changed_in", "appointment_id"]
    )
    install("appointment_changed")
    op.execute(
        "CREATE TRIGGER appointment_changed BEFORE UPDATE OF status, slot_id, clinic_id, starts_at, ends_at, places "
        "ON appointment FOR EACH ROW EXECUTE FUNCTION appointment_changed()"
    )


def allowances() -> None:
    for column, usual in (("requests_per_minute", "1200"), ("burst", "600")):
        op.add_column(
            "organization", sa.Column(column, sa.BigInteger(), nullable=False, server_default=usual)
        )
    for name, check in {
        "requests_per_minute": "requests_per_minute BETWEEN 6 AND 60000",
        "burst": "burst BETWEEN 4 AND 10000",
    }.items():
        op.create_check_constraint(op.f(f"ck_organization_{name}"), "organization", check)
    op.create_table(
        "partner_allowance",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("remaining", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", name="pk_partner_allowance"),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )


def files() -> None:
    op.alter_column("partner_message", "key_id", nullable=True)
    op.add_column("partner_message", sa.Column("uploaded_by", sa.Uuid()))
    op.create_foreign_key(
        "fk_partner_message_uploaded_by_staff_account", "partner_message", "staff_account", ["uploaded_by"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_partner_message_one_source"), "partner_message", "num_nonnulls(key_id, uploaded_by) = 1"
    )


def settlements() -> None:
    op.create_table(
        "service_price",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("price_fen >= 0", name=op.f("ck_service_price_price_fen")),
        *refer("service_price", service_id="healthcare_service", created_by="staff_account"),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_service_price_region_code_region"),
        sa.PrimaryKeyConstraint("id", name="pk_service_price"),
        sa.UniqueConstraint(
            "service_id", "region_code", "valid_from", name="uq_service_price_service_id_region_code_valid_from"
        ),
    )
    op.create_table(
        "settlement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clinic_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid()),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status IN ('confirmed', 'accepted', 'returned')", name=op.f("ck_settlement_settlementstatus")
        ),
        *refer("settlement", clinic_id="clinic", decided_by="staff_account"),
        sa.PrimaryKeyConstraint("id", name="pk_settlement"),
    )
    op.create_index(
        "uq_settlement_clinic_id_month_live", "settlement", ["clinic_id", "month"], unique=True,
        postgresql_where=sa.text("status <> 'returned'"),
    )
    op.create_index("ix_settlement_clinic_id", "settlement", ["clinic_id", "id"])
    parts()


def parts() -> None:
    counts = ("fulfilled", "reversed", "arrived", "no_shows", "amount_fen")
    op.create_table(
        "settlement_line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sa.Column("price_fen", sa.BigInteger()),
        *refer("settlement_line", settlement_id="settlement", service_id="healthcare_service"),
        sa.PrimaryKeyConstraint("id", name="pk_settlement_line"),
    )
    op.create_index("ix_settlement_line_settlement_id", "settlement_line", ["settlement_id"])
    op.create_table(
        "settlement_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity IN (1, -1)", name=op.f("ck_settlement_item_quantity")),
        *refer("settlement_item", settlement_id="settlement", appointment_id="appointment"),
        sa.PrimaryKeyConstraint("id", name="pk_settlement_item"),
        sa.UniqueConstraint("appointment_id", "quantity", name="uq_settlement_item_appointment_id_quantity"),
    )
    op.create_index("ix_settlement_item_settlement_id", "settlement_item", ["settlement_id"])


def refer(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}")
        for column, other in columns.items()
    ]
