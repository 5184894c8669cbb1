"""correction requests, erasure"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROLES = (
    "resident", "village_worker", "township_officer", "county_administrator", "supervisor", "auditor",
    "system_administrator", "partner", "system",
)  # fmt: skip
FIELDS = (
    "name", "sex", "birth_date", "document", "phone", "hukou_region_code", "hukou_type", "resident_since", "address",
)  # fmt: skip


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)


def upgrade() -> None:
    for column in ("restricted_at", "erased_at"):
        op.add_column("person", sa.Column(column, sa.DateTime(timezone=True)))
    op.create_index(
        "ix_person_restricted", "person", ["id"], postgresql_where=sa.text("restricted_at IS NOT NULL")
    )
    # For the copy of everything held about a person.
    op.create_index(
        "ix_household_event_person_id",
        "household_event",
        ["person_id"],
        postgresql_where=sa.text("person_id IS NOT NULL"),
    )
    op.create_index("ix_life_event_person_id", "life_event", ["person_id"])
    corrections()
    erasures()


def corrections() -> None:
    op.create_table(
        "correction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("household_id", sa.Uuid(), nullable=True),
        sa.Column("field", one_of("correctionfield", *FIELDS), nullable=False),
        sa.Column(
            "status",
            one_of("correctionstatus", "open", "approved", "rejected", "withdrawn"),
            nullable=False,
        ),
        sa.Column("old_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("new_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("requester_role", one_of("role", *ROLES), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(person_id, household_id) = 1", name=op.f("ck_correction_one_subject")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_correction_person_id_person"),
        sa.ForeignKeyConstraint(
            ["household_id"], ["household.id"], name="fk_correction_household_id_household"
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["staff_account.id"], name="fk_correction_decided_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_correction"),
    )
    for subject in ("person_id", "household_id"):
        op.create_index(
            f"uq_correction_{subject}_field_open",
            "correction",
            [subject, "field"],
            unique=True,
            postgresql_where=sa.text("status = 'open'"),
        )
        op.create_index(f"ix_correction_{subject}", "correction", [subject])
    op.create_index("ix_correction_status", "correction", ["status", "requested_at", "id"])
    op.create_index("ix_correction_requested_by", "correction", ["requested_by", "requested_at", "id"])


def erasures() -> None:
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column(
            "status",
            one_of("erasurestatus", "open", "held", "refused", "withdrawn", "done"),
            nullable=False,
        ),
        sa.Column("why_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("requester_role", one_of("role", *ROLES), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("holds", JSONB(), server_default="[]", nullable=False),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_erasure_person_id_person"),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_erasure_region_code_region"),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["staff_account.id"], name="fk_erasure_decided_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
    )
    op.create_index(
        "uq_erasure_person_id_under_way",
        "erasure",
        ["person_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('open', 'held')"),
    )
    op.create_index("ix_erasure_status", "erasure", ["status", "requested_at", "id"])
    op.create_index("ix_erasure_person_id", "erasure", ["person_id"])
    op.create_index("ix_erasure_requested_by", "erasure", ["requested_by"])
