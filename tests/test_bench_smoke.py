"""The benchmarks run, and no invariant breaks under their load. Says nothing about speed."""

import asyncio
import os
import subprocess
import sys

from app.settings import ROOT
from tests.database import clone, drop


def test_no_row_of_the_booking_benchmark_is_void() -> None:
    check("bench.booking")


def test_no_row_of_the_ledger_benchmark_is_void(server: str, worker_id: str) -> None:
    name = f"bench_{worker_id}"
    check("bench.ledger", "--database", asyncio.run(clone(server, name)))
    asyncio.run(drop(server, name))


def check(benchmark: str, *more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", benchmark, "--quick", *more],
        cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept" in done.stdout
    assert "VOID" not in done.stdout
