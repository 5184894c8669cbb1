"""A lived-in house to send nonsense to, and the proof that nothing in it moved."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import Base
from app.models.households import Person, Sex
from app.models.identity import Role
from app.services.documents import check_character
from tests.clients import client
from tests.factories import appointments as made
from tests.factories import results
from tests.guards.cast import CITIZEN, PARTNER, PREFECTURE, PUBLIC, STAFF, caller, worker

TOWN, NEXT_COUNTY = "640104001000", "640105000000"


def number(digits: str) -> str:
    """With its check character."""
    return digits + check_character(digits)


@dataclass
class House:
    session: AsyncSession
    resident: httpx.AsyncClient
    other: httpx.AsyncClient
    village: httpx.AsyncClient
    next_county: httpx.AsyncClient
    county: httpx.AsyncClient
    administrator: httpx.AsyncClient
    auditor: httpx.AsyncClient
    hospital: httpx.AsyncClient
    anybody: httpx.AsyncClient
    person: Person
    attended: made.Attended
    slot: made.Slot
    household: dict[str, Any] = field(default_factory=dict)

    def at(self, door: str) -> httpx.AsyncClient:
        return {CITIZEN: self.resident, STAFF: self.village, PARTNER: self.hospital, PUBLIC: self.anybody}[
            door
        ]

    def form(self, **changes: Any) -> dict[str, Any]:
        return {"region_code": TOWN, "address": "凤凰北街 8 号", "members": [self.member()], **changes}

    def member(self, **changes: Any) -> dict[str, Any]:
        return {
            "relation": "head", "name": self.person.name, "phone": "13900000001", "document_kind": "passport",
            "document_number": self.person.document_number, "birth_date": "1995-06-01", "sex": "female",
            "hukou_region_code": TOWN, "hukou_type": "rural", "resident_since": "2020-01-01", **changes,
        }  # fmt: skip

    def new_slot(self, **changes: Any) -> dict[str, Any]:
        starts = clock.now() + timedelta(days=3)
        return {
            "clinic_id": str(self.attended.hospital.clinic.id), "service_code": made.PRE_PREGNANCY, "capacity": 5,
            "starts_at": starts.isoformat(), "ends_at": (starts + timedelta(hours=1)).isoformat(),
            "opens_at": clock.now().isoformat(), **changes,
        }  # fmt: skip

    def report(self, **changes: Any) -> dict[str, Any]:
        return results.body(self.attended, **changes)

    @asynccontextmanager
    async def nothing_changes(self, *, but: str = "") -> AsyncIterator[None]:
        """In any row of any table, but for the trail of the denied and of secrets given again."""
        before = await fingerprint(self.session)
        yield
        after = await fingerprint(self.session)
        changed = {
            table: (before[table], after[table])
            for table in before
            if before[table] != after[table] and table != but
        }
        assert changed == {}, changed

    async def submitted(self) -> dict[str, Any]:
        """The resident's own household, waiting for verification."""
        made = await self.resident.post(f"{CITIZEN}/households", json=self.form())
        assert made.status_code == 201, made.text
        sent = await self.resident.post(
            f"{CITIZEN}/households/{made.json()['id']}/submit", json={"version": made.json()["version"]}
        )
        assert sent.status_code == 200, sent.text
        self.household = sent.json()
        return self.household


async def fingerprint(session: AsyncSession) -> dict[str, Any]:
    """Of each table its count and the sum of its rows' hashes, but for what a hospital spends with every request."""
    tables = [name for name in Base.metadata.tables if name not in {"region", "partner_allowance"}]
    parts = [
        f"SELECT '{name}' AS name, count(*) AS rows, sum(hashtextextended(t::text, 0)) AS sum FROM {name} t"
        + (" WHERE action NOT IN ('denied', 'read_secret')" if name == "audit_event" else "")
        for name in tables
    ]
    found = await session.execute(text(" UNION ALL ".join(parts)))
    sums = {row.name: (row.rows, row.sum) for row in found}
    await session.commit()
    return sums


async def build(session: AsyncSession) -> House:
    """One resident without a household, one with; a village worker, her neighbour, a hospital with a report."""
    person, stranger = made.person("周晓燕", Sex.FEMALE), made.person("吴桂英", Sex.FEMALE)
    session.add_all([person, stranger])
    await session.flush()
    account, other = await made.account(session, person), await made.account(session, stranger)
    attended = await made.attended(session)
    await made.consents(session, person)
    slot = await made.slot(session, place=attended.hospital.clinic, service=attended.service)
    await session.commit()

    async def working(role: Role, region: str = PREFECTURE) -> httpx.AsyncClient:
        return await caller(session, STAFF, await worker(session, role, region))

    hospital = await caller(session, PARTNER, attended.hospital.actor, attended.hospital)
    return House(
        session, await caller(session, CITIZEN, account), await caller(session, CITIZEN, other),
        await working(Role.VILLAGE_WORKER, TOWN), await working(Role.VILLAGE_WORKER, NEXT_COUNTY),
        await working(Role.COUNTY_ADMINISTRATOR), await working(Role.SYSTEM_ADMINISTRATOR),
        await working(Role.AUDITOR), hospital, client(), person, attended, slot,
    )  # fmt: skip


def problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """A clear one: what, in both languages' default, and for 422 where."""
    assert answer.status_code in statuses, (
        f"{answer.request.method} {answer.request.url}: {answer.text[:300]}"
    )
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["title"]
    return document


def unknown() -> str:
    return str(uuid.uuid4())


FUTURE = number("640104" + str(date(2099, 1, 1)).replace("-", "") + "002")
