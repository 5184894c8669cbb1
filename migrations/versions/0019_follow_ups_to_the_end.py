"""follow-ups to the end: who does them, referrals in steps, rechecks, escalation, first contact, supplies"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from app.schema import append_only

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

KINDS = ("result_told", "counselling", "referral", "recheck", "early_pregnancy", "outcome")
STEPS = ("flagged", "informed", "referred", "seen", "diagnosed", "outcome", "declined", "lost")
ACTIONS = (
    "changed", "opened", "moved", "taken_back", "reopened", "doubted", "kept", "dropped", "started", "attempted",
    "completed", "stepped", "assigned", "handed_over", "escalated", "closed_by_report",
)  # fmt: skip
LIVE = "status IN ('open', 'in_progress')"


def upgrade() -> None:
    columns_of_follow_ups()
    keys_of_follow_ups()
    notes()
    steps()
    first_contacts()
    supplies()


def one_of(values: tuple[str, ...], column: str) -> str:
    return f"{column} IN (" + ", ".join(f"'{value}'" for value in values) + ")"


def columns_of_follow_ups() -> None:
    for name, kind in {
        "assignee_id": sa.Uuid(), "flagged_on": sa.Date(), "contact_by": sa.Date(), "escalate_days": sa.BigInteger(),
        "escalated_for": sa.Date(), "doubted_at": sa.DateTime(timezone=True), "step": sa.String(40),
        "stepped_on": sa.Date(), "born_on": sa.Date(), "referred_to": sa.Uuid(), "closed_by_id": sa.Uuid(),
    }.items():  # fmt: skip
        op.add_column("follow_up", sa.Column(name, kind))
    op.add_column("follow_up", sa.Column("topic", sa.Text(), nullable=False, server_default=""))
    op.add_column("follow_up", sa.Column("recheck_items", JSONB(), nullable=False, server_default="[]"))
    op.drop_constraint(op.f("ck_follow_up_followupkind"), "follow_up")
    op.create_check_constraint(op.f("ck_follow_up_followupkind"), "follow_up", one_of(KINDS, "kind"))
    op.create_check_constraint(op.f("ck_follow_up_referralstep"), "follow_up", one_of(STEPS, "step"))
    # How far a referral is was said in its outcome until now.
    op.execute(
        "UPDATE follow_up SET step = CASE outcome->>'reached' WHEN 'refused' THEN 'declined' ELSE "
        "coalesce(outcome->>'reached', 'flagged') END WHERE kind = 'referral'"
    )


def keys_of_follow_ups() -> None:
    for column, table in {
        "assignee_id": "staff_account", "referred_to": "organization", "closed_by_id": "diagnostic_report",
    }.items():  # fmt: skip
        op.create_foreign_key(f"fk_follow_up_{column}_{table}", "follow_up", table, [column], ["id"])
    op.drop_constraint("uq_follow_up_report_id_person_id_kind", "follow_up")
    op.create_unique_constraint(
        "uq_follow_up_report_id_person_id_kind_topic",
        "follow_up",
        ["report_id", "person_id", "kind", "topic"],
    )
    for name, column in {"assignee_id_live": "assignee_id", "kind_live": "kind"}.items():
        op.create_index(
            f"ix_follow_up_{name}", "follow_up", [column, "due_on", "id"], postgresql_where=sa.text(LIVE)
        )
    for name, where in {
        "unassigned": f"{LIVE} AND assignee_id IS NULL",
        "escalated": f"{LIVE} AND escalated_for = due_on",
        "doubted": f"{LIVE} AND doubted_at IS NOT NULL",
        "finished": "status IN ('done', 'obsolete')",
    }.items():
        op.create_index(
            f"ix_follow_up_due_on_{name}", "follow_up", ["due_on", "id"], postgresql_where=sa.text(where)
        )
    op.create_index(
        "ix_follow_up_flagged_on",
        "follow_up",
        ["flagged_on"],
        postgresql_where=sa.text("flagged_on IS NOT NULL"),
    )
    op.create_index("ix_follow_up_referred_to", "follow_up", ["referred_to", "due_on", "id"])


def notes() -> None:
    op.create_table(
        "follow_up_note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("follow_up_id", sa.Uuid(), nullable=False),
        sa.Column("place_sealed", sa.LargeBinary()),
        sa.Column("note_sealed", sa.LargeBinary()),
        sa.ForeignKeyConstraint(
            ["follow_up_id"], ["follow_up.id"], name="fk_follow_up_note_follow_up_id_follow_up"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_follow_up_note"),
    )
    op.create_index("ix_follow_up_note_follow_up_id", "follow_up_note", ["follow_up_id", "id"])


def steps() -> None:
    op.add_column(
        "follow_up_event", sa.Column("action", sa.String(40), nullable=False, server_default="changed")
    )
    op.add_column("follow_up_event", sa.Column("step", sa.String(40)))
    for name in ("happened_on", "contacted_on"):
        op.add_column("follow_up_event", sa.Column(name, sa.Date()))
    for column, table in {"assignee_id": "staff_account", "note_id": "follow_up_note"}.items():
        op.add_column("follow_up_event", sa.Column(column, sa.Uuid()))
        op.create_foreign_key(
            f"fk_follow_up_event_{column}_{table}", "follow_up_event", table, [column], ["id"]
        )
    for name, check in {
        "followupaction": one_of(ACTIONS, "action"), "referralstep": one_of(STEPS, "step"),
    }.items():  # fmt: skip
        op.create_check_constraint(op.f(f"ck_follow_up_event_{name}"), "follow_up_event", check)


def first_contacts() -> None:
    op.create_table(
        "first_contact",
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("days", sa.BigInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("people", "within", "late")),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("region_code", "month", "days", name="pk_first_contact"),
    )


def supplies() -> None:
    reasons = ("declined", "no_longer_needed", "medical_reason", "moved_away")
    op.create_table(
        "supply_plan",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("item", sa.String(40), nullable=False),
        sa.Column("months", sa.BigInteger(), nullable=False),
        sa.Column("months_given", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("next_due_on", sa.Date(), nullable=False),
        sa.Column("reminded_for", sa.Date()),
        sa.Column("status", sa.String(40), nullable=False),
        sa.Column("end_reason", sa.String(40)),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"),
        *(
            sa.CheckConstraint(check, name=op.f(f"ck_supply_plan_{name}"))
            for name, check in {
                "months": "months BETWEEN 1 AND 24",
                "months_given": "months_given BETWEEN 0 AND months",
                "end_reason": "(status = 'ended') = (end_reason IS NOT NULL)",
                "supplyitem": one_of(("folic_acid",), "item"),
                "supplystatus": one_of(("active", "done", "ended"), "status"),
                "supplyend": one_of(reasons, "end_reason"),
            }.items()
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_supply_plan_person_id_person"),
        sa.ForeignKeyConstraint(
            ["created_by"], ["staff_account.id"], name="fk_supply_plan_created_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_supply_plan"),
    )
    op.create_index("ix_supply_plan_person_id", "supply_plan", ["person_id", "id"])
    op.create_index(
        "ix_supply_plan_next_due_on_active", "supply_plan", ["next_due_on", "id"],
        postgresql_where=sa.text("status = 'active'"),
    )  # fmt: skip
    hand_outs()


def hand_outs() -> None:
    op.create_table(
        "supply_hand_out",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("given_on", sa.Date(), nullable=False),
        sa.Column("months", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("given_by", sa.Uuid()),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("months >= 1", name=op.f("ck_supply_hand_out_months")),
        sa.CheckConstraint("quantity >= 1", name=op.f("ck_supply_hand_out_quantity")),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["supply_plan.id"], name="fk_supply_hand_out_plan_id_supply_plan"
        ),
        sa.ForeignKeyConstraint(
            ["given_by"], ["staff_account.id"], name="fk_supply_hand_out_given_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_supply_hand_out"),
    )
    op.create_index("ix_supply_hand_out_plan_id", "supply_hand_out", ["plan_id", "id"])
    op.create_index("ix_supply_hand_out_batch", "supply_hand_out", ["batch"])
    append_only("supply_hand_out")
