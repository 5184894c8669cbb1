"""What the runs of a benchmark come to: a table a series, a row for whoever ran."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from rich import box
from rich.table import Table

OURS, TEXTBOOK, LIMIT = "ours", "textbook", "limit: pgbench"


@dataclass
class Run:
    rate: float
    latencies: list[float]
    cpu: float | None = None
    refused: int = 0
    dropped: int = 0
    shed: int = 0
    late: int = 0
    void: list[str] = field(default_factory=list)


Runs = dict[str, list[Run]]
Load = TypeVar("Load")


def in_turns(
    runners: Mapping[str, Callable[[Load], Run]], load: Load, rounds: int, clear: Callable[[], None]
) -> Runs:
    """What else the machine does falls on all alike."""
    runs: Runs = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            clear()
            runs[name].append(runner(load))
    return runs


def rate(runs: list[Run]) -> float:
    return statistics.median(run.rate for run in runs)


def milliseconds(runs: list[Run], percent: int) -> str:
    latencies = sorted(seconds for run in runs for seconds in run.latencies)
    return f"{latencies[len(latencies) * percent // 100] * 1000:.1f}" if latencies else "-"


def told(void: list[str]) -> str:
    return f"VOID: {'; '.join(void)}" if void else "kept"


class Sheet:
    """`against`: what the column is called, and who is held against. `counts`: of a run, added up."""

    def __init__(self, title: str, against: Mapping[str, str], counts: tuple[str, ...]) -> None:
        self.table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        self.against, self.counts = against, counts
        for name, width in (("workload", 20), ("who", 19)):
            self.table.add_column(name, min_width=width, no_wrap=True)
        compared = (f"x {name}" for name in against)
        for name in ("per second", "min-max", *compared, "p50 ms", "p99 ms", "CPU ms", *counts):
            self.table.add_column(name, justify="right", no_wrap=True)
        self.table.add_column("invariants")

    def add(self, workload: str, runs: Runs, limits: Mapping[str, str] | None = None) -> bool:
        """`limits`: who has a limit of the own. True when no run is void."""
        for number, (who, own) in enumerate(runs.items()):
            limit = {"limit": limits[who]} if limits and who in limits else {}
            held = {**self.against, **limit}.values()
            self.table.add_row(
                "" if number else workload, who,
                *_rates(own), *(_ratio(runs, who, other) for other in held),
                milliseconds(own, 50), milliseconds(own, 99), _cpu(own),
                *(f"{sum(getattr(run, name) for run in own):,}" for name in self.counts),
                told(sorted({rule for run in own for rule in run.void})),
            )  # fmt: skip
        self.table.add_section()
        return not any(run.void for own in runs.values() for run in own)


def _rates(own: list[Run]) -> tuple[str, str]:
    rates = [run.rate for run in own]
    return f"{rate(own):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}"


def _ratio(runs: Runs, who: str, other: str) -> str:
    if other not in runs or other == who or not rate(runs[other]):
        return ""
    return f"{rate(runs[who]) / rate(runs[other]):.2f}"


def _cpu(own: list[Run]) -> str:
    return "" if own[0].cpu is None else f"{statistics.median(run.cpu or 0 for run in own) * 1000:.2f}"
