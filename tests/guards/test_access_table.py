"""Who may call what: a table to read, the same table in the code, and each cell tried over HTTP."""

import uuid
from pathlib import Path

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from app import api
from app.access import GRANTS
from app.models.identity import Role
from tests.clients import client
from tests.guards.cast import CITIZEN, PARTNER, PUBLIC, ROLES, STAFF, actors, agree, caller, endpoints

GOLDEN = Path(__file__).with_name("access_table.txt")
# What anybody may call without credentials. A new route comes here only when that is meant.
OPEN: dict[str, set[str]] = {
    CITIZEN: {"POST /sign-in", "POST /refresh"},
    STAFF: {"POST /sign-in", "POST /refresh", "POST /enrolment/begin", "POST /enrolment/confirm"},
    PARTNER: set(),
    PUBLIC: {
        "GET /regions", "GET /regions/{code}", "GET /stations", "GET /stations/nearest", "GET /stations/{id}",
        "GET /services", "GET /categories", "GET /problems", "GET /wechat/events", "POST /wechat/events",
        "POST /certificate-checks",
        "GET /campaigns", "GET /campaigns/{id}", "GET /campaigns/{id}/donations",
        "GET /campaigns/{id}/quarters", "GET /donation-certificates/{number}", "GET /funds",
        "GET /funds/{id}", "GET /funds/{id}/donations", "GET /funds/{id}/spending",
        "GET /funds/{id}/statements/{period}", "GET /proofs/consistency", "GET /proofs/gifts/{number}",
        "GET /proofs/head", "GET /proofs/heads", "GET /proofs/heads/{size}", "GET /proofs/keys",
        "GET /proofs/leaves", "GET /proofs/transfers/{id}",
    },
}  # fmt: skip


def verdict(permission: str | None, role: Role) -> str:
    if permission is None:
        return "open"
    return "allowed" if permission in {granted.value for granted in GRANTS[role]} else "-"


def table() -> str:
    lines = []
    for door, roles in ROLES.items():
        lines += [f"{door:<60}{'permission':<22}" + "".join(f"{role.value:<22}" for role in roles)]
        for method, route in endpoints(door):
            permission = api.permission_of(route)
            cells = "".join(f"{verdict(permission, role):<22}" for role in roles)
            lines.append(f"{method:<7}{route.path:<53}{permission or 'open':<22}{cells}")
        lines.append("")
    return "\n".join(line.rstrip() for line in lines)


def test_the_table_says_what_the_code_does() -> None:
    agree(GOLDEN, table())


def test_every_route_has_a_permission_or_is_listed_open() -> None:
    for door in ROLES:
        without = {
            f"{method} {route.path}" for method, route in endpoints(door) if not api.permission_of(route)
        }
        assert without == OPEN[door], f"{door}: name a permission with may(…), or list the route as open"


def address(door: str, path: str) -> str:
    """With ids of nothing."""
    for name in ("{code}", "{external_id}"):
        path = path.replace(name, "640100000000")
    while "{" in path:
        path = path[: path.index("{")] + str(uuid.uuid4()) + path[path.index("}") + 1 :]
    return door + path


def is_problem(answer: httpx.Response) -> bool:
    return answer.headers["content-type"] == "application/problem+json"


async def test_nobody_enters_without_credentials(session: AsyncSession) -> None:
    for door in ROLES:
        for method, route in endpoints(door):
            answer = await client().request(method, address(door, route.path))
            name = f"{method} {route.path}"
            if name in OPEN[door]:
                assert answer.status_code not in {401, 403}, f"{door} {name}: {answer.status_code}"
            else:
                assert (answer.status_code, is_problem(answer)) == (401, True), (
                    f"{door} {name}: {answer.text}"
                )


async def test_each_role_enters_where_the_table_allows_and_nowhere_else(session: AsyncSession) -> None:
    everyone, hospital = await actors(session)
    for door, roles in ROLES.items():
        for role in roles:
            who = await caller(session, door, everyone[role], hospital)
            # Signing out comes last.
            for method, route in sorted(endpoints(door), key=lambda pair: pair[1].path == "/sign-out"):
                answer = await who.request(method, address(door, route.path))
                place = f"{role} {method} {door}{route.path}: {answer.status_code} {answer.text[:200]}"
                if verdict(api.permission_of(route), role) == "-":
                    assert (answer.status_code, is_problem(answer)) == (403, True), place
                else:
                    assert answer.status_code not in {401, 403}, place
                    assert answer.status_code < 500, place


async def test_a_token_opens_one_door_only(session: AsyncSession) -> None:
    everyone, _ = await actors(session)
    at_home = await caller(session, CITIZEN, everyone[Role.RESIDENT])
    at_work = await caller(session, STAFF, everyone[Role.VILLAGE_WORKER])
    assert (await at_home.get("/citizen/v1/sign-ins")).status_code == 200
    assert (await at_work.get("/staff/v1/me")).status_code == 200
    assert (await at_home.get("/staff/v1/me")).status_code == 401
    assert (await at_work.get("/citizen/v1/sign-ins")).status_code == 401
    assert (await at_work.get("/partner/v1/ping")).status_code == 401
