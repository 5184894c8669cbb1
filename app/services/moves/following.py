"""What is still to be done for people goes with them."""

import uuid
from collections.abc import Collection

from sqlalchemy import exists, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.models.appointments import Appointment
from app.models.follow_ups import FollowUp
from app.models.households import Person
from app.models.results import DiagnosticReport
from app.models.rotations import OPEN_TURNS, RotationTurn
from app.models.waitlist import WaitlistEntry
from app.services.appointments import waitlist
from app.services.corrections import following as corrections
from app.services.follow_ups import assignment
from app.services.follow_ups.events import LIVE


async def follow(db: AsyncSession, people: Collection[uuid.UUID], region_code: str) -> None:
    """The village where these people are counted now sees their appointments to come, does what is still to be done
    for them, decides about their corrections and reads their reports; the one that they left no more. A joint report
    stays where the other of the two is counted: no village reads the values of somebody whom it has never looked after.
    """
    both = Person.id.in_([DiagnosticReport.person_id, DiagnosticReport.spouse_id])
    one = or_(DiagnosticReport.person_id.in_(people), DiagnosticReport.spouse_id.in_(people))
    moved = (
        update(Appointment)
        .where(Appointment.person_id.in_(people), Appointment.starts_at > clock.now())
        .values(region_code=region_code),
        update(WaitlistEntry)
        .where(WaitlistEntry.person_id.in_(people), WaitlistEntry.status.in_(waitlist.LIVE))
        .values(region_code=region_code),
        update(FollowUp)
        .where(FollowUp.person_id.in_(people), FollowUp.status.in_(LIVE))
        .values(region_code=region_code, version=FollowUp.version + 1),
        update(RotationTurn)
        .where(RotationTurn.person_id.in_(people), RotationTurn.status.in_(OPEN_TURNS))
        .values(region_code=region_code, version=RotationTurn.version + 1),
        update(DiagnosticReport)
        .where(one, ~exists().where(both, Person.region_code != region_code))
        .values(region_code=region_code),
    )
    for statement in moved:
        await db.execute(statement.execution_options(synchronize_session=False))
    await assignment.renew(db, Actor.system("moves"), people=people)
    await corrections.follow(db, region_code, people=people)
