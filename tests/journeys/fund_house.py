"""Who is needed for a gift and for what becomes of it, signed in."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app import clock, db, tokens
from app.callers import Caller
from app.db import new_id
from app.models.identity import STAFF_DOOR, ResidentAccount, Role
from app.services import sign_ins
from app.services.identity import DOOR
from app.settings import ROOT
from tests.clients import REGION, a_worker
from tests.factories import disbursements as made

AT_ONCE = 16


@dataclass
class House:
    """Everybody at their doors."""

    http: httpx.AsyncClient
    county: Caller
    officer: Caller
    accountant: Caller
    donors: list[Caller]

    def public(self) -> Caller:
        return Caller(self.http, "/public/v1")


async def opened(http: httpx.AsyncClient, donors: int) -> House:
    async with db.begin() as session:
        accounts = [
            ResidentAccount(id=new_id(), openid=f"o-{number}", created_at=clock.now())
            for number in range(donors)
        ]
        session.add_all(accounts)
        county = await a_worker(session, Role.COUNTY_ADMINISTRATOR, made.COUNTY)
    async with db.begin() as session:
        officer = await a_worker(session, Role.TOWNSHIP_OFFICER, made.TOWN)
    async with db.begin() as session:
        accountant = await a_worker(session, Role.ACCOUNTANT, REGION)
    staff = []
    for worker in (county, officer, accountant):
        actor = worker.actor()
        async with db.begin() as session:
            pair = await sign_ins.start(
                session, actor, door=STAFF_DOOR, account_id=worker.account.id, device=""
            )
        staff.append(caller(http, STAFF_DOOR, pair.access_token))
    givers = [caller(http, DOOR, tokens.issue_access(DOOR, account.id, new_id())) for account in accounts]
    return House(http, *staff, givers)


def caller(http: httpx.AsyncClient, door: str, token: str) -> Caller:
    return Caller(http, door, {"Authorization": f"Bearer {token}"})


async def all_at_once(work: Callable[[int], Awaitable[Any]], numbers: Iterable[int]) -> list[Any]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Any:
        async with room:
            return await work(number)

    return await asyncio.gather(*map(one, numbers))


async def all_shown(house: House, path: str) -> list[dict[str, Any]]:
    """Page by page."""
    items, after = list[dict[str, Any]](), ""
    while True:
        page = await house.public().call("GET", f"{path}?limit=100{after}")
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&cursor={page['next']}"


def verified(certificate: Path, key: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (sys.executable, "-I", str(ROOT / "docs" / "verify.py"), str(certificate), "--key", key), check=False,
        capture_output=True, text=True, encoding="utf-8", env={"PYTHONIOENCODING": "utf-8", "PATH": ""},
    )  # fmt: skip
