"""nowhere twice, also after a merge; old notices are found by their age"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

THERE = "('held', 'booked', 'arrived')"


def upgrade() -> None:
    op.create_index("ix_inbox_message_created_at", "inbox_message", ["created_at"])
    # The trigger of 0016, which also looks at who it is for: people are merged.
    op.execute("DROP TRIGGER refuse_overlap_later ON appointment")
    op.execute(
        "CREATE TRIGGER refuse_overlap_later BEFORE UPDATE OF status, starts_at, ends_at, person_id, spouse_id "
        "ON appointment FOR EACH ROW "
        f"WHEN (NEW.status IN {THERE} AND (OLD.status NOT IN {THERE} "
        "OR NEW.starts_at <> OLD.starts_at OR NEW.ends_at <> OLD.ends_at "
        "OR NEW.person_id <> OLD.person_id OR NEW.spouse_id IS DISTINCT FROM OLD.spouse_id)) "
        "EXECUTE FUNCTION refuse_overlap()"
    )
