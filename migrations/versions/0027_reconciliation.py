"""reconciliation with the bills"""

import sqlalchemy as sa
from alembic import op

from app.schema import append_only, one_of

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bill_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bill_date", sa.Date(), nullable=False),
        sa.Column("bill_type", one_of("billtype", "trade", "fund_flow"), nullable=False),
        sa.Column("sha1", sa.Text(), nullable=True),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.Column("balance_fen", sa.BigInteger(), nullable=True),
        sa.Column("uploaded_by", sa.Uuid(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["uploaded_by"], ["staff_account.id"], name=op.f("fk_bill_file_uploaded_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_file")),
        sa.UniqueConstraint("bill_date", "bill_type", name=op.f("uq_bill_file_bill_date_bill_type")),
    )
    op.create_table(
        "bill_line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "kind",
            one_of("linekind", "payment", "refund", "revoked", "fee", "payout", "other"),
            nullable=False,
        ),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("out_trade_no", sa.Text(), nullable=False),
        sa.Column("out_refund_no", sa.Text(), nullable=True),
        sa.Column("refund_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.Column("fee_transfer_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["bill_file.id"], name=op.f("fk_bill_line_file_id_bill_file")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_line")),
        sa.UniqueConstraint("file_id", "line", name=op.f("uq_bill_line_file_id_line")),
    )
    op.create_index(
        "ix_bill_line_out_refund_no",
        "bill_line",
        ["out_refund_no"],
        postgresql_where=sa.text("out_refund_no IS NOT NULL"),
    )
    op.create_index("ix_bill_line_transaction_id", "bill_line", ["transaction_id"])
    op.create_index(
        "ix_bill_line_transfer_id",
        "bill_line",
        ["transfer_id"],
        postgresql_where=sa.text("transfer_id IS NOT NULL"),
    )
    op.create_table(
        "reconciliation_difference",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("bill_date", sa.Date(), nullable=False),
        sa.Column(
            "kind",
            one_of(
                "differencekind",
                "missing_here",
                "missing_there",
                "amount",
                "status",
                "fee",
                "unexplained",
                "bill",
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            one_of("differencestatus", "open", "matched", "investigating", "resolved", "written_off"),
            nullable=False,
        ),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("ours_fen", sa.BigInteger(), nullable=False),
        sa.Column("theirs_fen", sa.BigInteger(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("proposed_by", sa.Uuid(), nullable=True),
        sa.Column("approved_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "approved_by IS NULL OR approved_by <> proposed_by",
            name=op.f("ck_reconciliation_difference_four_eyes"),
        ),
        sa.CheckConstraint(
            "(status = 'written_off') = (approved_by IS NOT NULL)",
            name=op.f("ck_reconciliation_difference_approved_by"),
        ),
        sa.CheckConstraint(
            "approved_by IS NULL OR proposed_by IS NOT NULL",
            name=op.f("ck_reconciliation_difference_proposed_by"),
        ),
        sa.CheckConstraint(
            "(status IN ('open', 'investigating')) = (resolved_at IS NULL)",
            name=op.f("ck_reconciliation_difference_resolved_at"),
        ),
        sa.ForeignKeyConstraint(
            ["proposed_by"],
            ["staff_account.id"],
            name=op.f("fk_reconciliation_difference_proposed_by_staff_account"),
        ),
        sa.ForeignKeyConstraint(
            ["approved_by"],
            ["staff_account.id"],
            name=op.f("fk_reconciliation_difference_approved_by_staff_account"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation_difference")),
        sa.UniqueConstraint("reference", "kind", name=op.f("uq_reconciliation_difference_reference_kind")),
    )
    op.create_index(
        "ix_reconciliation_difference_bill_date", "reconciliation_difference", ["bill_date", "id"]
    )
    op.create_index("ix_reconciliation_difference_status", "reconciliation_difference", ["status", "id"])
    append_only("bill_line")
