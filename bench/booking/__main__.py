"""Booking through HTTP, against the same endpoint written the textbook way, pretix, and PostgreSQL's own limit.

    python -m bench.booking [--quick]

Two server processes each, real tokens, 16 connections; the limit is our own statement called by pgbench with 16
clients on the same database, each booking alone. pretix 2026.8.0 comes from the package index, in an environment of its
own; an order through its REST API takes a place of a quota. Then a rush: the peak, found with 64 connections, and an
open loop that offers one, two and five times as much, whatever comes back. The textbook has 64 connections there too.
What sends and what sends away take their share of the same processors; so the limit of an overload is what a crowd of
64 books here while all that is offered beyond the peak goes to a bare loop and socket, which answers everything with
one 503 (bench/booking/bare.py): against it stands what our shedding costs, and nothing else.

Ratios are the result; the absolute figures hold for the machine they were taken on, where the client, the servers and
PostgreSQL share the processors; of them "CPU ms" (of the Python processes that serve, for each request) is the
steadiest. After every run the invariants are checked: a violation voids the row, and the exit code says so.
"""

import argparse
import sys

from rich.console import Console

from app.services.identity import DOOR
from bench.booking import limit, overload
from bench.booking.house import House, open_house
from bench.booking.plan import CLIENTS, FULL, QUICK, SERIES, SOLD_OUT, Runner, Size, Workload
from bench.booking.pretix import PRETIX
from bench.report import LIMIT, OURS, TEXTBOOK, Sheet, in_turns
from bench.stage import configure

EMPTY, CEILING = "empty, with a token", "GET /healthz"


def play(size: Size, console: Console) -> bool:
    """Every series and workload; true when no row is void."""
    with open_house(size, console) as house:
        console.print(house.heading(), highlight=False)
        kept = [play_series(house, name) for name in list(SERIES)[: size.series]]
        kept += [play_refusals(house), overload.play(house)]
    console.print("Read the ratios; the absolute figures are for this machine only.")
    return all(kept)


def play_series(house: House, name: str) -> bool:
    configure(house.url, name)
    against = {"textbook": TEXTBOOK, "pretix": PRETIX, "limit": LIMIT}
    sheet, kept = Sheet(f"{CLIENTS} connections, {name}", against, ("refused", "dropped")), True
    for workload in SERIES[name]:
        runs = in_turns(who_books(house, workload), workload, house.size.rounds, house.clear(workload))
        kept &= sheet.add(workload.name, runs)
    house.console.print(sheet.table)
    return kept


def who_books(house: House, workload: Workload) -> dict[str, Runner]:
    """Only we and the textbook have the reads."""
    runners = {OURS: house.http.book(house.ours), TEXTBOOK: house.http.book(house.textbook)}
    if not workload.reads:
        if house.pretix:
            runners[PRETIX] = house.pretix.order
        runners[LIMIT] = limit.statements(house.url, house.size)
    return runners


def play_refusals(house: House) -> bool:
    """Beside what any answer costs here."""
    runners: dict[str, Runner] = {
        OURS: house.http.book(house.ours),
        EMPTY: lambda _: house.http.repeat(house.textbook, f"{DOOR}/empty"),
        CEILING: lambda _: house.http.repeat(house.ours, "/healthz"),
    }
    sheet = Sheet(f"{CLIENTS} connections, refusals", {"empty": EMPTY}, ("refused", "dropped"))
    runs = in_turns(runners, SOLD_OUT, house.size.rounds, house.clear(SOLD_OUT))
    kept = sheet.add(SOLD_OUT.name, runs)
    house.console.print(sheet.table)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="the first series with few requests, to see that it works"
    )
    size = QUICK if parser.parse_args().quick else FULL
    sys.exit(0 if play(size, Console(width=None if sys.stdout.isatty() else 170)) else 1)


if __name__ == "__main__":
    main()
