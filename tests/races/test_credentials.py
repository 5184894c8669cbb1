"""Proofs of workers, when connections are few and argon2 is busy."""

import asyncio
import threading

from sqlalchemy.ext.asyncio import create_async_engine

from app import db, tokens
from app.models.identity import Role
from tests.clients import REGION, a_worker, signed_in

DOOR = "/staff/v1"


async def test_six_who_prove_themselves_at_once_get_along_with_two_connections(committed: str) -> None:
    """Nobody holds a connection while waiting for argon2, or for a second connection."""
    async with db.sessions() as session:
        workers = [await a_worker(session, Role.VILLAGE_WORKER) for _ in range(6)]
        administrator = await a_worker(session, Role.SYSTEM_ADMINISTRATOR)
    callers, office = [await signed_in(worker) for worker in workers], await signed_in(administrator)
    engine = create_async_engine(db.driver(committed), pool_size=2, max_overflow=0, pool_timeout=2)
    db.bind(engine)
    try:
        changes = await asyncio.gather(*(
            caller.post(f"{DOOR}/me/password", json={"current_password": w.password, "new_password": f"{n} {'x' * 12}"})
            for n, (w, caller) in enumerate(zip(workers, callers, strict=True))
        ))  # fmt: skip
        paths = [f"{DOOR}/accounts/{worker.account.id}/reset" for worker in workers]
        resets = await asyncio.gather(*(office.post(path) for path in paths))
        accounts = [
            {"username": f"new.{n}", "name": "王芳", "role": "village_worker", "region_code": REGION}
            for n in range(6)
        ]
        made = await asyncio.gather(*(office.post(f"{DOOR}/accounts", json=account) for account in accounts))
    finally:
        await engine.dispose()
    assert [answer.status_code for answer in (*changes, *resets, *made)] == [204] * 6 + [200] * 6 + [201] * 6


async def test_no_connection_is_held_while_a_password_is_hashed(committed: str) -> None:
    """A thread of argon2 that waits is worth no connection: the whole pool is free for the others."""
    async with db.sessions() as session:
        workers = [await a_worker(session, Role.VILLAGE_WORKER) for _ in range(2)]
        administrator = await a_worker(session, Role.SYSTEM_ADMINISTRATOR)
    caller, office = await signed_in(workers[0]), await signed_in(administrator)
    engine = create_async_engine(db.driver(committed), pool_size=2, max_overflow=0, pool_timeout=2)
    db.bind(engine)
    free = threading.Event()
    busy = [asyncio.create_task(tokens.argon2(free.wait)) for _ in range(tokens.ARGON2_AT_ONCE)]
    body = {"current_password": workers[0].password, "new_password": "another long password"}
    account = {"username": "new.one", "name": "王芳", "role": "village_worker", "region_code": REGION}
    waiting = [
        asyncio.create_task(answer)
        for answer in (
            caller.post(f"{DOOR}/me/password", json=body),
            office.post(f"{DOOR}/accounts/{workers[1].account.id}/reset"),
            office.post(f"{DOOR}/accounts", json=account),
        )
    ]
    try:
        for _ in range(1000):
            if tokens._turns == len(waiting) and engine.pool.checkedout() == 0:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("somebody holds a connection")
        assert (await caller.get(f"{DOOR}/me")).status_code == 200
    finally:
        free.set()
        answers = await asyncio.gather(*waiting, *busy)
        await engine.dispose()
    assert [answer.status_code for answer in answers[:3]] == [204, 200, 201]
