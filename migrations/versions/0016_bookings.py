"""booking statements: nobody in two places at one time, places, courses, notes of steps, certificates"""

import sqlalchemy as sa
from alembic import op

from app.schema import install

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # It takes places now, and says from when somebody may book again.
    op.execute("DROP FUNCTION book_appointment")
    install("refuse_overlap", "barred_until", "book_appointment")
    triggers()
    notes()
    certificates()


def triggers() -> None:
    # Whoever held the time already holds it on: only a new appointment, a new time, or a return from outside looks.
    there = "('held', 'booked', 'arrived')"
    op.execute(
        "CREATE TRIGGER refuse_overlap BEFORE INSERT ON appointment FOR EACH ROW "
        f"WHEN (NEW.status IN {there}) EXECUTE FUNCTION refuse_overlap()"
    )
    op.execute(
        "CREATE TRIGGER refuse_overlap_later BEFORE UPDATE OF status, starts_at, ends_at ON appointment FOR EACH ROW "
        f"WHEN (NEW.status IN {there} AND (OLD.status NOT IN {there} "
        "OR NEW.starts_at <> OLD.starts_at OR NEW.ends_at <> OLD.ends_at)) EXECUTE FUNCTION refuse_overlap()"
    )


def notes() -> None:
    op.create_table(
        "appointment_note",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("note_sealed", sa.LargeBinary()),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointment.id"], name="fk_appointment_note_appointment_id_appointment"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_appointment_note"),
    )
    op.create_index("ix_appointment_note_appointment_id", "appointment_note", ["appointment_id", "id"])
    op.add_column("appointment_event", sa.Column("note_id", sa.Uuid()))
    op.create_foreign_key(
        "fk_appointment_event_note_id_appointment_note", "appointment_event", "appointment_note", ["note_id"], ["id"]
    )


def certificates() -> None:
    op.create_table(
        "attendance_certificate",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("appointment_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["appointment_id"], ["appointment.id"], name="fk_attendance_certificate_appointment_id_appointment"
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_attendance_certificate_person_id_person"),
        sa.PrimaryKeyConstraint("id", name="pk_attendance_certificate"),
        sa.UniqueConstraint("number", name="uq_attendance_certificate_number"),
        sa.UniqueConstraint(
            "appointment_id", "person_id", name="uq_attendance_certificate_appointment_id_person_id"
        ),
    )
    op.create_index("ix_attendance_certificate_person_id", "attendance_certificate", ["person_id", "id"])
