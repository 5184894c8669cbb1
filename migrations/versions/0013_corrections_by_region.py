"""where a correction is decided; a household's number in the village before the village"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Where the subject is counted. Who is counted nowhere: of the household that they belong to, or did last.
FILL = """
UPDATE correction c
   SET region_code = coalesce(
       (SELECT p.region_code FROM person p WHERE p.id = c.person_id),
       (SELECT h.region_code FROM household h WHERE h.id = c.household_id),
       (SELECT h.region_code FROM membership m JOIN household h ON h.id = m.household_id
         WHERE m.person_id = c.person_id ORDER BY m.valid_to DESC NULLS FIRST, m.id DESC LIMIT 1))
"""


def upgrade() -> None:
    op.add_column("correction", sa.Column("region_code", sa.Text(), nullable=True))
    op.execute(FILL)
    op.alter_column("correction", "region_code", nullable=False)
    op.create_foreign_key(
        op.f("fk_correction_region_code_region"), "correction", "region", ["region_code"], ["code"]
    )
    op.create_index(
        "ix_correction_region_code", "correction", ["region_code", "status", "requested_at", "id"]
    )
    op.create_index(
        "ix_import_row_person_id_known", "import_row", ["person_id"], postgresql_where=sa.text("person_id <> id")
    )
    op.drop_index("uq_household_region_code_local_number_active", "household")
    op.create_index(
        "uq_household_region_code_local_number_active", "household", ["local_number", "region_code"], unique=True,
        postgresql_where=sa.text("local_number IS NOT NULL AND status = 'active'"),
    )
