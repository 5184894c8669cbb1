"""disbursements"""

import sqlalchemy as sa
from alembic import op

from app.schema import append_only, one_of

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

ROLES = (
    "resident", "village_worker", "township_officer", "county_administrator", "accountant", "supervisor", "auditor",
    "system_administrator", "partner", "system",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "bank_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("status", one_of("bankfilestatus", "open", "answered", "cancelled"), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_bank_file_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["made_by"], ["staff_account.id"], name=op.f("fk_bank_file_made_by_staff_account")
        ),
        sa.ForeignKeyConstraint(
            ["region_code"], ["region.code"], name=op.f("fk_bank_file_region_code_region")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_file")),
        sa.UniqueConstraint("number", name=op.f("uq_bank_file_number")),
    )
    op.create_index("ix_bank_file_region_code", "bank_file", ["region_code", "id"])
    op.create_table(
        "approval_limit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("role", one_of("role", *ROLES), nullable=False),
        sa.Column("limit_fen", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("limit_fen > 0", name=op.f("ck_approval_limit_limit_fen")),
        sa.ForeignKeyConstraint(
            ["region_code"], ["region.code"], name=op.f("fk_approval_limit_region_code_region")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_limit")),
        sa.UniqueConstraint("region_code", "role", name=op.f("uq_approval_limit_region_code_role")),
    )
    op.create_table(
        "disbursement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("budget_line_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("payee_kind", one_of("payeekind", "person", "organization"), nullable=False),
        sa.Column("payee_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("bank_name", sa.Text(), nullable=False),
        sa.Column("bank_account_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Uuid(), nullable=True),
        sa.Column(
            "status",
            one_of(
                "disbursementstatus",
                "draft",
                "submitted",
                "rejected",
                "approved",
                "paid",
                "acknowledged",
                "voided",
                "expired",
            ),
            nullable=False,
        ),
        sa.Column("submitted_by", sa.Uuid(), nullable=True),
        sa.Column("approved_by", sa.Uuid(), nullable=True),
        sa.Column("paid_by", sa.Uuid(), nullable=True),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("bank_file_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_on", sa.Date(), nullable=True),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_disbursement_amount_fen")),
        sa.CheckConstraint(
            "approved_by IS NULL OR approved_by <> submitted_by",
            name=op.f("ck_disbursement_submitter_approver"),
        ),
        sa.CheckConstraint(
            "paid_by IS NULL OR paid_by NOT IN (submitted_by, approved_by)",
            name=op.f("ck_disbursement_payer"),
        ),
        sa.CheckConstraint(
            "paid_fen IS NULL OR paid_fen BETWEEN 1 AND amount_fen", name=op.f("ck_disbursement_paid_fen")
        ),
        sa.ForeignKeyConstraint(
            ["approved_by"], ["staff_account.id"], name=op.f("fk_disbursement_approved_by_staff_account")
        ),
        sa.ForeignKeyConstraint(
            ["bank_file_id"], ["bank_file.id"], name=op.f("fk_disbursement_bank_file_id_bank_file")
        ),
        sa.ForeignKeyConstraint(
            ["budget_line_id"], ["budget_line.id"], name=op.f("fk_disbursement_budget_line_id_budget_line")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_disbursement_campaign_id_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name=op.f("fk_disbursement_created_by_staff_account")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_disbursement_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["paid_by"], ["staff_account.id"], name=op.f("fk_disbursement_paid_by_staff_account")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_disbursement_person_id_person")),
        sa.ForeignKeyConstraint(
            ["region_code"], ["region.code"], name=op.f("fk_disbursement_region_code_region")
        ),
        sa.ForeignKeyConstraint(
            ["submitted_by"], ["staff_account.id"], name=op.f("fk_disbursement_submitted_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disbursement")),
        sa.UniqueConstraint("number", name=op.f("uq_disbursement_number")),
    )
    op.create_index("ix_disbursement_bank_file_id", "disbursement", ["bank_file_id"])
    op.create_index(
        "ix_disbursement_person_id",
        "disbursement",
        ["person_id"],
        postgresql_where=sa.text("person_id IS NOT NULL"),
    )
    op.create_index(
        "ix_disbursement_expires_at",
        "disbursement",
        ["expires_at"],
        postgresql_where=sa.text("status = 'approved'"),
    )
    op.create_index("ix_disbursement_fund_id", "disbursement", ["fund_id", "id"])
    op.create_index("ix_disbursement_region_code", "disbursement", ["region_code", "status", "created_at"])
    op.create_index("ix_disbursement_created_at", "disbursement", ["created_at", "id"])
    op.create_index(
        "uq_disbursement_source_live",
        "disbursement",
        ["source", "source_id"],
        unique=True,
        postgresql_where=sa.text("source IS NOT NULL AND status NOT IN ('rejected', 'voided', 'expired')"),
    )
    op.create_table(
        "disbursement_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("disbursement_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "status",
            one_of(
                "disbursementstatus",
                "draft",
                "submitted",
                "rejected",
                "approved",
                "paid",
                "acknowledged",
                "voided",
                "expired",
            ),
            nullable=False,
        ),
        sa.Column("actor_role", one_of("role", *ROLES), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("bank_file_id", sa.Uuid(), nullable=True),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["bank_file_id"], ["bank_file.id"], name=op.f("fk_disbursement_event_bank_file_id_bank_file")
        ),
        sa.ForeignKeyConstraint(
            ["disbursement_id"],
            ["disbursement.id"],
            name=op.f("fk_disbursement_event_disbursement_id_disbursement"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disbursement_event")),
    )
    op.create_index("ix_disbursement_event_disbursement_id", "disbursement_event", ["disbursement_id", "id"])
    append_only("disbursement_event")
    op.create_table(
        "bank_file_line",
        sa.Column("bank_file_id", sa.Uuid(), nullable=False),
        sa.Column("disbursement_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", one_of("lineoutcome", "paid", "failed", "released"), nullable=True),
        sa.ForeignKeyConstraint(
            ["bank_file_id"], ["bank_file.id"], name=op.f("fk_bank_file_line_bank_file_id_bank_file")
        ),
        sa.ForeignKeyConstraint(
            ["disbursement_id"],
            ["disbursement.id"],
            name=op.f("fk_bank_file_line_disbursement_id_disbursement"),
        ),
        sa.PrimaryKeyConstraint("bank_file_id", "disbursement_id", name=op.f("pk_bank_file_line")),
    )
    op.create_index(
        "uq_bank_file_line_disbursement_id_waiting",
        "bank_file_line",
        ["disbursement_id"],
        unique=True,
        postgresql_where=sa.text("outcome IS NULL"),
    )
