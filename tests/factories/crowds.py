"""Many residents at once, who qualified for a service beforehand."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.db import new_id
from app.models.appointments import Qualification
from app.models.catalogue import HealthcareService
from app.models.households import Sex
from app.models.identity import ResidentAccount
from app.models.rules import RuleVersion
from app.services import identity
from tests.factories import appointments

OLDEST = date(1970, 1, 1)


@dataclass(frozen=True)
class Phone:
    """Somebody signed in. The access token is as good as one from the sign-in."""

    person_id: uuid.UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def phone(person_id: uuid.UUID, account_id: uuid.UUID) -> Phone:
    return Phone(person_id, tokens.issue_access(identity.DOOR, account_id, new_id()))


async def qualified(session: AsyncSession, service: HealthcareService, count: int) -> list[Phone]:
    """Women of different names and birthdays: nobody is taken for another."""
    rule = await session.scalar(select(RuleVersion.id).filter_by(code=service.rule_code))
    now = clock.now()
    people = [
        appointments.person(
            f"周{chr(0x4E00 + number)}", Sex.FEMALE, birth_date=OLDEST + timedelta(days=37 * number)
        )
        for number in range(count)
    ]
    session.add_all(people)
    await session.flush()  # accounts and qualifications refer to them
    accounts = {one.id: new_id() for one in people}
    session.add_all(
        ResidentAccount(id=accounts[one.id], openid=f"o-{one.id}", person_id=one.id, bound_at=now, created_at=now)
        for one in people
    )  # fmt: skip
    session.add_all(
        Qualification(
            id=new_id(), service_id=service.id, person_id=one.id, subject_id=one.id, cycle="event",
            region_code=appointments.REGION, rule_version_id=rule, facts={}, decided_at=now,
            valid_until=now + timedelta(days=30),
        )
        for one in people
    )  # fmt: skip
    await session.commit()
    return [phone(one.id, accounts[one.id]) for one in people]
