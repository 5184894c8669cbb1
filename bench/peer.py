"""Another project to compare with: an environment and a database of its own, made for a benchmark and gone with it."""

import asyncio
import subprocess
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from sqlalchemy.engine import make_url

from tests.database import execute

INSTALL_SECONDS = 900


@contextmanager
def environment(name: str, wanted: Sequence[str], console: Console) -> Iterator[Path | None]:
    """A folder whose bin/python has it. None, and said so, where the package index does not answer or has it not."""
    with tempfile.TemporaryDirectory(prefix=f"nuanxin-{name}-") as folder:
        reason = _install(Path(folder), wanted)
        if reason:
            console.print(f"{name} is left out, it cannot be installed here: {reason}", highlight=False)
        yield None if reason else Path(folder)


def _install(folder: Path, wanted: Sequence[str]) -> str:
    venv.create(folder, with_pip=True)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        done = subprocess.run(
            [*pip, *wanted], capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it takes more than {INSTALL_SECONDS} s"
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def database(url: str, name: str) -> tuple[str, dict[str, str]]:
    """A new one on the server of ours: its URL, and where it is as Django says it."""
    asyncio.run(execute(url, f"CREATE DATABASE {name}"))
    parts = make_url(url)
    host = parts.query.get("host") or parts.host or ""
    own = parts.set(database=name).render_as_string(hide_password=False)
    return own, {
        "NAME": name, "USER": parts.username or "", "HOST": str(host), "PORT": str(parts.port or "")
    }  # fmt: skip
