"""What sealing beside the postings comes to."""

import statistics
from dataclasses import dataclass

from rich import box
from rich.table import Table

from bench.report import told


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
