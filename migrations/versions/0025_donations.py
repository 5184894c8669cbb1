"""donations and their payment"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.schema import append_only, install, one_of

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

KINDS = (
    "appointment_reminder", "appointment_cancelled", "appointment_moved", "place_offered", "offer_expired",
    "closed_another_offered", "closed_none_free", "waiting_ended", "invitation", "report_released", "report_changed",
    "contact_requested", "supply_ready", "certificate_ready", "donation_received",
    "receipt_updated",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "organization_donor",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credit_code", sa.Text(), nullable=True),
        sa.Column("contact_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["region_code"], ["region.code"], name=op.f("fk_organization_donor_region_code_region")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization_donor")),
        sa.UniqueConstraint("credit_code", name=op.f("uq_organization_donor_credit_code")),
    )
    op.create_index("ix_organization_donor_region_code", "organization_donor", ["region_code", "id"])
    op.create_table(
        "pledge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("organization_donor_id", sa.Uuid(), nullable=True),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("received_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("status", one_of("pledgestatus", "open", "fulfilled", "cancelled"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_pledge_amount_fen")),
        sa.CheckConstraint(
            "num_nonnulls(account_id, organization_donor_id) = 1", name=op.f("ck_pledge_one_donor")
        ),
        sa.CheckConstraint("received_fen >= 0", name=op.f("ck_pledge_received_fen")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["resident_account.id"], name=op.f("fk_pledge_account_id_resident_account")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_pledge_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["organization_donor_id"],
            ["organization_donor.id"],
            name=op.f("fk_pledge_organization_donor_id_organization_donor"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pledge")),
    )
    op.create_index("ix_pledge_due_on", "pledge", ["due_on"], postgresql_where=sa.text("status = 'open'"))
    op.create_index("ix_pledge_fund_id", "pledge", ["fund_id", "id"])
    op.create_index(
        "ix_pledge_account_id",
        "pledge",
        ["account_id", "id"],
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )
    op.create_table(
        "donation_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column(
            "channel", one_of("channel", "wechat", "bank", "cash", "platform", "in_kind"), nullable=False
        ),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_donation_file_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["uploaded_by"], ["staff_account.id"], name=op.f("fk_donation_file_uploaded_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_donation_file")),
        sa.UniqueConstraint("fund_id", "digest", name=op.f("uq_donation_file_fund_id_digest")),
    )
    op.create_table(
        "donation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column(
            "channel", one_of("channel", "wechat", "bank", "cash", "platform", "in_kind"), nullable=False
        ),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "status",
            one_of(
                "donationstatus", "pending", "abandoned", "received", "part_refunded", "refunded", "reversed"
            ),
            nullable=False,
        ),
        sa.Column("donated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("organization_donor_id", sa.Uuid(), nullable=True),
        sa.Column("pledge_id", sa.Uuid(), nullable=True),
        sa.Column("shown_as", one_of("shownas", "anonymous", "initial", "name"), nullable=False),
        sa.Column("public_name", sa.Text(), nullable=True),
        sa.Column("donor_name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("goods", postgresql.JSONB(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("file_id", sa.Uuid(), nullable=True),
        sa.Column("recorded_by", sa.Uuid(), nullable=True),
        sa.Column("thanked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(channel = 'in_kind') = (goods IS NOT NULL)", name=op.f("ck_donation_goods")),
        sa.CheckConstraint(
            "(status IN ('pending', 'abandoned')) = (transfer_id IS NULL)",
            name=op.f("ck_donation_transfer_id"),
        ),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_donation_amount_fen")),
        sa.CheckConstraint(
            "num_nonnulls(account_id, organization_donor_id) <= 1", name=op.f("ck_donation_one_donor")
        ),
        sa.CheckConstraint("refunded_fen BETWEEN 0 AND amount_fen", name=op.f("ck_donation_refunded_fen")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["resident_account.id"], name=op.f("fk_donation_account_id_resident_account")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaign.id"], name=op.f("fk_donation_campaign_id_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["donation_file.id"], name=op.f("fk_donation_file_id_donation_file")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_donation_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["organization_donor_id"],
            ["organization_donor.id"],
            name=op.f("fk_donation_organization_donor_id_organization_donor"),
        ),
        sa.ForeignKeyConstraint(["pledge_id"], ["pledge.id"], name=op.f("fk_donation_pledge_id_pledge")),
        sa.ForeignKeyConstraint(
            ["recorded_by"], ["staff_account.id"], name=op.f("fk_donation_recorded_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_donation")),
        sa.UniqueConstraint("number", name=op.f("uq_donation_number")),
        sa.UniqueConstraint("transfer_id", name=op.f("uq_donation_transfer_id")),
    )
    op.create_index(
        "ix_donation_account_id",
        "donation",
        ["account_id", "id"],
        postgresql_where=sa.text("account_id IS NOT NULL"),
    )
    op.create_index(
        "ix_donation_campaign_id",
        "donation",
        ["campaign_id", "id"],
        postgresql_where=sa.text("campaign_id IS NOT NULL"),
    )
    op.create_index(
        "ix_donation_file_id", "donation", ["file_id"], postgresql_where=sa.text("file_id IS NOT NULL")
    )
    shown = "status IN ('received', 'part_refunded')"
    for goal, condition in (("fund_id", shown), ("campaign_id", f"{shown} AND campaign_id IS NOT NULL")):
        op.create_index(
            f"ix_donation_{goal}_shown",
            "donation",
            [goal, "donated_at", "transfer_id"],
            postgresql_where=sa.text(condition),
            postgresql_include=["amount_fen", "refunded_fen"],
        )
    op.create_index("ix_donation_fund_id", "donation", ["fund_id", "id"])
    op.create_index(
        "ix_donation_not_thanked",
        "donation",
        ["id"],
        postgresql_where=sa.text("status = 'received' AND account_id IS NOT NULL AND thanked_at IS NULL"),
    )
    op.create_index(
        "ix_donation_abandoned_name",
        "donation",
        ["created_at"],
        postgresql_where=sa.text("status = 'abandoned' AND donor_name_sealed IS NOT NULL"),
    )
    op.create_index("ix_donation_organization_donor_id", "donation", ["organization_donor_id", "id"])
    op.create_index(
        "uq_donation_source",
        "donation",
        ["channel", "source"],
        unique=True,
        postgresql_where=sa.text("source IS NOT NULL AND status <> 'reversed'"),
    )
    op.create_index(
        "ix_donation_source_reversed",
        "donation",
        ["channel", "source"],
        postgresql_where=sa.text("status = 'reversed'"),
    )
    op.create_table(
        "goods_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("donation_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("delivered_on", sa.Date(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_by", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("quantity > 0 AND amount_fen > 0", name=op.f("ck_goods_delivery_quantity")),
        sa.ForeignKeyConstraint(
            ["donation_id"], ["donation.id"], name=op.f("fk_goods_delivery_donation_id_donation")
        ),
        sa.ForeignKeyConstraint(
            ["recorded_by"], ["staff_account.id"], name=op.f("fk_goods_delivery_recorded_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_goods_delivery")),
    )
    op.create_index("ix_goods_delivery_donation_id", "goods_delivery", ["donation_id", "id"])
    op.create_table(
        "receipt_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("donation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "status", one_of("receiptstatus", "requested", "issued", "reversed", "refused"), nullable=False
        ),
        sa.Column("payer_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("payer_number_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("receipt_code", sa.Text(), nullable=True),
        sa.Column("receipt_number", sa.Text(), nullable=True),
        sa.Column("check_code", sa.Text(), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status IN ('issued', 'reversed')) = (receipt_number IS NOT NULL)",
            name=op.f("ck_receipt_request_receipt_number"),
        ),
        sa.ForeignKeyConstraint(
            ["donation_id"], ["donation.id"], name=op.f("fk_receipt_request_donation_id_donation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_request")),
    )
    op.create_index("ix_receipt_request_status", "receipt_request", ["status", "id"])
    op.create_index("ix_receipt_request_donation_id", "receipt_request", ["donation_id", "id"])
    op.create_index(
        "uq_receipt_request_donation_id_live",
        "receipt_request",
        ["donation_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('requested', 'issued')"),
    )
    op.create_index(
        "uq_receipt_request_number", "receipt_request", ["receipt_code", "receipt_number"], unique=True
    )
    op.create_table(
        "payment_order",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("out_trade_no", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "status",
            one_of("orderstatus", "created", "prepaid", "paid", "part_refunded", "refunded", "closed"),
            nullable=False,
        ),
        sa.Column("prepay_id", sa.Text(), nullable=True),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_query_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_payment_order_amount_fen")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["resident_account.id"], name=op.f("fk_payment_order_account_id_resident_account")
        ),
        sa.ForeignKeyConstraint(["id"], ["donation.id"], name=op.f("fk_payment_order_id_donation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_order")),
        sa.UniqueConstraint("out_trade_no", name=op.f("uq_payment_order_out_trade_no")),
    )
    op.create_index("ix_payment_order_account_id", "payment_order", ["account_id", "id"])
    op.create_index(
        "ix_payment_order_open",
        "payment_order",
        ["next_query_at"],
        postgresql_where=sa.text("status IN ('created', 'prepaid')"),
    )
    op.create_index("uq_payment_order_transaction_id", "payment_order", ["transaction_id"], unique=True)
    op.create_table(
        "payment_notice",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_notice")),
    )
    op.create_index("ix_payment_notice_received_at", "payment_notice", ["received_at"])
    op.create_table(
        "refund",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("out_refund_no", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column(
            "reason",
            one_of(
                "refundreason", "donor_asked", "wrong_amount", "given_twice", "wrong_goal", "not_acceptable"
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            one_of(
                "refundstatus",
                "requested",
                "rejected",
                "approved",
                "processing",
                "succeeded",
                "closed",
                "abnormal",
            ),
            nullable=False,
        ),
        sa.Column("wechat_refund_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("approved_by", sa.Uuid(), nullable=True),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("next_query_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_refund_amount_fen")),
        sa.CheckConstraint(
            "approved_by IS NULL OR approved_by <> requested_by", name=op.f("ck_refund_four_eyes")
        ),
        sa.ForeignKeyConstraint(
            ["approved_by"], ["staff_account.id"], name=op.f("fk_refund_approved_by_staff_account")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["payment_order.id"], name=op.f("fk_refund_order_id_payment_order")
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["staff_account.id"], name=op.f("fk_refund_requested_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("out_refund_no", name=op.f("uq_refund_out_refund_no")),
    )
    op.create_index(
        "ix_refund_open",
        "refund",
        ["next_query_at"],
        postgresql_where=sa.text("status IN ('approved', 'processing')"),
    )
    op.create_index("ix_refund_order_id", "refund", ["order_id"])
    op.create_index(
        "uq_refund_order_id_live",
        "refund",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('requested', 'approved', 'processing', 'abnormal')"),
    )
    install("record_payment", "take_payment_notice")
    append_only("payment_notice", "goods_delivery")
    kind = "kind IN (" + ", ".join(f"'{kind}'" for kind in KINDS) + ")"
    op.drop_constraint(op.f("ck_inbox_message_kind"), "inbox_message")
    op.create_check_constraint(op.f("ck_inbox_message_kind"), "inbox_message", kind)
