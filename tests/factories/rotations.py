"""Villages of women, and a rotation of the women's check among them."""

from datetime import date
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.models.households import Person, Sex
from app.models.identity import Role
from app.models.rotations import Rotation, RotationTurn
from app.services import rotations
from app.services.idempotency import Key
from app.services.rotations import NewRotation
from tests.factories import appointments as given
from tests.factories import families

CHECK = "womens_health_check"
COUNTY, EAST, WEST, FAR = given.COUNTY, families.EAST, families.WEST, families.FAR
#: Rows as a registration leaves them, many at once: a woman each in a household of her own.
MANY = (
    """INSERT INTO household (id, region_code, status, created_at)
       SELECT md5(:village || n)::uuid, :village, 'active', now() FROM generate_series(1, :count) AS n""",
    """INSERT INTO person (id, name, pinyin, initials, sex, birth_date, document_kind, document_number_sealed,
                           document_index, region_code, hukou_region_code, hukou_type, resident_since, created_at)
       SELECT md5(:village || 'p' || n)::uuid, '李秀英', 'li xiu ying', 'lxy', 'female', CAST(:born AS date),
              'passport', '\\x00', decode(md5(:village || n), 'hex'), :village, :village, 'rural', '2015-01-01', now()
         FROM generate_series(1, :count) AS n""",
    """INSERT INTO membership (id, household_id, person_id, relation, valid_from)
       SELECT gen_random_uuid(), md5(:village || n)::uuid, md5(:village || 'p' || n)::uuid, 'head', '2020-01-01'
         FROM generate_series(1, :count) AS n""",
)


async def women(
    session: AsyncSession, village: str, count: int, *, born: date = date(1985, 6, 1)
) -> list[Person]:
    for statement in MANY:
        values = {"village": village, "count": count, "born": born}
        await session.execute(text(statement), {k: v for k, v in values.items() if f":{k}" in statement})
    here = select(Person).where(Person.region_code == village, Person.sex == Sex.FEMALE)
    return list(await session.scalars(here.order_by(Person.id)))


async def county_worker(session: AsyncSession) -> Actor:
    return await given.worker(session, COUNTY, Role.COUNTY_ADMINISTRATOR)


async def stated(
    session: AsyncSession, actor: Actor, monthly: list[int] | None = None, **more: Any
) -> Rotation:
    """From next year on, planned."""
    hospital = await given.clinic(session)
    new = NewRotation.model_validate(
        {
            "service_code": CHECK, "region_code": COUNTY, "first_year": clock.today().year + 1, "years": 3,
            "capacities": [{"clinic_id": hospital.clinic.id, "monthly": monthly or [10] * 12}], **more,
        }
    )  # fmt: skip
    made = await rotations.create(session, actor, key=Key(new_id(), b"x"), new=new)
    return await planned(session, made.rotation)


async def planned(session: AsyncSession, rotation: Rotation) -> Rotation:
    await session.commit()
    await rotations.work(rotation.id)
    await session.refresh(rotation)
    return rotation


async def turns(session: AsyncSession, rotation: Rotation) -> list[RotationTurn]:
    query = select(RotationTurn).where(RotationTurn.rotation_id == rotation.id)
    query = query.order_by(RotationTurn.region_code, RotationTurn.person_id)
    return list(await session.scalars(query.execution_options(populate_existing=True)))
