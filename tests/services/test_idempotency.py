import uuid

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.models.audit import IdempotencyKey
from app.models.identity import Role
from app.services import idempotency
from app.services.idempotency import IdempotencyKeyReused, IdempotencyKeyTaken, Key
from tests.bad_input.house import build


async def test_a_key_belongs_to_one_actor_and_one_content(session: AsyncSession) -> None:
    actor, key = Actor(Role.RESIDENT, id=new_id()), Key(new_id(), b"1")
    assert await idempotency.claim(session, actor, key)
    assert not await idempotency.claim(session, actor, key)
    with pytest.raises(IdempotencyKeyReused):
        await idempotency.claim(session, actor, Key(key.id, b"2"))
    with pytest.raises(IdempotencyKeyTaken):
        await idempotency.claim(session, Actor(Role.RESIDENT, id=new_id()), key)


async def test_a_key_is_of_one_door_even_for_actors_of_the_same_id(session: AsyncSession) -> None:
    """The fingerprint holds the path, and with it the door: an administrator may choose the id of another actor
    for an account, and gets nothing by it."""
    house, key = await build(session), uuid.uuid4()
    body, headers = house.new_slot(), {"Idempotency-Key": str(key)}
    assert (await house.hospital.post("/partner/v1/slots", json=body, headers=headers)).status_code == 201
    me = (await house.county.get("/staff/v1/me")).json()["id"]
    await session.execute(
        update(IdempotencyKey).where(IdempotencyKey.id == key).values(actor_id=uuid.UUID(me))
    )
    await session.commit()
    answer = await house.county.post("/staff/v1/slots", json=body, headers=headers)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "idempotency-key-reused")
