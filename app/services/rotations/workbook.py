"""The list of a village as an Excel sheet to go from door to door with: masked names, who took it and when."""

import asyncio
import uuid

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor
from app.errors import Invalid
from app.models.rotations import TurnStatus
from app.services import audit
from app.services.rotations.turns import Listed, Wanted, listing
from app.services.sheets import sheet, taken_by

MOST = 5_000
HEADINGS = {
    "区划代码": 16,
    "姓名": 12,
    "计划月份": 12,
    "状态": 12,
    "上次检查年份": 14,
    "提醒次数": 10,
    "编号": 40,
}
STATUS = {
    TurnStatus.PLANNED: "待邀请", TurnStatus.INVITED: "已邀请", TurnStatus.BOOKED: "已预约",
    TurnStatus.ATTENDED: "已检查", TurnStatus.DECLINED: "谢绝", TurnStatus.NOT_REACHED: "未联系上",
    TurnStatus.DROPPED: "不再属于对象",
}  # fmt: skip


class ListTooLong(Invalid):
    zh, en = f"名单超过 {MOST} 人", f"The list has more than {MOST} people"
    do_zh, do_en = "请按村或按月下载", "Download it by village or by month"


async def workbook(
    db: AsyncSession, actor: Actor, *, rotation_id: uuid.UUID, wanted: Wanted, purpose: str
) -> bytes:
    """As listed. Recorded, with its purpose, in the file of each."""
    rows = await listing(db, actor, rotation_id=rotation_id, wanted=wanted, after=None, limit=MOST + 1)
    if len(rows) > MOST:
        raise ListTooLong
    mark = await taken_by(db, actor)
    people = [row.person_id for row in rows]
    await audit.record(db, actor, "download", "rotation", rotation_id, people=people, purpose=purpose)
    return await asyncio.to_thread(sheet, mark, HEADINGS, (_cells(row) for row in rows), name="轮查名单")


def _cells(row: Listed) -> tuple[str, ...]:
    month = f"{row.month:%Y-%m}" if row.month else ""
    checked = str(row.checked_year or "")
    return row.region_code, row.name, month, STATUS[row.status], checked, str(row.reminders), str(row.id)
