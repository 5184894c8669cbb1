import contextlib

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.messages import InboxMessage, NoticeKind
from app.services.results.reports import IllegalReportStatus
from tests.factories import appointments as given
from tests.factories.appointments import Attended
from tests.factories.results import NORMAL_WIFE, body, post, with_value

RELEASED, CHANGED = NoticeKind.REPORT_RELEASED, NoticeKind.REPORT_CHANGED


async def told(session: AsyncSession, attended: Attended) -> list[tuple[NoticeKind, str]]:
    """What the wife was told of reports, oldest first; her husband the same."""
    mine = select(InboxMessage).where(InboxMessage.kind.in_([RELEASED, CHANGED])).order_by(InboxMessage.id)
    wife, husband = [
        [
            (one.kind, one.once)
            for one in await session.scalars(mine.where(InboxMessage.person_id == person.id))
        ]
        for person in (attended.spouses.wife, attended.spouses.husband)
    ]
    assert wife == husband
    return wife


async def test_both_are_told_once_when_it_is_released_and_once_for_each_change(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    for version, status in (
        (1, "preliminary"),
        (2, "final"),
        (2, "final"),
        (3, "amended"),
        (4, "entered_in_error"),
    ):
        await post(session, attended, posted | {"version": version, "status": status})
    assert await told(session, attended) == [(RELEASED, "2"), (CHANGED, "3"), (CHANGED, "4")]


async def test_an_older_version_that_comes_late_tells_nobody_anything(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    for version, status in ((3, "amended"), (1, "preliminary"), (2, "final")):
        await post(session, attended, posted | {"version": version, "status": status})
    assert await told(session, attended) == [(RELEASED, "3")]


async def test_what_was_taken_from_them_and_is_there_again_is_told_again(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    for version, status in ((3, "amended"), (2, "preliminary"), (4, "final")):
        with contextlib.suppress(IllegalReportStatus):
            await post(session, attended, posted | {"version": version, "status": status})
    assert await told(session, attended) == [(RELEASED, "3"), (CHANGED, "2"), (RELEASED, "4")]


async def test_what_never_was_released_is_told_to_nobody(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    for version, status in ((1, "registered"), (2, "partial"), (3, "cancelled")):
        await post(session, attended, posted | {"version": version, "status": status})
    assert await told(session, attended) == []


async def test_a_notice_says_what_and_where_and_never_the_result(session: AsyncSession) -> None:
    attended = await given.attended(session)
    wife = with_value(NORMAL_WIFE, "hbsag", "positive")
    await post(session, attended, body(attended, wife=wife, conclusion="乙肝表面抗原阳性"))
    (notice,) = await session.scalars(
        select(InboxMessage).where(
            InboxMessage.person_id == attended.spouses.wife.id, InboxMessage.kind == RELEASED
        )
    )
    assert notice.values == {"service": "免费孕前优生健康检查", "place": "优生门诊"}
