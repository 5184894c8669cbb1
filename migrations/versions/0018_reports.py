"""catalogues by region, record forms, ranges of reference, attachments of reports"""

import sqlalchemy as sa
from alembic import op

from app.schema import append_only

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

FORMS = ("general", "physical", "genital", "laboratory", "haemoglobin", "gene", "ultrasound")


def upgrade() -> None:
    catalogues()
    attachments()


def catalogues() -> None:
    op.add_column("service_item", sa.Column("region_code", sa.Text()))
    op.add_column("service_item", sa.Column("retired_at", sa.DateTime(timezone=True)))
    op.create_foreign_key(
        "fk_service_item_region_code_region", "service_item", "region", ["region_code"], ["code"]
    )
    op.drop_constraint("uq_service_item_service_id_number", "service_item")
    op.create_index(
        "uq_service_item_service_id_number", "service_item", ["service_id", "number"], unique=True,
        postgresql_where=sa.text("region_code IS NULL"),
    )  # fmt: skip
    op.add_column("observation_definition", sa.Column("form", sa.String(40)))
    op.create_check_constraint(
        op.f("ck_observation_definition_recordform"), "observation_definition",
        "form IN (" + ", ".join(f"'{form}'" for form in FORMS) + ")",
    )  # fmt: skip
    op.drop_constraint(op.f("ck_rule_version_rulekind"), "rule_version")
    op.create_check_constraint(
        op.f("ck_rule_version_rulekind"), "rule_version",
        "kind IN ('eligibility', 'risk', 'follow_up', 'reference_range')",
    )  # fmt: skip


def attachments() -> None:
    op.add_column("report_version", sa.Column("attachment_hash", sa.LargeBinary()))
    op.create_table(
        "report_attachment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id", "version"], ["report_version.report_id", "report_version.version"],
            name="fk_report_attachment_report_id_version_report_version",
        ),
        sa.ForeignKeyConstraint(["file_id"], ["stored_file.id"], name="fk_report_attachment_file_id_stored_file"),
        sa.ForeignKeyConstraint(["key_id"], ["partner_key.id"], name="fk_report_attachment_key_id_partner_key"),
        sa.PrimaryKeyConstraint("id", name="pk_report_attachment"),
        sa.UniqueConstraint("report_id", "version", name="uq_report_attachment_report_id_version"),
    )  # fmt: skip
    append_only("report_attachment")
