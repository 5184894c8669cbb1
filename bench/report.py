"""What the runs of a booking benchmark come to: one table a series, one row for whoever ran."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich import box
from rich.table import Table

TEXTBOOK, PEAK = "textbook", "ours: the peak"


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


def rate(runs: list[Run]) -> float:
    return statistics.median(run.rate for run in runs)


def milliseconds(runs: list[Run], percent: int) -> str:
    latencies = sorted(seconds for run in runs for seconds in run.latencies)
    return f"{latencies[len(latencies) * percent // 100] * 1000:.1f}" if latencies else "-"


def table_of(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, width in (("workload", 20), ("who", 19)):
        table.add_column(name, min_width=width, no_wrap=True)
    for name in ("per second", "min-max", "x textbook", "x limit", "x peak", "p50 ms", "p99 ms", "CPU ms", "refused",
                 "shed", "late", "dropped"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("invariants")
    return table


def add_rows(table: Table, workload: str, runs: dict[str, list[Run]], limits: Mapping[str, str]) -> None:
    """`limits`: who is held against whom."""
    for number, (name, own) in enumerate(runs.items()):
        void = sorted({rule for run in own for rule in run.void})
        rates = [run.rate for run in own]
        compared = [
            f"{rate(own) / rate(runs[other]):.2f}" if other in runs else ""
            for other in (TEXTBOOK, limits.get(name, ""), PEAK)
        ]
        table.add_row(
            "" if number else workload, name,
            f"{rate(own):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}", *compared,
            milliseconds(own, 50), milliseconds(own, 99),
            "" if own[0].cpu is None else f"{statistics.median(run.cpu or 0 for run in own) * 1000:.2f}",
            f"{sum(run.refused for run in own):,}", f"{sum(run.shed for run in own):,}",
            f"{sum(run.late for run in own):,}", f"{sum(run.dropped for run in own):,}",
            f"VOID: {'; '.join(void)}" if void else "kept",
        )  # fmt: skip
    table.add_section()
