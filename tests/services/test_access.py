"""What lies within a region, and what happens to an actor without one."""

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, fetch, region_bounds
from app.models.appointments import Clinic
from app.models.audit import AuditEvent
from app.models.identity import ROLE_NAMES, Role
from app.services import eligibility, regions
from tests.factories import appointments as made


@pytest.mark.parametrize(
    "code", ["", "0", "64", "64010000000", "6401000000000", "64010000000x", "64010000000٠"]
)
def test_what_is_no_region_code_bounds_nothing(code: str) -> None:
    with pytest.raises(ValueError, match="12 digits"):
        region_bounds(code)


async def test_a_worker_without_a_region_reaches_nothing(session: AsyncSession) -> None:
    place = await made.clinic(session)
    with pytest.raises(ValueError, match="12 digits"):
        await fetch(session, Actor(Role.COUNTY_ADMINISTRATOR), Clinic, place.clinic.id)


async def test_the_system_opens_in_every_region_and_a_worker_in_the_own(session: AsyncSession) -> None:
    await regions.require_own_region(session, Actor.system("test"), "110101001000")
    here = Actor(Role.COUNTY_ADMINISTRATOR, region_code="640104000000")
    await regions.require_own_region(session, here, "640104001000")
    with pytest.raises(regions.RegionOutsideOwn):
        await regions.require_own_region(session, here, "640105001000")


async def test_explaining_is_recorded_in_the_files_of_both_spouses(session: AsyncSession) -> None:
    spouses, service = await made.couple(session), await made.service(session)
    asker = spouses.wife_actor
    await eligibility.explain_service(session, asker, service=service, person_id=spouses.wife.id)
    files = select(AuditEvent.person_id).where(AuditEvent.action == "explain")
    assert set(await session.scalars(files)) == {spouses.wife.id, spouses.husband.id}


def test_every_role_has_a_name_in_both_languages() -> None:
    assert set(ROLE_NAMES) == set(Role)
