"""life events, moves between regions"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    life_events()
    moves()
    op.create_index(
        "ix_person_hukou_region_code_away",
        "person",
        ["hukou_region_code", "id"],
        postgresql_where=sa.text('"left"(region_code, 6) <> "left"(hukou_region_code, 6)'),
    )


def life_events() -> None:
    kinds = (
        "birth", "death", "marriage", "divorce", "adoption", "joined", "category_gained", "category_ended",
        "head_changed", "annulment",
    )  # fmt: skip
    op.create_table(
        "life_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(*kinds, name="lifeeventkind", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("household_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("happened_on", sa.Date(), nullable=False),
        sa.Column("changes", JSONB(), nullable=False),
        sa.Column("annuls_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_by", sa.Uuid(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["household_id"], ["household.id"], name="fk_life_event_household_id_household"
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_life_event_person_id_person"),
        sa.ForeignKeyConstraint(["annuls_id"], ["life_event.id"], name="fk_life_event_annuls_id_life_event"),
        sa.ForeignKeyConstraint(
            ["recorded_by"], ["staff_account.id"], name="fk_life_event_recorded_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_life_event"),
        sa.UniqueConstraint("annuls_id", name="uq_life_event_annuls_id"),
    )
    op.create_index("ix_life_event_household_id", "life_event", ["household_id", "recorded_at", "id"])
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON life_event FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON life_event EXECUTE FUNCTION refuse_change()"
    )


def moves() -> None:
    states = ("proposed", "accepted", "declined", "withdrawn")
    sides = ("releasing", "receiving")
    op.create_table(
        "household_move",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("household_id", sa.Uuid(), nullable=False),
        sa.Column("members", JSONB(), nullable=False),
        sa.Column("to_household_id", sa.Uuid(), nullable=True),
        sa.Column("head_id", sa.Uuid(), nullable=True),
        sa.Column("from_region_code", sa.Text(), nullable=False),
        sa.Column("from_region_name", sa.Text(), nullable=False),
        sa.Column("to_region_code", sa.Text(), nullable=False),
        sa.Column("to_region_name", sa.Text(), nullable=False),
        sa.Column("moved_on", sa.Date(), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=True),
        sa.Column(
            "status",
            sa.Enum(*states, name="movestatus", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column(
            "begun_by",
            sa.Enum(*sides, name="moveside", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("proposed_by", sa.Uuid(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status <> 'accepted' OR decided_at IS NOT NULL", name="ck_household_move_decided"
        ),
        sa.ForeignKeyConstraint(
            ["household_id"], ["household.id"], name="fk_household_move_household_id_household"
        ),
        sa.ForeignKeyConstraint(
            ["to_household_id"], ["household.id"], name="fk_household_move_to_household_id_household"
        ),
        sa.ForeignKeyConstraint(["head_id"], ["person.id"], name="fk_household_move_head_id_person"),
        sa.ForeignKeyConstraint(
            ["from_region_code"], ["region.code"], name="fk_household_move_from_region_code_region"
        ),
        sa.ForeignKeyConstraint(
            ["to_region_code"], ["region.code"], name="fk_household_move_to_region_code_region"
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"], ["staff_account.id"], name="fk_household_move_proposed_by_staff_account"
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["staff_account.id"], name="fk_household_move_decided_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_household_move"),
    )
    op.create_index(
        "uq_household_move_household_id_proposed", "household_move", ["household_id"], unique=True,
        postgresql_where=sa.text("status = 'proposed'"),
    )  # fmt: skip
    op.create_index("ix_household_move_from_region_code", "household_move", ["from_region_code", "id"])
    op.create_index("ix_household_move_to_region_code", "household_move", ["to_region_code", "id"])
