"""Somebody in each role at each door, with real tokens and signatures, and the golden files they are held to."""

import difflib
import os
from functools import cache
from pathlib import Path

import httpx
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession

from app import api, clock, tokens
from app.access import Actor
from app.models.identity import STAFF_ROLES, Role
from app.models.staff import StaffAccount
from app.services import identity, sign_ins, staff
from tests.clients import client, partner_client
from tests.factories import appointments as made

CITIZEN, STAFF, PARTNER, PUBLIC = "/citizen/v1", "/staff/v1", "/partner/v1", "/public/v1"
ROLES: dict[str, tuple[Role, ...]] = {
    CITIZEN: (Role.RESIDENT,),
    STAFF: STAFF_ROLES,
    PARTNER: (Role.PARTNER,),
    PUBLIC: (),
}
PREFECTURE = "640100000000"


def endpoints(door: str) -> list[tuple[str, APIRoute]]:
    """Every (method, route) of a door, in a stable order."""
    found = [(method, route) for route in api.routes_of(door) for method in route.methods or ()]
    return sorted(found, key=lambda pair: (pair[1].path, pair[0]))


def agree(golden: Path, text: str) -> None:
    """The file says what the code says; `GOLDEN=write` makes it so."""
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    written = golden.read_text(encoding="utf-8") if golden.exists() else ""
    difference = "\n".join(
        difflib.unified_diff(
            written.splitlines(), text.splitlines(), "written down", "in the code", lineterm=""
        )
    )
    assert not difference, (
        f"{golden.name} differs from the code. If the change is meant:\n"
        f"    GOLDEN=write python -m pytest tests/guards\n{difference}"
    )


async def bearer(session: AsyncSession, door: str, actor: Actor) -> dict[str, str]:
    """A new sign-in and its access token."""
    assert actor.id is not None
    pair = await sign_ins.start(session, actor, door=door, account_id=actor.id, device="test")
    await session.commit()
    return {"Authorization": f"Bearer {pair.access_token}"}


@cache
def some_hash() -> str:
    """Of a password that nobody knows, made once: argon2 takes its time."""
    return tokens.hash_password(tokens.random_code(16))


async def worker(session: AsyncSession, role: Role, region_code: str = PREFECTURE) -> Actor:
    """With an authenticator."""
    actor = await made.worker(session, region_code, role)
    account = await session.get_one(StaffAccount, actor.id)
    account.totp_enrolled_at, account.password_hash = clock.now(), some_hash()
    await session.commit()
    return actor


async def caller(
    session: AsyncSession, door: str, actor: Actor, hospital: made.Hospital | None = None
) -> httpx.AsyncClient:
    """This actor at this door."""
    if door == PARTNER:
        assert hospital is not None
        await session.commit()
        return partner_client(hospital.organization, hospital.key)
    assert door in {identity.DOOR, staff.DOOR}
    return client(headers=await bearer(session, door, actor))


async def actors(session: AsyncSession) -> tuple[dict[Role, Actor], made.Hospital]:
    """One of each role, in one prefecture. The resident is married, bound and consenting."""
    spouses, hospital = await made.couple(session), await made.clinic(session)
    everyone = {Role.RESIDENT: spouses.wife_actor, Role.PARTNER: hospital.actor}
    for role in STAFF_ROLES:
        everyone[role] = await worker(session, role)
    await session.commit()
    return everyone, hospital
