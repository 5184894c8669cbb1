"""search, saved filters, exports, statistics"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    indexes()
    op.create_table(
        "saved_filter",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("criteria_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name="fk_saved_filter_created_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_saved_filter"),
        sa.UniqueConstraint("created_by", "name", name="uq_saved_filter_created_by_name"),
    )
    exports()
    op.create_table(
        "region_statistic",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("figures", JSONB(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["region_code"], ["region.code"], name="fk_region_statistic_region_code_region"
        ),
        sa.PrimaryKeyConstraint("region_code", name="pk_region_statistic"),
    )


def indexes() -> None:
    """Prefixes compare by code point: an index in the database's own collation does not serve them."""
    for column in ("name", "pinyin", "initials"):
        op.alter_column("person", column, type_=sa.Text(collation="C"))
    op.drop_index("ix_person_name", table_name="person")
    op.create_index("ix_person_name_prefix", "person", ["name", "region_code", "id"])
    op.create_index("ix_person_sound_prefix", "person", [sa.text("replace(pinyin, ' ', '')"), "region_code", "id"])
    op.create_index("ix_person_initials_prefix", "person", ["initials", "region_code", "id"])
    op.create_index("ix_person_birth_date", "person", ["birth_date", "region_code", "id"])
    op.create_index(
        "ix_person_migrant", "person", ["region_code", "id"],
        postgresql_where=sa.text("left(hukou_region_code, 6) <> left(region_code, 6)"),
    )
    for holder in ("person_id", "household_id"):
        op.create_index(
            f"ix_category_code_{holder}", "category", ["code", holder], postgresql_where=sa.text("valid_to IS NULL")
        )
    op.create_index("ix_household_family_type", "household", ["family_type", "region_code", "status", "id"])


def exports() -> None:
    op.create_table(
        "registry_export",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("people", "households", name="searchkind", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("criteria_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("unmasked", sa.Boolean(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "queued", "running", "done", "failed",
                name="exportstatus", native_enum=False, create_constraint=True, length=40,
            ),
            nullable=False,
        ),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("rows_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name="fk_registry_export_created_by_staff_account"
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["stored_file.id"], name="fk_registry_export_file_id_stored_file"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_registry_export"),
    )
    op.create_index("ix_registry_export_created_by", "registry_export", ["created_by", "id"])
