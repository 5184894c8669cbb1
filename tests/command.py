"""The `nuanxin` command as tests give it: in this process, for to start another takes longer than the command."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from app import cli, db
from app.settings import ROOT, settings
from tests.servers import NUANXIN


def told(*words: str, database: str = "", code: int = 1, **environment: str) -> str:
    """What a command says, whose exit code is this one."""
    out, err = io.StringIO(), io.StringIO()
    with (
        operator(words, given(database, environment)), redirect_stdout(out), redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):  # fmt: skip
        cli.main()
    return checked(end.value.code, code, out.getvalue(), err.getvalue())


@contextmanager
def operator(words: tuple[str, ...], environment: dict[str, str]) -> Iterator[None]:
    """Arguments, environment and settings as an operator gives them; afterwards all is as before."""
    bound = [(maker, maker.kw.get("bind")) for maker in (db.sessions, db.statements)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nuanxin", *words])
        for name, value in environment.items():
            patch.setenv(name, value)
        settings.cache_clear()
        try:
            yield
        finally:
            settings.cache_clear()
            for maker, engine in bound:
                maker.configure(bind=engine)


def told_by_process(*words: str, database: str = "", code: int = 1, **environment: str) -> str:
    """The same as an operator meets it, from a process of its own."""
    done = subprocess.run(
        (*NUANXIN, *words), env=os.environ | given(database, environment), cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return checked(done.returncode, code, done.stdout, done.stderr)


def given(database: str, environment: dict[str, str]) -> dict[str, str]:
    return {"COLUMNS": "200"} | environment | ({"NUANXIN_DATABASE_URL": database} if database else {})


def checked(ended: object, code: int, out: str, err: str) -> str:
    """Never a traceback, and nothing beside what it says."""
    assert ended == code, out + err
    assert err == ""
    assert "Traceback" not in out
    return out
