"""The empty list to fill in: drop-downs, and a second sheet that explains each column. Examples stand only there: in
the list itself somebody would leave them in."""

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import xlsxwriter
from sqlalchemy import case, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.access import Actor, within
from app.models.households import CategoryDefinition
from app.models.regions import Region
from app.services.imports.columns import COLUMNS, Column
from app.services.imports.xlsx import EXPLAINED, OPTIONS
from app.services.regions import TOWN

LAST_ROW = 1_048_575
CHOICES = 5000
ADVICE = (
    "一行一人；同一户的人写在相邻的几行，户主在前。",
    "所有单元格请用“文本”格式；证件号码和手机号不要用科学记数。",
    "日期可写成 2001-05-01、2001/5/1、2001.5.1、20010501 或 2001年5月1日；年份必须四位。",
    "上传后系统先检查，逐行给出结果；有误的行可下载、改正后再次上传，已导入的行会自动跳过。",
    "一个文件最多 100 万行、一份名册；其他工作表（如封面、说明）不导入；不要使用公式、宏和隐藏的工作表。",
)


async def template(db: AsyncSession, actor: Actor) -> bytes:
    """With the towns and villages of the worker's own region to choose from."""
    above = aliased(Region)
    # A village with its town: two towns may each have a 塔桥村.
    name = case((Region.level > TOWN, above.name + Region.name), else_=Region.name)
    own = select(name).outerjoin(above, above.code == Region.parent_code)
    own = own.where(Region.level >= TOWN, Region.valid_to.is_(None), within(Region.code, actor.region_code))
    regions = list(await db.scalars(own.order_by(Region.code).limit(CHOICES)))
    categories = list(await db.scalars(select(CategoryDefinition.zh).order_by(CategoryDefinition.code)))
    return await asyncio.to_thread(blank, regions, categories)


def blank(regions: Sequence[str], categories: Sequence[str]) -> bytes:
    """An xlsx with the names of the worker's towns and villages, and of the categories, to choose from."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    formats = {
        "text": book.add_format({"num_format": "@"}),
        "heading": book.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1, "num_format": "@"}),
        "needed": book.add_format({"bold": True, "bg_color": "#FCE4D6", "border": 1, "num_format": "@"}),
        "wrapped": book.add_format({"text_wrap": True, "valign": "top"}),
    }
    listed = book.add_worksheet("名册")
    _explain(book.add_worksheet(EXPLAINED), categories, formats)
    options = book.add_worksheet(OPTIONS)
    options.write_column(0, 0, regions)
    for place, column in enumerate(COLUMNS):
        _column(listed, place, column, formats, len(regions))
    listed.freeze_panes(1, 0)
    book.close()
    return out.getvalue()


def _column(sheet: Any, place: int, column: Column, formats: dict[str, Any], regions: int) -> None:
    sheet.set_column(place, place, max(10, 2 * len(column.zh) + 4, len(column.example) + 2), formats["text"])
    sheet.write_string(0, place, column.zh, formats["needed" if column.needed else "heading"])
    rule: dict[str, Any] = {
        "validate": "any",
        "input_title": column.zh,
        "input_message": f"{'必填。' if column.needed else ''}{column.help}\n例：{column.example}",
        # A warning only: 长子 and 妻 are understood as well.
        "error_type": "warning",
        "error_message": "不在下拉选项中，导入时可能无法识别",
    }
    if column.choices:
        rule |= {"validate": "list", "source": list(column.choices)}
    elif column.key == "region" and regions:
        rule |= {"validate": "list", "source": f"={OPTIONS}!$A$1:$A${regions}"}
    sheet.data_validation(1, place, LAST_ROW, place, rule)


def _explain(sheet: Any, categories: Sequence[str], formats: dict[str, Any]) -> None:
    for place, (heading, width) in enumerate(
        (("列", 18), ("必填", 6), ("说明", 60), ("例", 34), ("可选", 60))
    ):
        sheet.set_column(place, place, width, formats["wrapped"])
        sheet.write_string(0, place, heading, formats["heading"])
    for row, column in enumerate(COLUMNS, 1):
        choices = categories if column.key == "categories" else column.choices
        texts = (column.zh, "是" if column.needed else "", column.help, column.example, "、".join(choices))
        for place, text in enumerate(texts):
            sheet.write_string(row, place, text)
    for row, advice in enumerate(ADVICE, len(COLUMNS) + 2):
        sheet.write_string(row, 0, advice)
