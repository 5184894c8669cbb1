"""A list read by processes of their own: the same as by this one, and nothing is left of them."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest

from app import crypto
from app.db import new_id
from app.services.imports import reading
from app.services.imports.lines import FileRefused
from app.settings import ROOT
from tests.factories import spreadsheets
from tests.factories.known import known

BATCH = new_id()
KNOWN = known()
DRAWN = {"id", "person_id", "address_sealed", "document_number_sealed", "phone_sealed", "categories"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reading, "LONG", 1)
    yield
    assert multiprocessing.active_children() == []


def parts(path: Path, *, most: int | None = None) -> list[Any]:
    with path.open("rb") as file:
        found = reading.read(file, path.name, KNOWN, BATCH)
        got = [part for part, _ in zip(found, range(most or 100), strict=False)]
        found.close()
    return got


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_same_as_without_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    write = spreadsheets.as_csv if kind == "csv" else spreadsheets.as_xlsx
    path = write(tmp_path / f"list.{kind}", spreadsheets.rows(300))
    warnings, *chunks = parts(path)
    monkeypatch.setattr(reading, "LONG", 1 << 30)
    expected, *alone = parts(path)
    assert warnings == expected
    rows, others = list(chain(*chunks)), list(chain(*alone))
    assert len(rows) == len(others) == 300
    for row, other in zip(rows, others, strict=True):
        assert {key: row[key] for key in row if key not in DRAWN} == {
            key: other[key] for key in other if key not in DRAWN
        }
    row = next(row for row in rows if row["phone_sealed"])
    assert crypto.unseal(row["phone_sealed"], place=f"person|phone|{row['id']}").startswith("1")


def test_a_refusal_comes_through(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("甲,乙\n1,2\n")
    with pytest.raises(FileRefused) as refused:
        parts(path)
    assert "没有找到表头" in refused.value.why[0]


def test_who_stops_early_leaves_no_process(tmp_path: Path) -> None:
    path = spreadsheets.as_csv(tmp_path / "list.csv", spreadsheets.rows(12_000))
    assert len(parts(path, most=2)) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_reader_is_missed(tmp_path: Path, which: int) -> None:
    """Never taken for the end of the list."""
    path = spreadsheets.as_csv(tmp_path / "list.csv", spreadsheets.rows(25_000))
    with path.open("rb") as file:
        found = reading.read(file, path.name, KNOWN, BATCH)
        next(found)
        readers = sorted(child.pid or 0 for child in multiprocessing.active_children())
        os.kill(readers[which], signal.SIGKILL)
        with pytest.raises(reading.ReaderLost):
            list(found)


def test_what_goes_wrong_in_a_reader_says_nothing_of_a_cell(tmp_path: Path) -> None:
    broken = replace(KNOWN, regions=cast(Any, None))
    path = spreadsheets.as_csv(tmp_path / "list.csv", spreadsheets.rows(20))
    with path.open("rb") as file, pytest.raises(reading.ReaderLost) as lost:
        list(reading.read(file, path.name, broken, BATCH))
    assert str(lost.value) == "AttributeError"


SCRIPT = """
import sys
print("loaded", flush=True)
from app.services.imports import reading
if __name__ == "__main__":
    process = reading._Process(iter, "ab")
    print(*reading._received(process.receiving), flush=True)
    process.end()
    assert sys.modules["__main__"].reading is reading
"""


def test_a_reader_does_not_load_the_script_that_began_it(tmp_path: Path) -> None:
    """That of the server loads the whole application, in each reader."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, script], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.split() == ["loaded", "a", "b"]
