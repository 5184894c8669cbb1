"""needs survey, family types by rule"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    surveys()
    op.add_column("household", sa.Column("family_type_reason_sealed", sa.LargeBinary()))
    op.add_column("household", sa.Column("family_type_overridden_by", sa.Uuid()))
    op.create_foreign_key(
        "fk_household_family_type_overridden_by_staff_account",
        "household", "staff_account", ["family_type_overridden_by"], ["id"],
    )
    op.create_index(
        "ix_audit_event_actor_id_missed", "audit_event", ["actor_id", "at"],
        postgresql_where=sa.text("action IN ('bind_refused', 'find_missed')"),
    )


def surveys() -> None:
    op.create_table(
        "survey_template",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("title_zh", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=False),
        sa.Column("questions", postgresql.JSONB(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_survey_template_region_code_region"),
        sa.ForeignKeyConstraint(
            ["published_by"], ["staff_account.id"], name="fk_survey_template_published_by_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_survey_template"),
        sa.UniqueConstraint("code", "region_code", "version", name="uq_survey_template_code_region_code_version"),
    )
    op.create_index(
        "uq_survey_template_code_region_code_in_force", "survey_template", ["code", "region_code"],
        unique=True, postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "survey_response",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("household_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("template_id", sa.Uuid(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("answers", postgresql.JSONB(), nullable=False),
        sa.Column("texts_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_by_role", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["household_id"], ["household.id"], name="fk_survey_response_household_id_household"
        ),
        sa.ForeignKeyConstraint(
            ["template_id"], ["survey_template.id"], name="fk_survey_response_template_id_survey_template"
        ),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_survey_response_region_code_region"),
        sa.PrimaryKeyConstraint("id", name="pk_survey_response"),
        sa.UniqueConstraint("household_id", "code", "year", name="uq_survey_response_household_id_code_year"),
    )
    op.create_table(
        "survey_tally",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=False),
        sa.Column("households", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_survey_tally_region_code_region"),
        sa.PrimaryKeyConstraint("code", "year", "region_code", "question", "choice", name="pk_survey_tally"),
    )
