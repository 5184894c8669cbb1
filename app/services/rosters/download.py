"""A roster as an Excel sheet that says who took it and when."""

import asyncio

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access import Actor, visible, within
from app.crypto import mask_phone
from app.errors import Invalid
from app.models.regions import Region
from app.models.rosters import RosterKind, RosterMember
from app.services import audit
from app.services.sheets import sheet, taken_by

MOST = 20_000
KINDS = {
    RosterKind.STAFF: "工作人员",
    RosterKind.VILLAGE_WORKER: "村级服务人员",
    RosterKind.MEMBER: "会员",
    RosterKind.VOLUNTEER: "志愿者",
}
HEADINGS = {"类别": 14, "姓名": 14, "手机号": 16, "区划代码": 16, "区划名称": 24, "职务": 20, "加入日期": 12}


class RosterTooLarge(Invalid):
    zh, en = f"名册超过 {MOST} 人", f"The roster has more than {MOST} people"
    do_zh, do_en = "请按下级区划或类别分别下载", "Download it by divisions below or by kind"


async def workbook(
    db: AsyncSession, actor: Actor, *, region_code: str, kind: RosterKind | None, purpose: str
) -> bytes:
    """Those on the roster now, with full names, because it is their list of duties, and masked phones. Recorded, with
    its purpose, in the file of each."""
    query = (
        select(RosterMember, Region.name)
        .join(Region, Region.code == RosterMember.region_code)
        .where(
            visible(actor, RosterMember),
            within(RosterMember.region_code, region_code),
            RosterMember.left_on.is_(None),
        )
        .order_by(RosterMember.region_code, RosterMember.id)
        .limit(MOST + 1)
    )
    if kind is not None:
        query = query.where(RosterMember.kind == kind)
    found = [(row, region) for row, region in await db.execute(query)]
    if len(found) > MOST:
        raise RosterTooLarge
    mark = await taken_by(db, actor)
    people = [row.person_id for row, _ in found]
    await audit.record(db, actor, "download", "roster", people=people, purpose=purpose)
    lines = (_cells(row, region) for row, region in found)
    return await asyncio.to_thread(sheet, mark, HEADINGS, lines, name="名册")


def _cells(row: RosterMember, region: str) -> tuple[str, ...]:
    phone = mask_phone(row.phone) if row.phone else ""
    joined = row.joined_on.isoformat()
    return KINDS[row.kind], row.name, phone, row.region_code, region, row.post or "", joined
