"""What is asked for, and how much of it."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.report import Run

CLIENTS, CROWD = 16, 64


@dataclass(frozen=True)
class Size:
    requests: int
    seconds: float
    rounds: int
    statements: int
    series: int
    residents: int
    overload: tuple[float, ...]
    servers: int = 2
    durable: bool = True
    pretix: bool = True


FULL = Size(2000, 3.0, 3, 125, series=2, residents=12_000, overload=(1, 2, 5))
QUICK = Size(
    32, 0.5, 1, 2, series=1, residents=200, overload=(5,), servers=1, durable=False, pretix=False
)  # fmt: skip


@dataclass(frozen=True)
class Workload:
    name: str
    slots: int
    full: bool = False
    #: To each booking, two looks at the slots and one at one's own appointments.
    reads: bool = False


SPREAD, HOT = Workload("spread over 50 slots", 50), Workload("all on one slot", 1)
SOLD_OUT = Workload("sold out, 50 slots", 50, full=True)
MIXED = Workload("spread, with reads", 50, reads=True)
# Sold-out refusals flush nothing, so the second series would repeat the first.
SERIES = {"this disk": (SPREAD, HOT, SOLD_OUT, MIXED), "+1 ms a flush": (SPREAD, HOT)}

Runner = Callable[[Workload], Run]
