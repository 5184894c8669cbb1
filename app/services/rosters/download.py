"""A roster as an Excel sheet that says who took it and when."""

import asyncio
import io
from typing import Any

import xlsxwriter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor, fetch, visible, within
from app.crypto import mask_phone
from app.errors import Invalid
from app.models.regions import Region
from app.models.rosters import RosterKind, RosterMember
from app.models.staff import StaffAccount
from app.services import audit

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
    mark = await _watermark(db, actor)
    people = [row.person_id for row, _ in found]
    await audit.record(db, actor, "download", "roster", people=people, purpose=purpose)
    return await asyncio.to_thread(_written, found, mark)


async def _watermark(db: AsyncSession, actor: Actor) -> str:
    account = await fetch(db, actor, StaffAccount, actor.account_id)
    now = clock.now().astimezone(clock.SHANGHAI)
    return f"内部资料，请勿外传 · 下载人：{account.name}（{account.username}） · {now:%Y-%m-%d %H:%M}"


def _written(found: list[tuple[RosterMember, str]], mark: str) -> bytes:
    out = io.BytesIO()
    # Text stays text: a name that begins with = is no formula.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        sheet = book.add_worksheet("名册")
        sheet.set_header("&C" + mark.replace("&", "&&"))
        sheet.write_string(0, 0, mark, book.add_format({"font_color": "#999999"}))
        bold = book.add_format({"bold": True})
        for column, (heading, width) in enumerate(HEADINGS.items()):
            sheet.set_column(column, column, width)
            sheet.write_string(1, column, heading, bold)
        for line, (row, region) in enumerate(found, 2):
            for column, value in enumerate(_cells(row, region)):
                sheet.write_string(line, column, value)
        sheet.freeze_panes(2, 0)
    return out.getvalue()


def _cells(row: RosterMember, region: str) -> tuple[Any, ...]:
    phone = mask_phone(row.phone) if row.phone else ""
    joined = row.joined_on.isoformat()
    return KINDS[row.kind], row.name, phone, row.region_code, region, row.post or "", joined
