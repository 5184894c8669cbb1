"""refunds of what is in suspense, and of gifts that came out of it; a payment is recorded whole or not at all"""

import sqlalchemy as sa
from alembic import op

from app.schema import install, one_of

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

LIVE = "status IN ('requested', 'approved', 'processing', 'abnormal')"


def upgrade() -> None:
    _what_a_refund_is_of()
    _a_difference_that_is_refunded()
    install("record_payment")


def _what_a_refund_is_of() -> None:
    op.drop_constraint(op.f("fk_refund_order_id_payment_order"), "refund")
    op.alter_column("refund", "order_id", new_column_name="donation_id", nullable=True)
    op.create_foreign_key(
        op.f("fk_refund_donation_id_donation"), "refund", "donation", ["donation_id"], ["id"]
    )
    for name, new in (("ix_refund_order_id", "ix_refund_donation_id"),
                      ("uq_refund_order_id_live", "uq_refund_donation_id_live")):  # fmt: skip
        op.execute(f"ALTER INDEX {name} RENAME TO {new}")
    op.add_column("refund", sa.Column("difference_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_refund_difference_id_reconciliation_difference"), "refund", "reconciliation_difference",
        ["difference_id"], ["id"],
    )  # fmt: skip
    op.create_index(
        "uq_refund_difference_id_live", "refund", ["difference_id"], unique=True, postgresql_where=sa.text(LIVE)
    )  # fmt: skip
    op.create_check_constraint(
        op.f("ck_refund_one_origin"), "refund", "num_nonnulls(donation_id, difference_id) = 1"
    )
    op.add_column("refund", sa.Column("transaction_id", sa.Text(), nullable=True))
    op.add_column("refund", sa.Column("paid_fen", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE refund r SET transaction_id = o.transaction_id, paid_fen = o.amount_fen"
        " FROM payment_order o WHERE o.id = r.donation_id"
    )
    for column in ("transaction_id", "paid_fen"):
        op.alter_column("refund", column, nullable=False)
    op.drop_constraint(op.f("ck_refund_amount_fen"), "refund")
    op.create_check_constraint(
        op.f("ck_refund_amount_fen"), "refund", "amount_fen > 0 AND amount_fen <= paid_fen"
    )


def _a_difference_that_is_refunded() -> None:
    table = "reconciliation_difference"
    status = one_of(
        "differencestatus", "open", "matched", "investigating", "refunding", "resolved", "written_off"
    )
    for name, check in (
        ("differencestatus", "status IN (" + ", ".join(f"'{one}'" for one in status.enums) + ")"),
        ("resolved_at", "(status IN ('open', 'investigating', 'refunding')) = (resolved_at IS NULL)"),
    ):
        op.drop_constraint(op.f(f"ck_{table}_{name}"), table)
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, check)
