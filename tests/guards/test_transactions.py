"""Who begins a transaction ends it: no service does so in the middle of somebody else's."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from app.settings import ROOT

ENDS = re.compile(r"\b(db|own|session|connection)\.(commit|rollback)\(")
REASON = "gives the connection back"


def unexplained(file: Path) -> Iterator[str]:
    lines = ["", *file.read_text(encoding="utf-8").splitlines()]
    for number, (above, line) in enumerate(pairwise(lines), 1):
        if ENDS.search(line) and REASON not in f"{above}{line}".lower():
            yield f"{file.relative_to(ROOT)}:{number}"


def test_no_service_commits_or_rolls_back_unless_it_says_why() -> None:
    ending = [place for file in sorted((ROOT / "app/services").rglob("*.py")) for place in unexplained(file)]
    assert not ending, f"leave the end to whoever began, or say beside it that it {REASON}"
