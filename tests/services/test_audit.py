import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.db import new_id
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.services import audit
from app.settings import settings
from tests.clients import SYSTEM


def auditor(region_code: str) -> Actor:
    return Actor(Role.AUDITOR, id=new_id(), region_code=region_code)


async def trail(session: AsyncSession, actor: Actor, **of: object) -> list[AuditEvent]:
    return await audit.trail(
        session, actor, **{"person_id": None, "actor_id": None, "before": None, "limit": 100, **of}
    )


@pytest.mark.parametrize("region_code", [settings().region_code, "640000000000"])
async def test_an_auditor_of_the_association_reads_the_whole_trail_and_that_is_recorded(
    session: AsyncSession, region_code: str
) -> None:
    person = new_id()
    await audit.record(session, SYSTEM, "read", "person", person, people=[person])
    reader = auditor(region_code)
    assert [event.action for event in await trail(session, reader, person_id=person)] == ["read"]
    own = await trail(session, auditor(region_code), actor_id=reader.id)
    assert [(event.entity, event.person_id) for event in own] == [("audit_event", person)]


@pytest.mark.parametrize("region_code", ["640104000000", "640104001000", "640200000000"])
async def test_an_auditor_of_a_part_or_of_elsewhere_reads_none_of_it(
    session: AsyncSession, region_code: str
) -> None:
    before = await session.scalar(select(func.count()).select_from(AuditEvent))
    with pytest.raises(audit.TrailOfWholeAssociation):
        await trail(session, auditor(region_code), person_id=new_id())
    assert await session.scalar(select(func.count()).select_from(AuditEvent)) == before
