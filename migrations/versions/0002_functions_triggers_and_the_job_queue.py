"""functions, triggers and the job queue"""

from alembic import op
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

from app.settings import ROOT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "audit_event",
    "appointment_event",
    "household_event",
    "follow_up_event",
    "report_version",
    "observation",
    "risk_assessment",
)


def install(function: str) -> None:
    text = (ROOT / "app" / "models" / "sql" / f"{function}.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(text)


def upgrade() -> None:
    install("refuse_change")
    install("book_appointment")
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_change()"
        )
    # Many statements in one text: only the driver's own execute takes them.
    queue = QueryBuilderEnvironment().build_install_query()
    op.get_bind().connection.dbapi_connection.run_async(lambda driver: driver.execute(queue))
