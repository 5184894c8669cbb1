"""Ever more than there is room for: what is accepted stays near the peak, and soon answered."""

from collections.abc import Sequence

from bench import load
from bench.booking.house import House
from bench.booking.plan import CROWD, HOT, MIXED, SPREAD, Runner, Workload
from bench.report import LIMIT, TEXTBOOK, Run, Sheet, in_turns, rate
from bench.stage import DISKS, configure

PEAK = "ours: the peak"
#: Of an open loop: enough that requests need not wait for one another to be sent.
CONNECTIONS = 300


def offer(house: House, rate: float) -> Runner:
    """So many a second, in an open loop."""
    http, servers = house.http, house.ours

    def run(workload: Workload) -> Run:
        requests = http.bookings(workload, min(house.size.residents, int(rate * house.size.seconds)))
        before = servers.cpu()
        work = http.client.submit(load.run_open, servers.ports, requests, CONNECTIONS, rate)
        answers = work.result()
        return http.judged(workload, answers, (servers.cpu() - before) / max(1, len(answers.samples)))

    return run


def beside(house: House, peak: float, times: float) -> Runner:
    """A crowd books here, while what is offered beyond the peak is shed elsewhere."""
    http, servers, size = house.http, house.ours, house.size

    def run(workload: Workload) -> Run:
        requests = http.bookings(workload, size.residents)
        seconds = min(size.seconds, size.residents / (times * peak))
        excess = (times - 1) * peak
        others = load.Offer(house.bare.ports, cycled(requests, int(excess * seconds)), CONNECTIONS, excess)
        before = servers.cpu()
        work = http.client.submit(load.run_beside, servers.ports, requests, CROWD, seconds, others)
        crowd, shed = work.result()
        done = http.judged(workload, crowd, (servers.cpu() - before) / max(1, len(crowd.samples)))
        done.shed, done.late = done.shed + len(shed.samples), shed.late
        return done

    return run


def cycled(requests: Sequence[bytes], count: int) -> list[bytes]:
    return [requests[number % len(requests)] for number in range(count)]


def play(house: House) -> bool:
    configure(house.url, next(iter(DISKS)))
    against = {"textbook": TEXTBOOK, "limit": LIMIT, "peak": PEAK}
    sheet = Sheet(f"rush: a crowd of {CROWD}, and overload", against, ("refused", "shed", "late", "dropped"))
    kept = [rush(house, workload, sheet) for workload in (SPREAD, HOT, MIXED)]
    house.console.print(sheet.table)
    return all(kept)


def rush(house: House, workload: Workload, sheet: Sheet) -> bool:
    http = house.http
    crowd = {PEAK: http.book(house.ours, CROWD), TEXTBOOK: http.book(house.textbook, CROWD)}
    runs = in_turns(crowd, workload, house.size.rounds, house.clear(workload))
    peak, limits, runners = rate(runs[PEAK]), {}, {}
    for times in house.size.overload:
        offered, limit = f"ours: {times:g}x offered", f"limit at {times:g}x"
        runners[offered] = offer(house, times * peak)
        if times > 1:
            runners[limit] = beside(house, peak, times)
            limits[offered] = limit
    runs |= in_turns(runners, workload, house.size.rounds, house.clear(workload))
    return sheet.add(workload.name, runs, limits)
