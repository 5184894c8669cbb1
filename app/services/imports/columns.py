"""The columns of a list: what each is called in Excel, and which cell of a line is which."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from app.services.imports.lines import NOTICED, About, FileRefused, Line

# Titles and dates may stand above the headings.
HEADINGS_WITHIN = 10
ENOUGH_TO_BE_HEADINGS = 3


@dataclass(frozen=True, slots=True)
class Column:
    """`zh` is the heading of the template; a heading that says it otherwise is found among the `synonyms`."""

    key: str
    zh: str
    synonyms: str
    example: str
    help: str
    needed: bool = False
    choices: tuple[str, ...] = ()


COLUMNS = (
    Column(
        "region", "村（社区）",
        "村 社区 村居 村名 所在村 行政村 村委会 居委会 社区名称 村社区 居住地 现居住地 区划代码",
        "大新镇新渠梢村", "名称或 12 位区划代码；同名时写明乡镇；合并单元格只填第一行即可", True,
    ),
    Column(
        "local_number", "户编号", "户号 家庭编号 户序号 家庭户编号", "0012",
        "本村自编的户号，同户各行相同；没有户号时，从“户主”行起算一户",
    ),
    Column(
        "address", "住址", "家庭住址 详细地址 地址 现住址 居住地址 家庭地址 详细住址", "三组 25 号",
        "每户填一次即可",
    ),
    Column(
        "family_type", "家庭类型", "家庭分类", "发展型", "可不填",
        choices=("发展型", "稳定型", "老年型", "新市民"),
    ),
    Column(
        "relation", "与户主关系", "关系 户主关系 家庭关系 与户主的关系 成员关系", "户主",
        "每户有且只有一位户主", True, ("户主", "配偶", "子女", "父母", "其他"),
    ),
    Column("name", "姓名", "成员姓名 人员姓名 名字 家庭成员姓名", "李建国", "与证件一致", True),
    Column(
        "document_kind", "证件类型", "证件种类 证件类别 证件名称", "居民身份证", "不填时按号码判断",
        choices=(
            "居民身份证", "港澳台居民居住证", "外国人永久居留身份证", "护照", "军官证", "户口簿",
        ),
    ),
    Column(
        "document_number", "证件号码",
        "身份证号 身份证号码 身份证 公民身份号码 公民身份证号码 证件号 居民身份证号码 居民身份证号 居民身份证",
        "440524199001010018", "请将整列设为“文本”格式，否则 Excel 会改坏 18 位号码", True,
    ),
    Column("sex", "性别", "", "男", "证件号码含性别的可不填", choices=("男", "女")),
    Column(
        "birth_date", "出生日期", "出生年月日 生日 出生年月 出生时间 出生日", "1990-01-01",
        "证件号码含出生日期的可不填",
    ),
    Column(
        "hukou_region", "户籍地", "户口所在地 户籍所在地 户籍地址 户籍地区划", "银川市兴庆区大新镇",
        "区划名称或代码",
    ),
    Column(
        "hukou_type", "户口性质", "户籍类型 户口类型 户籍性质 户口类别", "农业", "可不填",
        choices=("农业", "非农业"),
    ),
    Column(
        "resident_since", "居住起始日期",
        "居住开始日期 入住日期 来本地日期 现居住地起始日期 居住时间 来本地时间", "2019-05-01",
        "从何时起住在本地",
    ),
    Column(
        "phone", "手机号", "手机 电话 联系电话 手机号码 联系方式 电话号码", "13900000002",
        "成年户主和配偶应填写",
    ),
    Column(
        "married_since", "结婚日期", "结婚时间 登记结婚日期 初婚日期 初婚时间 结婚登记日期", "2015-05-20",
        "填在户主或配偶行",
    ),
    Column(
        "plans_pregnancy", "备孕", "计划怀孕 是否备孕 是否计划怀孕 怀孕计划", "否", "填在户主或配偶行",
        choices=("是", "否"),
    ),
    Column(
        "categories", "类别", "家庭类别 特殊类别 人员类别 人群类别 优抚类别", "领证独生子女：2001-05-01；低保",
        "类别名称，可加等级和起始日期，用分号隔开：独生子女伤残（三级）：2012-03-01",
    ),
    Column("evidence", "证明材料", "证明 类别证明 证件依据 证明文件", "独生子女父母光荣证", "类别的依据"),
)  # fmt: skip
BY_KEY = {column.key: column for column in COLUMNS}
# Lists of other systems have columns for the divisions above, here the widest first: they tell which 塔桥村 is meant.
ABOVE = {
    "province": "省 省份 省级 所在省 省/自治区/直辖市 省自治区直辖市",
    "city": "市 地市 市级 所在市 地级市 设区市 市州 地市级 市/州",
    "county": "县 区 县级 所在县 区县 县区 区/县 县/区 县市区 所在县区 所在区县",
    "town": "乡镇 镇 乡 街道 镇街 乡镇街道 街道乡镇 街镇 所在乡镇 乡镇名称 乡镇/街道 街道/乡镇 镇/街道",
}

# Columns of ours and of every list that mean nothing to an import.
_IGNORED = frozenset(
    {"序号", "编号", "年龄", "备注", "民族", "结果", "原因", "原行号", "系统户号", "所在地名称"}
)


def _squeezed(heading: str) -> str:
    """* 姓 名（必填） → 姓名."""
    heading = unicodedata.normalize("NFKC", heading)
    return re.sub(r"\([^)]*\)|\[[^\]]*\]|[\s*:_“”\"'·-]", "", heading)


_BY_HEADING = {
    _squeezed(heading): column.key for column in COLUMNS for heading in (column.zh, *column.synonyms.split())
}
_BY_HEADING |= {_squeezed(heading): key for key, headings in ABOVE.items() for heading in headings.split()}


def is_heading(text: str) -> bool:
    return _squeezed(text) in _BY_HEADING


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cell of a line is which column; `headings` as uploaded, for the annotated workbook; `warnings` about the
    file as a whole (zh, en); `date1904` as in About."""

    headings: list[str]
    places: dict[str, int]  # column key → position
    line: int  # of the headings
    warnings: list[tuple[str, str]] = field(default_factory=list)
    date1904: bool = False


def known_keys(cells: list[str]) -> set[str]:
    """The columns that the cells of a line name, or none where they are too few to be headings. The form above a list
    (省：宁夏　市：银川) has none."""
    keys = {_BY_HEADING.get(_squeezed(cell), "") for cell in cells} & BY_KEY.keys()
    return keys if len(keys) >= ENOUGH_TO_BE_HEADINGS else set()


def lacking(keys: set[str]) -> list[Column]:
    return [column for column in COLUMNS if column.needed and column.key not in keys]


def find(lines: Iterator[Line]) -> Layout:
    """The headings, within the first ten lines: a title may stand above them. FileRefused where needed ones are missing
    or one appears twice."""
    about = About()
    noticed: list[str] = []
    for line in islice(lines, HEADINGS_WITHIN):
        about = line.about or about
        noticed += line.warnings
        if keys := known_keys(line.cells):
            return _layout(line, keys, about, noticed)
    raise _missing(set(), about)


def _layout(line: Line, keys: set[str], about: About, noticed: list[str]) -> Layout:
    named = [_BY_HEADING.get(_squeezed(cell), "") for cell in line.cells]
    twice = {key for key in named if named.count(key) > 1}
    if twice & keys:
        names = [cell.strip() for cell, key in zip(line.cells, named, strict=True) if key in twice & keys]
        raise FileRefused.because(
            f"表头重复：{'、'.join(names)} 是同一项内容，请只保留一列，其余各列请删去",
            f"columns of one meaning: {', '.join(names)}: keep one of them and remove the others",
        )
    if lacking(keys):
        raise _missing(keys, about)
    # Two columns 乡镇 are of two places, and nobody knows which is which.
    places = {key: place for place, key in enumerate(named) if key and key not in twice}
    warnings = [NOTICED[key] for key in dict.fromkeys(noticed) if key != "formula"]
    left_out = _not_taken(line.cells, frozenset(places.values()))
    return Layout(line.cells, places, line.number, [*about.remarks, *warnings, *left_out], about.date1904)


def _missing(keys: set[str], about: About) -> FileRefused:
    names = "、".join(column.zh for column in lacking(keys))
    zh = f"没有找到表头：{names}；请使用模板的表头，放在前 10 行内的同一行，不要合并单元格"
    en = f"headings not found: {names}; use those of the template, in one of the first 10 lines, not merged"
    return FileRefused.because(
        "；".join([zh, *(remark for remark, _ in about.remarks)]),
        "; ".join([en, *(remark for _, remark in about.remarks)]),
    )


def _not_taken(headings: list[str], taken: frozenset[int]) -> list[tuple[str, str]]:
    """A column that is silently left out would be missed too late."""
    unknown = [
        heading.strip()[:20]
        for place, heading in enumerate(headings)
        if place not in taken and (name := _squeezed(heading)) and name not in _IGNORED
    ]
    if not unknown:
        return []
    names = "、".join(unknown[:20])
    return [(f"以下列未导入：{names}", f"columns not taken in: {names}")]
