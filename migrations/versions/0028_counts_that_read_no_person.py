"""counts that read an index alone; a household's number in the order of villages"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

ALIVE = ["died_on", "restricted_at"]
# What a count and the keys of a page ask of a person: without it each one counted is looked up in the table.
WIDENED = {
    "ix_person_region_code": (["region_code", "id"], ["name", "birth_date", "sex", *ALIVE]),
    "ix_person_name_prefix": (["name", "region_code", "id"], ALIVE),
    "ix_person_birth_date": (["birth_date", "region_code", "id"], ["sex", *ALIVE]),
}


def upgrade() -> None:
    for name, (columns, included) in WIDENED.items():
        op.drop_index(name, "person")
        op.create_index(name, "person", columns, postgresql_include=included)
    op.drop_index("uq_household_region_code_local_number_active", "household")
    op.create_index(
        "uq_household_region_code_local_number_active", "household", ["local_number", "region_code"], unique=True,
        postgresql_include=["id"],
        postgresql_where=sa.text("local_number IS NOT NULL AND status = 'active'"),
    )  # fmt: skip
