"""The limit: our statement called by pgbench."""

import asyncio

from bench import pgbench
from bench.booking import rows
from bench.booking.plan import CLIENTS, Runner, Size, Workload
from bench.report import Run

SCRIPT = r"""\set n :n + 1
\set i :client_id + 1 + (:n - 1) * {clients}
\set s (:i - 1) % {slots} + 1
SELECT outcome, (booked).* FROM book_appointment(ARRAY[gen_random_uuid()],
  ARRAY[('0000000a' || lpad(to_hex(:i::bigint), 24, '0'))::uuid], ARRAY['\x00'::bytea],
  ARRAY[('00000005' || lpad(to_hex(:s::bigint), 24, '0'))::uuid], ARRAY[1::bigint], ARRAY[lpad(:i::text, 10, '0')],
  ARRAY['-'], now());
"""


def statements(url: str, size: Size) -> Runner:
    def run(workload: Workload) -> Run:
        script = SCRIPT.format(clients=CLIENTS, slots=workload.slots)
        rate, latencies = pgbench.run(url, script, CLIENTS, "-t", size.statements)
        booked = 0 if workload.full else len(latencies)
        void = asyncio.run(rows.violations(url, confirmed=booked, unsure=0))
        return Run(rate, latencies, refused=len(latencies) - booked, void=void)

    return run
