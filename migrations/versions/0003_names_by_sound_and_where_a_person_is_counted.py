"""names by sound, where a person is counted, what the handbook keeps apart"""

import sqlalchemy as sa
from alembic import op

from app import names

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "handbook_detail",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_handbook_detail_person_id_person"),
        sa.PrimaryKeyConstraint("id", name="pk_handbook_detail"),
    )
    op.create_index("ix_handbook_detail_person_id", "handbook_detail", ["person_id"])
    for column in (
        sa.Column("person_id", sa.Uuid()),
        sa.Column("happened_on", sa.Date()),
        sa.Column("detail_id", sa.Uuid()),
    ):
        op.add_column("household_event", column)
    for column in (
        sa.Column("region_code", sa.Text()),
        sa.Column("pinyin", sa.Text()),
        sa.Column("initials", sa.Text()),
        sa.Column("died_on", sa.Date()),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
    ):
        op.add_column("person", column)
    op.execute(
        "UPDATE person SET region_code = household.region_code FROM membership JOIN household "
        "ON household.id = membership.household_id WHERE membership.person_id = person.id "
        "AND membership.valid_to IS NULL"
    )
    sounds()
    op.alter_column("person", "pinyin", nullable=False)
    op.alter_column("person", "initials", nullable=False)
    op.create_foreign_key("fk_person_region_code_region", "person", "region", ["region_code"], ["code"])
    op.create_index("ix_person_region_code", "person", ["region_code", "id"])


def sounds() -> None:
    """Each name once, however many bear it."""
    connection = op.get_bind()
    update = sa.text("UPDATE person SET pinyin = :pinyin, initials = :initials WHERE name = :name")
    for name in connection.scalars(sa.text("SELECT DISTINCT name FROM person")).all():
        sound = names.pinyin(name)
        connection.execute(update, {"name": name, "pinyin": sound, "initials": names.initials(sound)})
