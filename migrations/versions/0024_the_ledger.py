"""the ledger and its funds"""

import sqlalchemy as sa
from alembic import op

from app.schema import append_only, install, one_of

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

KINDS = (
    "donation", "in_kind", "unmatched", "matched", "refund", "fee", "settlement", "disbursement", "delivery",
    "reversal", "leftover", "closing",
)  # fmt: skip
ACCOUNTANTS = """
DO $$
DECLARE kept record;
BEGIN
    FOR kept IN SELECT conrelid::regclass AS place, conname, pg_get_constraintdef(oid) AS rule FROM pg_constraint
                 WHERE contype = 'c' AND connamespace = current_schema()::regnamespace
                   AND pg_get_constraintdef(oid) LIKE '%''township_officer''%'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', kept.place, kept.conname);
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', kept.place, kept.conname,
                       replace(kept.rule, $r$'supervisor'::$r$, $r$'accountant'::character varying, 'supervisor'::$r$));
        EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', kept.place, kept.conname);
    END LOOP;
END
$$"""


def accountants() -> None:
    """Wherever a role is kept, there may be accountants."""
    op.execute(ACCOUNTANTS)


def upgrade() -> None:
    op.create_table(
        "fund",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("purpose_zh", sa.Text(), nullable=False),
        sa.Column("purpose_en", sa.Text(), nullable=False),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("status", one_of("fundstatus", "open", "closed"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name=op.f("fk_fund_region_code_region")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fund")),
        sa.UniqueConstraint("code", name=op.f("uq_fund_code")),
    )
    op.create_index("ix_fund_region_code", "fund", ["region_code"])
    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("story_zh", sa.Text(), nullable=False),
        sa.Column("story_en", sa.Text(), nullable=False),
        sa.Column(
            "mode", one_of("campaignmode", "own_site_mirror", "targeted", "platform_import"), nullable=False
        ),
        sa.Column("in_app_payment", sa.Boolean(), nullable=False),
        sa.Column("certificate_number", sa.Text(), nullable=True),
        sa.Column("filing_number", sa.Text(), nullable=True),
        sa.Column("platform_name", sa.Text(), nullable=True),
        sa.Column("platform_url", sa.Text(), nullable=True),
        sa.Column("goal_fen", sa.BigInteger(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("status", one_of("campaignstatus", "draft", "open", "closed"), nullable=False),
        sa.Column("leftover_rule", one_of("leftoverrule", "same_fund", "other_fund"), nullable=False),
        sa.Column("leftover_fund_id", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(leftover_rule = 'other_fund') = (leftover_fund_id IS NOT NULL)",
            name=op.f("ck_campaign_leftover"),
        ),
        sa.CheckConstraint(
            "NOT in_app_payment OR mode = 'targeted' OR (mode = 'own_site_mirror' AND certificate_number IS NOT NULL AND filing_number IS NOT NULL AND platform_url IS NOT NULL)",
            name=op.f("ck_campaign_lawful"),
        ),
        sa.CheckConstraint("ends_on >= starts_on", name=op.f("ck_campaign_dates")),
        sa.CheckConstraint("goal_fen > 0", name=op.f("ck_campaign_goal_fen")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_campaign_fund_id_fund")),
        sa.ForeignKeyConstraint(
            ["leftover_fund_id"], ["fund.id"], name=op.f("fk_campaign_leftover_fund_id_fund")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign")),
    )
    op.create_index("ix_campaign_fund_id", "campaign", ["fund_id"])
    op.create_table(
        "budget_line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("committed_fen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "committed_fen BETWEEN 0 AND amount_fen", name=op.f("ck_budget_line_committed_fen")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_budget_line_fund_id_fund")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_line")),
        sa.UniqueConstraint("fund_id", "year", "code", name=op.f("uq_budget_line_fund_id_year_code")),
    )
    op.create_table(
        "ledger_account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("zh", sa.Text(), nullable=False),
        sa.Column("en", sa.Text(), nullable=False),
        sa.Column(
            "account_class",
            one_of("accountclass", "asset", "liability", "net_assets", "income", "cost"),
            nullable=False,
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("fund_id", sa.Uuid(), nullable=True),
        sa.Column("limit_id", sa.Uuid(), nullable=True),
        sa.Column("shards", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("shards BETWEEN 1 AND 64", name=op.f("ck_ledger_account_shards")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_ledger_account_fund_id_fund")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_account")),
        sa.UniqueConstraint("code", name=op.f("uq_ledger_account_code")),
    )
    op.create_index("ix_ledger_account_fund_id", "ledger_account", ["fund_id"])
    op.create_index("ix_ledger_account_limit_id", "ledger_account", ["limit_id"])
    op.create_table(
        "account_balance",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("debits", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("credits", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pending", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "debits >= 0 AND credits >= 0 AND pending >= 0", name=op.f("ck_account_balance_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["ledger_account.id"], name=op.f("fk_account_balance_account_id_ledger_account")
        ),
        sa.PrimaryKeyConstraint("account_id", "shard", name=op.f("pk_account_balance")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "transfer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("debit_account_id", sa.BigInteger(), nullable=False),
        sa.Column("credit_account_id", sa.BigInteger(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            one_of("transferkind", *KINDS),
            nullable=False,
        ),
        sa.Column("phase", one_of("phase", "single", "hold", "post", "void"), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=True),
        sa.Column("pending_id", sa.Uuid(), nullable=True),
        sa.Column("reverses_id", sa.Uuid(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=True),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(pending_id IS NOT NULL) = (phase IN ('post', 'void'))", name=op.f("ck_transfer_pending_id")
        ),
        sa.CheckConstraint(
            "(reverses_id IS NOT NULL) = (kind = 'reversal')", name=op.f("ck_transfer_reverses_id")
        ),
        sa.CheckConstraint("amount_fen > 0", name=op.f("ck_transfer_amount_fen")),
        sa.CheckConstraint("debit_account_id <> credit_account_id", name=op.f("ck_transfer_two_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
    )
    op.create_index("ix_transfer_credit_account_id", "transfer", ["credit_account_id", "effective_on", "recorded_at", "id"])
    op.create_index("ix_transfer_debit_account_id", "transfer", ["debit_account_id", "effective_on", "recorded_at", "id"])
    op.create_index("ix_transfer_effective_on", "transfer", ["effective_on", "recorded_at", "id"])
    op.create_index(
        "ix_transfer_group_id", "transfer", ["group_id"], postgresql_where=sa.text("group_id IS NOT NULL")
    )
    op.create_index(
        "uq_transfer_pending_id",
        "transfer",
        ["pending_id"],
        unique=True,
        postgresql_where=sa.text("pending_id IS NOT NULL"),
    )
    op.create_index(
        "uq_transfer_reverses_id",
        "transfer",
        ["reverses_id"],
        unique=True,
        postgresql_where=sa.text("reverses_id IS NOT NULL"),
    )
    op.create_table(
        "refused_transfer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_transfer")),
    )
    op.create_table(
        "ledger_period",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("closed_by", sa.Uuid(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["closed_by"], ["staff_account.id"], name=op.f("fk_ledger_period_closed_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_period")),
        sa.UniqueConstraint("month", name=op.f("uq_ledger_period_month")),
        sa.CheckConstraint("EXTRACT(day FROM month) = 1", name=op.f("ck_ledger_period_month")),
    )
    op.create_table(
        "ledger_turnover",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", one_of("transferkind", *KINDS), nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["ledger_account.id"], name=op.f("fk_ledger_turnover_account_id_ledger_account")
        ),
        sa.PrimaryKeyConstraint("month", "account_id", "kind", name=op.f("pk_ledger_turnover")),
    )
    op.create_table(
        "reversal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column(
            "reason",
            one_of(
                "reversalreason", "wrong_account", "wrong_amount", "entered_twice", "not_received", "returned"
            ),
            nullable=False,
        ),
        sa.Column("reversed_by", sa.Uuid(), nullable=False),
        sa.Column("reversed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["reversed_by"], ["staff_account.id"], name=op.f("fk_reversal_reversed_by_staff_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reversal")),
        sa.UniqueConstraint("transfer_id", name=op.f("uq_reversal_transfer_id")),
    )
    op.create_table(
        "unsealed_transfer",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_unsealed_transfer")),
    )
    op.create_table(
        "ledger_leaf",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("transfer_id", sa.Uuid(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_ledger_leaf")),
    )
    op.create_index("uq_ledger_leaf_transfer_id", "ledger_leaf", ["transfer_id"], unique=True)
    op.create_table(
        "merkle_node",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_merkle_node")),
    )
    op.create_table(
        "tree_head",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_tree_head")),
    )
    op.create_table(
        "seal_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seal_key")),
    )
    install("post_transfer", "refuse_transfer", "open_ledger_account", "close_ledger_month")
    append_only(
        "ledger_account", "transfer", "refused_transfer", "ledger_period", "ledger_turnover", "reversal", "ledger_leaf",
        "merkle_node", "tree_head", "seal_key",
    )  # fmt: skip
    accountants()
