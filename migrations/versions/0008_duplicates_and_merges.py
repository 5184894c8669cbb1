"""suspected duplicates, merges"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from app.settings import ROOT

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("person", "household"):
        op.add_column(table, sa.Column("merged_into", sa.Uuid()))
        op.create_foreign_key(f"fk_{table}_merged_into_{table}", table, table, ["merged_into"], ["id"])
        op.create_index(
            f"ix_{table}_merged_into", table, ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
        )
    suspicions()
    merges()
    # What refers to a person is found by an index when it moves.
    op.create_index("ix_person_pinyin_birth_date", "person", ["pinyin", "birth_date"])
    op.create_index("ix_person_created_at", "person", ["created_at", "id"])
    op.create_index("ix_household_move_household_id", "household_move", ["household_id"])
    op.create_index("ix_household_move_to_household_id", "household_move", ["to_household_id"])
    op.create_index("ix_consent_person_id", "consent", ["person_id"])
    op.create_index(
        "ix_consent_guardian_id", "consent", ["guardian_id"], postgresql_where=sa.text("guardian_id IS NOT NULL")
    )
    text = (ROOT / "app" / "models" / "sql" / "book_appointment.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(text)


def suspicions() -> None:
    states = ("open", "dismissed", "confirmed")
    op.create_table(
        "suspicion",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_a", sa.Uuid(), nullable=False),
        sa.Column("person_b", sa.Uuid(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("reasons", JSONB(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(*states, name="suspicionstatus", native_enum=False, create_constraint=True, length=40),
            nullable=False,
        ),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("person_a < person_b", name="ck_suspicion_ordered"),
        sa.ForeignKeyConstraint(["person_a"], ["person.id"], name="fk_suspicion_person_a_person"),
        sa.ForeignKeyConstraint(["person_b"], ["person.id"], name="fk_suspicion_person_b_person"),
        sa.ForeignKeyConstraint(["decided_by"], ["staff_account.id"], name="fk_suspicion_decided_by_staff_account"),
        sa.PrimaryKeyConstraint("id", name="pk_suspicion"),
        sa.UniqueConstraint("person_a", "person_b", name="uq_suspicion_person_a_person_b"),
    )
    op.create_index("ix_suspicion_person_b", "suspicion", ["person_b"])
    op.create_index(
        "ix_suspicion_open", "suspicion", ["score", "id"], postgresql_where=sa.text("status = 'open'")
    )
    op.create_table(
        "compared_through",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_compared_through"),
    )


def merges() -> None:
    places = ("kept_person", "lost_person", "kept_household", "lost_household")
    op.create_table(
        "merge",
        sa.Column("id", sa.Uuid(), nullable=False),
        *(sa.Column(f"{place}_id", sa.Uuid(), nullable=True) for place in places),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("changes_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("merged_by", sa.Uuid(), nullable=True),
        sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_by", sa.Uuid(), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undo_reason_sealed", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("num_nonnulls(kept_person_id, kept_household_id) = 1", name="ck_merge_one_kind"),
        sa.CheckConstraint(
            "(kept_person_id IS NULL) = (lost_person_id IS NULL) "
            "AND (kept_household_id IS NULL) = (lost_household_id IS NULL)",
            name="ck_merge_pair",
        ),
        sa.CheckConstraint("kept_person_id <> lost_person_id", name="ck_merge_two_people"),
        sa.CheckConstraint("kept_household_id <> lost_household_id", name="ck_merge_two_households"),
        *(
            sa.ForeignKeyConstraint(
                [f"{place}_id"], [f"{place.split('_')[1]}.id"], name=f"fk_merge_{place}_id_{place.split('_')[1]}"
            )
            for place in places
        ),
        sa.ForeignKeyConstraint(["merged_by"], ["staff_account.id"], name="fk_merge_merged_by_staff_account"),
        sa.ForeignKeyConstraint(["undone_by"], ["staff_account.id"], name="fk_merge_undone_by_staff_account"),
        sa.PrimaryKeyConstraint("id", name="pk_merge"),
    )
    for place in places:
        op.create_index(f"ix_merge_{place}_id", "merge", [f"{place}_id"])
    op.create_index("ix_merge_merged_at", "merge", ["merged_at", "id"])
