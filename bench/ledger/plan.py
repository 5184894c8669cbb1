"""What is posted, the same for everybody who posts, and what they say of it. The standard library only: the environment
of django-hordak has nothing else of ours."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter, process_time


@dataclass(frozen=True)
class Workload:
    """Gifts through so many channels to so many funds, an account each. `out`: the share of payments, which a fund
    must have the money for."""

    name: str
    funds: int
    channels: int
    out: float = 0.0


@dataclass(frozen=True)
class Wish:
    fund: int
    channel: int
    amount: int
    out: bool


#: Of six gifts and four payments as much comes as is asked for, so that some are refused.
LARGEST_GIFT, LARGEST_PAYMENT = 200, 300


def wishes(workload: Workload, seed: int) -> Iterator[Wish]:
    """Of one client. Funds and channels count from 1."""
    chance = random.Random(seed)
    while True:
        out = chance.random() < workload.out
        yield Wish(
            chance.randint(1, workload.funds), chance.randint(1, workload.channels),
            chance.randint(1, LARGEST_PAYMENT if out else LARGEST_GIFT), out,
        )  # fmt: skip


@dataclass
class Posted:
    """By one process. What was posted to warm up is in the counts, not in the latencies."""

    done: int = 0
    refused: int = 0
    seconds: float = 0.0
    #: Processor seconds.
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def count(self, done: bool) -> None:
        self.done += done
        self.refused += not done

    def begin(self) -> None:
        self.seconds, self.cpu = perf_counter(), process_time()

    def end(self) -> None:
        self.seconds, self.cpu = perf_counter() - self.seconds, process_time() - self.cpu
