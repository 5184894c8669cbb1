"""What the runs of the ledger's benchmark come to: one row for whoever posted, or sealed."""

import statistics
from dataclasses import dataclass

from rich import box
from rich.table import Table

from bench.report import TEXTBOOK, Run, milliseconds, rate

HORDAK, LIMIT = "django-hordak", "limit: pgbench"


def table_of(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, width in (("workload", 17), ("who", 18)):
        table.add_column(name, min_width=width, no_wrap=True)
    for name in ("per second", "min-max", "x textbook", "x hordak", "x limit", "p50 ms", "p99 ms", "CPU ms", "refused",
                 "dropped"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("invariants")
    return table


def add_rows(table: Table, workload: str, runs: dict[str, list[Run]]) -> bool:
    """True when none is void."""
    kept = True
    for number, (who, own) in enumerate(runs.items()):
        void = sorted({rule for run in own for rule in run.void})
        rates = [run.rate for run in own]
        compared = [
            f"{rate(own) / rate(runs[other]):.2f}" if other in runs and other != who else ""
            for other in (TEXTBOOK, HORDAK, LIMIT)
        ]
        table.add_row(
            "" if number else workload, who, f"{rate(own):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}", *compared,
            milliseconds(own, 50), milliseconds(own, 99),
            "" if own[0].cpu is None else f"{statistics.median(run.cpu or 0 for run in own) * 1000:.2f}",
            f"{sum(run.refused for run in own):,}", f"{sum(run.dropped for run in own):,}", told(void),
        )  # fmt: skip
        kept &= not void
    table.add_section()
    return kept


def told(void: list[str]) -> str:
    return f"VOID: {'; '.join(void)}" if void else "kept"


@dataclass
class Sealed:
    posted: float
    sealed: float
    behind: int
    drained: float
    void: list[str]


def sealing_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("workload")
    for name in ("posted a second", "sealed a second", "behind at the end", "seconds until none"):
        table.add_column(name, justify="right")
    table.add_column("invariants")
    return table


def add_sealing(table: Table, workload: str, runs: list[Sealed]) -> bool:
    void = sorted({rule for run in runs for rule in run.void})
    posted, sealed, behind, drained = (
        statistics.median(figures)
        for figures in zip(*((run.posted, run.sealed, run.behind, run.drained) for run in runs), strict=True)
    )
    table.add_row(
        workload, f"{posted:,.0f}", f"{sealed:,.0f}", f"{behind:,.0f}", f"{drained:.2f}", told(void)
    )
    return not void
