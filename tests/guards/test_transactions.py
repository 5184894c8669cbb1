"""Who begins a transaction ends it: no service does so in the middle of somebody else's. Nor do two services lock what
the other means by something else."""

import re
from collections import defaultdict
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


def test_no_two_modules_lock_by_the_same_number() -> None:
    users: dict[int, list[str]] = defaultdict(list)
    for file in sorted((ROOT / "app").rglob("*.py")):
        for number in set(re.findall(r"\b7_?301_?664_?\d{3}\b", file.read_text(encoding="utf-8"))):
            users[int(number)].append(str(file.relative_to(ROOT)))
    assert users
    shared = {number: files for number, files in users.items() if len(files) > 1}
    assert not shared, "an advisory lock of two services makes each wait for the other"
