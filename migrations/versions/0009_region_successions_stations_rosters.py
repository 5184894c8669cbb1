"""successor regions, stations, rosters"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def states(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=40)


def items(name: str) -> sa.Column:
    return sa.Column(name, postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False)


def upgrade() -> None:
    region_succession()
    station()
    rosters()


def region_succession() -> None:
    op.create_table(
        "region_succession",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", states("successionkind", "renamed", "moved", "merged", "split"), nullable=False),
        sa.Column("old_code", sa.Text(), nullable=False),
        sa.Column("new_code", sa.Text(), nullable=False),
        sa.Column("old_name", sa.Text(), nullable=False),
        sa.Column("new_name", sa.Text(), nullable=True),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("new_code ~ '^[0-9]{12}$'", name=op.f("ck_region_succession_new_code")),
        sa.CheckConstraint(
            "(old_code = new_code) = (kind = 'renamed')", name=op.f("ck_region_succession_codes")
        ),
        sa.ForeignKeyConstraint(["old_code"], ["region.code"], name="fk_region_succession_old_code_region"),
        sa.PrimaryKeyConstraint("id", name="pk_region_succession"),
        sa.UniqueConstraint(
            "old_code",
            "new_code",
            "effective_on",
            name="uq_region_succession_old_code_new_code_effective_on",
        ),
    )
    op.create_index(
        "uq_region_succession_old_code_whole",
        "region_succession",
        ["old_code"],
        unique=True,
        postgresql_where=sa.text("kind IN ('moved', 'merged')"),
    )
    op.create_index("ix_region_succession_new_code", "region_succession", ["new_code"])
    op.create_index("ix_region_succession_effective_on", "region_succession", ["effective_on", "id"])
    op.create_index("ix_person_hukou_region_code", "person", ["hukou_region_code"])


def station() -> None:
    op.create_table(
        "station",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            states("stationkind", "happiness_home", "warm_heart_home", "family_health_place", "other"),
            nullable=False,
        ),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        items("rooms"),
        items("devices"),
        items("hours"),
        items("closed_days"),
        sa.Column("status", states("stationstatus", "draft", "open", "closed"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("latitude BETWEEN 3 AND 54", name=op.f("ck_station_latitude")),
        sa.CheckConstraint("longitude BETWEEN 73 AND 136", name=op.f("ck_station_longitude")),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_station_region_code_region"),
        sa.PrimaryKeyConstraint("id", name="pk_station"),
    )
    op.create_index("ix_station_region_code", "station", ["region_code", "id"])
    op.create_index(
        "ix_station_latitude_longitude_open",
        "station",
        ["latitude", "longitude"],
        postgresql_where=sa.text("status = 'open'"),
    )


def rosters() -> None:
    op.create_table(
        "roster_member",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind", states("rosterkind", "staff", "village_worker", "member", "volunteer"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("region_code", sa.Text(), nullable=False),
        sa.Column("post", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("staff_account_id", sa.Uuid(), nullable=True),
        sa.Column("joined_on", sa.Date(), nullable=False),
        sa.Column("left_on", sa.Date(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("left_on >= joined_on", name=op.f("ck_roster_member_period")),
        sa.ForeignKeyConstraint(["region_code"], ["region.code"], name="fk_roster_member_region_code_region"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_roster_member_person_id_person"),
        sa.ForeignKeyConstraint(
            ["staff_account_id"], ["staff_account.id"], name="fk_roster_member_staff_account_id_staff_account"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_roster_member"),
    )
    op.create_index("ix_roster_member_region_code", "roster_member", ["region_code", "id"])
    op.create_index("ix_roster_member_person_id", "roster_member", ["person_id"])
    op.create_table(
        "training_certificate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("expires_on > issued_on", name=op.f("ck_training_certificate_period")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["roster_member.id"], name="fk_training_certificate_member_id_roster_member"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_training_certificate"),
    )
    op.create_index("ix_training_certificate_member_id", "training_certificate", ["member_id", "id"])
    op.create_index(
        "ix_training_certificate_expires_on_valid",
        "training_certificate",
        ["expires_on", "id"],
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
