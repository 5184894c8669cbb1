"""The smoke test: what `nuanxin journey` plays, on a real server with a real worker."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import journey
from app.models.appointments import Appointment, AppointmentStatus
from app.models.follow_ups import FollowUp, FollowUpKind, FollowUpStatus
from app.models.messages import InboxMessage, MessageStatus, SubscriptionMessage
from app.models.results import DiagnosticReport, ReportVersion
from tests.servers import World


async def test_a_couple_goes_from_two_phones_to_a_completed_follow_up(
    world: World, records: AsyncSession
) -> None:
    # Given a server and a worker on a database with the demo's workers and hospital,
    # when a couple and a hospital play the whole story over HTTP,
    told: list[str] = []
    story = await journey.play(world.url, told.append)

    # then it was told to its end,
    assert "完成" in told[-1]
    # the appointment took place,
    appointment = await records.get_one(Appointment, story.appointment["id"])
    assert appointment.status is AppointmentStatus.FULFILLED
    # the report, though posted twice, is there in one version,
    versions = select(func.count()).select_from(ReportVersion).join(DiagnosticReport)
    assert await records.scalar(versions.where(DiagnosticReport.appointment_id == appointment.id)) == 1
    # one reminder went out,
    reminders = select(SubscriptionMessage.status).join(InboxMessage).filter_by(entity_id=appointment.id)
    assert list(await records.scalars(reminders)) == [MessageStatus.SENT]
    # and the couple was told its result by the village worker, for each of those it was owed to.
    due = select(FollowUp).filter_by(report_id=story.posted["report_id"], kind=FollowUpKind.RESULT_TOLD)
    done = [task for task in await records.scalars(due) if task.status is FollowUpStatus.DONE]
    assert len(done) == 1
    assert done[0].completed_by is not None
