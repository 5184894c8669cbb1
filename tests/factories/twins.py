"""People who might be one, each in a household."""

from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.crypto import blind_index
from app.db import new_id
from app.models.households import Household, HouseholdStatus, Membership, Person, Relation, Sex
from tests.factories import appointments as given

TOWN = given.REGION
BORN = date(1987, 3, 9)


async def home(session: AsyncSession, *people: Person, region_code: str = TOWN) -> Household:
    """A household of these people; the first heads it."""
    row = Household(
        id=new_id(), region_code=region_code, status=HouseholdStatus.ACTIVE, created_at=clock.now()
    )
    session.add_all([row, *people])
    await session.flush()
    for one in people:
        one.region_code = region_code
        relation = Relation.HEAD if one is people[0] else Relation.OTHER
        session.add(
            Membership(
                id=new_id(), household_id=row.id, person_id=one.id, relation=relation, valid_from=date(2020, 1, 1)
            )
        )  # fmt: skip
    await session.flush()
    return row


async def somebody(
    session: AsyncSession, name: str = "张小芳", *, born: date = BORN, sex: Sex = Sex.FEMALE,
    region_code: str = TOWN, hukou: str = TOWN, phone: str | None = None, alone: bool = True,
) -> Person:  # fmt: skip
    one = given.person(name, sex, birth_date=born)
    one.hukou_region_code = hukou
    if phone:
        one.phone, one.phone_index = phone, blind_index("phone", phone)
    if alone:
        await home(session, one, region_code=region_code)
    return one
