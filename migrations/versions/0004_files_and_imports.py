"""files, and imports of households and people"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    files()
    imports()


def files() -> None:
    op.create_table(
        "stored_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name="fk_stored_file_created_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_stored_file"),
    )
    op.create_index(
        "ix_stored_file_expires_at",
        "stored_file",
        ["expires_at"],
        postgresql_where=sa.text("purged_at IS NULL"),
    )
    op.create_table(
        "stored_file_chunk",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_id"], ["stored_file.id"], name="fk_stored_file_chunk_file_id_stored_file"
        ),
        sa.PrimaryKeyConstraint("file_id", "number", name="pk_stored_file_chunk"),
    )


STATUSES = ("checking", "checked", "committing", "committed", "undoing", "undone", "failed", "discarded")


def imports() -> None:
    op.create_table(
        "import_batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(*STATUSES, name="importstatus", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("rows_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counts", JSONB(), server_default="{}", nullable=False),
        sa.Column("problem", JSONB(), server_default="[]", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("committed_through", sa.Uuid(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed_by", sa.Uuid(), nullable=True),
        sa.Column("commit_began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_import_batch_region_code_region"),
        sa.ForeignKeyConstraint(["file_id"], ["stored_file.id"], name="fk_import_batch_file_id_stored_file"),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name="fk_import_batch_created_by_staff_account"
        ),
        sa.ForeignKeyConstraint(
            ["committed_by"], ["staff_account.id"], name="fk_import_batch_committed_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_import_batch"),
    )
    op.create_index("ix_import_batch_region_code", "import_batch", ["region_code", "id"])
    op.create_index(
        "ix_import_batch_status",
        "import_batch",
        ["status"],
        postgresql_where=sa.text("status IN ('checking', 'committing', 'undoing')"),
    )
    import_rows()
    op.add_column("household", sa.Column("local_number", sa.Text()))
    op.create_index(
        "uq_household_region_code_local_number_active",
        "household",
        ["region_code", "local_number"],
        unique=True,
        postgresql_where=sa.text("local_number IS NOT NULL AND status = 'active'"),
    )
    for table in ("household", "person"):
        op.add_column(table, sa.Column("import_batch_id", sa.Uuid()))
        name = f"fk_{table}_import_batch_id_import_batch"
        op.create_foreign_key(name, table, "import_batch", ["import_batch_id"], ["id"])
    op.create_index("ix_membership_person_id", "membership", ["person_id"])
    op.create_index("ix_couple_wife_id", "couple", ["wife_id"])
    op.create_index("ix_couple_husband_id", "couple", ["husband_id"])


def import_rows() -> None:
    texts = (
        "relation",
        "name",
        "pinyin",
        "initials",
        "sex",
        "document_kind",
        "hukou_region_code",
        "hukou_type",
    )
    op.create_table(
        "import_row",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "verdict",
            sa.Enum(
                "ready",
                "warning",
                "known",
                "refused",
                name="verdict",
                native_enum=False,
                create_constraint=True,
                length=40,
            ),
            nullable=False,
        ),
        sa.Column("wrong", JSONB(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Uuid(), nullable=True) for name in ("household_id", "joins", "partner_id")),
        sa.Column("head_line", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("region_code", "local_number")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in texts),
        *(
            sa.Column(name, sa.LargeBinary(), nullable=True)
            for name in (
                "address_sealed",
                "document_number_sealed",
                "document_index",
                "phone_sealed",
                "phone_index",
            )
        ),
        *(
            sa.Column(name, sa.Date(), nullable=True)
            for name in ("birth_date", "resident_since", "married_since")
        ),
        sa.Column("plans_pregnancy", sa.Boolean(), nullable=True),
        sa.Column("categories", JSONB(), nullable=False),
        sa.Column("before", JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", "line", name="pk_import_row"),
    )
    op.create_index("ix_import_row_household_id", "import_row", ["batch_id", "household_id", "line"])
    op.create_index("ix_import_row_document_index", "import_row", ["document_index", "batch_id"])
    op.create_index("ix_import_row_id", "import_row", ["id"])
    op.create_index("ix_import_row_verdict", "import_row", ["batch_id", "verdict", "line"])
