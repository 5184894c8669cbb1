"""lists of the fund and of moves by when things were made: clients choose the ids; gifts by their number at the bank;
the dates of a course by the course"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

BY_TIME = {
    "ix_donation_fund_id": ("donation", ["fund_id", "created_at", "id"], None),
    "ix_donation_organization_donor_id": ("donation", ["organization_donor_id", "created_at", "id"], None),
    "ix_donation_campaign_id": ("donation", ["campaign_id", "created_at", "id"], "campaign_id IS NOT NULL"),
    "ix_pledge_fund_id": ("pledge", ["fund_id", "created_at", "id"], None),
    "ix_receipt_request_status": ("receipt_request", ["status", "requested_at", "id"], None),
    "ix_reconciliation_difference_status": ("reconciliation_difference", ["status", "bill_date", "id"], None),
}


def upgrade() -> None:
    for name, (table, columns, those) in BY_TIME.items():
        op.drop_index(name, table)
        op.create_index(name, table, columns, postgresql_where=sa.text(those) if those else None)
    op.create_index("ix_donation_created_at", "donation", ["created_at", "id"])
    op.create_index("ix_household_move_created_at", "household_move", ["created_at", "id"])
    op.create_index("ix_household_move_status", "household_move", ["status", "created_at", "id"])
    op.create_index(
        "ix_appointment_course_id", "appointment", ["course_id"], postgresql_where=sa.text("course_id IS NOT NULL")
    )
    op.create_index("ix_refund_requested_at", "refund", ["requested_at", "id"])
    op.create_index(
        "ix_donation_campaign_id_goods", "donation", ["campaign_id"], postgresql_where=sa.text("channel = 'in_kind'")
    )
    op.drop_index("ix_donation_source_reversed", "donation")
    op.create_index("ix_donation_source", "donation", ["source"], postgresql_where=sa.text("source IS NOT NULL"))
