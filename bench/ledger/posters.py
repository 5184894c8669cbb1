"""Who posts, in processes of their own: through our service, the textbook's way; and who seals beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from multiprocessing.synchronize import Barrier, Event
from time import perf_counter

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from app import clock, db
from app.db import new_id
from app.models.ledger import TransferKind
from app.services.ledger import posting
from app.services.ledger.posting import BANK, Entry, FundInsufficient
from app.services.proofs import sealing
from app.settings import settings
from bench.ledger import textbook
from bench.ledger.plan import Posted, Wish, Workload, wishes
from bench.report import OURS, TEXTBOOK

#: Of the sealing job that is never behind: it looks again so soon.
PAUSE = 0.05
_together: list[tuple[Barrier, Event]] = []


def begin(barrier: Barrier, enough: Event) -> None:
    """In each process: the barrier that all posters start from, and when the sealer has sealed what there was."""
    _together.append((barrier, enough))


def channel_code(number: int) -> str:
    return f"1009C{number:02}"


def fund_code(number: int) -> str:
    return f"F{number:02}"


def entry_of(wish: Wish) -> Entry:
    id, fund = new_id(), fund_code(wish.fund)
    if wish.out:
        kind, about = TransferKind.DISBURSEMENT, f"disbursement/{id}"
        return Entry(id, f"5101-{fund}", BANK, wish.amount, kind, about, clock.today())
    debit, kind = channel_code(wish.channel), TransferKind.DONATION
    return Entry(id, debit, f"410102-{fund}", wish.amount, kind, f"donation/{id}", clock.today())


async def ours(wish: Wish) -> bool:
    """A gift is one statement, as where a notice tells of it; a payment is asked for in a transaction."""
    entry = entry_of(wish)
    if not wish.out:
        async with db.statements() as session:
            return await posting.record(session, entry)
    try:
        async with db.begin() as session:
            return await posting.ask(session, entry)
    except FundInsufficient:
        return False


async def locking(wish: Wish) -> bool:
    async with db.begin() as session:
        return await textbook.post(session, entry_of(wish), record=not wish.out)


WAYS: dict[str, Callable[[Wish], Awaitable[bool]]] = {OURS: ours, TEXTBOOK: locking}


def post(way: str, url: str, workload: Workload, seconds: float, seeds: range) -> Posted:
    """A client for each seed, each with a connection of its own, until the time is over."""
    return uvloop.run(_post(WAYS[way], url, workload, seconds, seeds))


async def _post(
    send: Callable[[Wish], Awaitable[bool]], url: str, workload: Workload, seconds: float, seeds: range
) -> Posted:
    engine, posted = _connect(url, len(seeds)), Posted()
    await textbook.learn()
    plans = [wishes(workload, seed) for seed in seeds]
    for done in await asyncio.gather(*(send(next(plan)) for plan in plans)):
        posted.count(done)
    _together[-1][0].wait()
    posted.begin()
    deadline = perf_counter() + seconds

    async def client(number: int) -> None:
        while (since := perf_counter()) < deadline:
            posted.count(await send(next(plans[number])))
            posted.latencies.append(perf_counter() - since)

    await asyncio.gather(*map(client, range(len(plans))))
    posted.end()
    await engine.dispose()
    return posted


def _connect(url: str, clients: int) -> AsyncEngine:
    return db.connect(settings().model_copy(update={"database_pool": clients}), url)


def seal(url: str) -> int:
    """As the job does, again and again until told that nothing more comes, and then to the end: how many."""
    return uvloop.run(_seal(url))


async def _seal(url: str) -> int:
    engine, sealed, last = _connect(url, 1), 0, False
    while not last:
        last = _together[-1][1].is_set()
        sealed += (made := await sealing.seal_all())
        if not made and not last:
            await asyncio.sleep(PAUSE)
    await engine.dispose()
    return sealed
