"""The benchmark runs, and no invariant breaks under its load. Says nothing about speed."""

import os
import subprocess
import sys

from app.settings import ROOT


def test_no_row_of_the_booking_benchmark_is_void() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.booking", "--quick"],
        cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept" in done.stdout
    assert "VOID" not in done.stdout
