"""schedules, rooms, practitioners and the calendar of working days"""

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
