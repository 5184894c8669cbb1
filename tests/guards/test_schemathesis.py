"""Each door against its own contract, as each role: generated requests never meet a 5xx, and every answer is one
that the contract promises."""

import asyncio
import functools
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy.ext.asyncio import create_async_engine

from app import api, db
from app.access import GRANTS
from app.models.identity import Role
from app.services.proofs import sealing
from tests.clients import client
from tests.database import clone, drop
from tests.factories import appointments as made
from tests.factories import giving, ledger, proofs
from tests.guards.cast import PUBLIC, ROLES, STAFF, actors, caller

schemathesis.serializer.alias("application/pdf", "application/octet-stream")

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
# Of those who may, one after the other has an operation to try in earnest; of those who may not, one is refused.
EARNEST, OTHERS, REFUSED = 6, 1, 1
# The public door first: nobody has a role there. The staff door last: an administrator may well disable the hospital.
DOORS = sorted(ROLES, key=lambda door: (door == STAFF, door != PUBLIC))
WHO: list[tuple[str, Role | None]] = [(door, role) for door in DOORS for role in ROLES[door] or (None,)]


class World:
    """One loop, one clone of the database, one caller for each role: hypothesis runs outside of any loop."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.engine = create_async_engine(db.driver(url), pool_size=4, hide_parameters=True)
        db.bind(self.engine)
        self.ids: list[uuid.UUID] = []
        self.public_ids: list[uuid.UUID] = []
        self.gift = ""
        self.statuses: Counter[int] = Counter()
        self.callers: dict[tuple[str, Role | None], httpx.AsyncClient] = {}
        self.runner.run(self._people())

    async def _people(self) -> None:
        async with db.sessions() as session:
            everyone, hospital = await actors(session)
            attended = await made.attended(session, hospital=hospital)
            slot = await made.slot(session, place=hospital.clinic, service=attended.service)
            await session.commit()
            self.ids = [
                attended.appointment.id,
                attended.spouses.household.id,
                slot.id,
                hospital.organization.id,
            ]
            fund = await ledger.fund(session)
            gift = await proofs.gift(session, fund)
            self.public_ids = [fund.id, (await giving.campaign(session, fund)).id, gift.transfer_id]
            self.gift = gift.number
            for door, role in WHO:
                self.callers[door, role] = (
                    await caller(session, door, everyone[role], hospital) if role else client()
                )
            await session.commit()
        await sealing.seal_all()

    def send(self, door: str, role: Role | None, case: Case) -> httpx.Response:
        """As generated, but for the credentials."""
        sent = case.as_transport_kwargs(base_url=f"http://nuanxin.test{door}")
        names = {"authorization", "nuanxin-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
        headers = {k: v for k, v in dict(sent.get("headers") or {}).items() if k.lower() not in names}
        body = {
            "content" if key == "data" else key: sent[key]
            for key in ("json", "data")
            if sent.get(key) is not None
        }
        request = self.callers[door, role].request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, **body
        )
        answer = self.runner.run(request)
        self.statuses[answer.status_code // 100] += 1
        return answer

    def close(self) -> None:
        self.runner.run(self.engine.dispose())
        self.runner.close()
        for maker in (db.sessions, db.statements):
            maker.configure(bind=None)


@pytest.fixture(scope="module")
def world(server: str, worker_id: str, wechat: str) -> Iterator[World]:
    name = f"schemathesis_{worker_id}"
    world = World(asyncio.run(clone(server, name)))
    yield world
    world.close()
    asyncio.run(drop(server, name))


def examples(door: str, role: Role | None, operation: dict[str, Any]) -> int:
    if role is None:
        return EARNEST
    permission, chance = operation.get("x-permission"), zlib.crc32(operation["operationId"].encode())
    may = [one for one in ROLES[door] if permission in {None, *(granted.value for granted in GRANTS[one])}]
    may_not = [one for one in ROLES[door] if one not in may]
    if role in may:
        return EARNEST if role is may[chance % len(may)] else OTHERS
    return REFUSED if role is may_not[chance % len(may_not)] else 0


def cases(operation: Any) -> st.SearchStrategy[Case]:
    """What the contract allows, and where it takes anything, what it forbids."""
    raw = operation.definition.raw
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not raw.get("requestBody") and not raw.get("parameters"):
        return allowed
    return st.one_of(allowed, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


@functools.cache
def contract(door: str) -> list[tuple[Any, st.SearchStrategy[Case]]]:
    """Read once for all roles: to build the strategies takes longer than to send the requests."""
    found = schemathesis.openapi.from_dict(api.create_door(door).openapi()).get_all_operations()
    operations = [one.ok() for one in found]
    return [(operation, cases(operation)) for operation in operations]


@pytest.mark.parametrize(("door", "role"), WHO)
def test_the_door_keeps_its_contract(world: World, door: str, role: Role | None) -> None:
    failures: list[str] = []
    world.statuses.clear()
    ids = world.ids if role else world.public_ids
    for operation, allowed_or_not in contract(door):
        number = examples(door, role, operation.definition.raw)
        if not number or operation.definition.raw["operationId"] == "sign_out":
            continue  # signed out, the caller would be gone

        @settings(
            max_examples=number, deadline=None, database=None, derandomize=True,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=allowed_or_not, known=st.sampled_from([None, *ids]))
        def keeps(case: Case, known: uuid.UUID | None) -> None:
            for name in case.path_parameters or {}:
                if known is not None and (name == "id" or name.endswith("_id")) and name != "external_id":
                    case.path_parameters[name] = str(known)
                elif known is not None and name == "number":
                    case.path_parameters[name] = world.gift
            case.validate_response(world.send(door, role, case), checks=CHECKS)

        try:
            keeps()
        except (Exception, FailureGroup) as failure:
            failures.append(f"{operation.label}: {failure}")
    assert not failures, "\n\n".join(failures)
    assert world.statuses[2] >= 4, f"hardly anything was accepted: {world.statuses}"
