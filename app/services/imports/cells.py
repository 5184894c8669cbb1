"""What a cell says, however it is written. Each reader gives a value or raises NotReadable, never naming the text."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from app.models.households import DocumentKind, FamilyType, HukouType, Relation, Sex
from app.services.imports.lines import NO_RESULT
from app.services.imports.xlsx_sheet import DAYS_OF_1904, as_date

EARLIEST_YEAR, LATEST_YEAR = 1890, 2200
LONGEST_NAME, LONGEST_ADDRESS, LONGEST_NOTE, LONGEST_NUMBER = 100, 200, 1000, 30


class NotReadable(ValueError):
    """Why a cell says nothing; `column` where it is another than that being read."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(code)
        self.code, self.zh, self.en = code, zh, en
        self.column = ""


# Marks that nobody sees, copied along from web pages and address books.
_INVISIBLE = (0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202A, 0x202C, 0x202D, 0x202E, 0x2060, 0xFEFF)
_WIDE: dict[int, int | None] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_WIDE |= {0x3000: 0x20} | dict.fromkeys(_INVISIBLE)


def plain(text: str) -> str:
    """Full-width digits, letters and signs to ASCII, invisible marks gone."""
    return text.strip() if text.isascii() else text.translate(_WIDE).strip()


ERRORS = {
    NO_RESULT: ("公式没有计算结果，请复制后“选择性粘贴为数值”", "a formula without a result: paste it as a value"),
    **dict.fromkeys(
        ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"),
        ("公式出错，请改为正确的内容", "a formula failed: write the value"),
    ),
}  # fmt: skip

_PARTS = re.compile(
    r"([0-9]{4})(?:[-/.]|年)\s?([0-9]{1,2})(?:[-/.]|月)\s?([0-9]{1,2})日?(?:[ T][0-9:.]{4,15})?"
)
_COMPACT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_SERIAL = re.compile(r"[0-9]{5}(?:\.[0-9]{1,12})?")


@lru_cache(maxsize=16384)
def day(text: str, offset: int = 0) -> date:
    """2001-5-1, 2001/05/01, 2001.5.1, 20010501, 2001年5月1日, or the number that Excel keeps; a time of day behind it
    is left out. Two digits for a year are refused: 01 may be 1901. `offset`: what Excel's first day lies behind the
    usual one."""
    text = plain(text).lstrip("'")
    if found := _PARTS.fullmatch(text) or _COMPACT.fullmatch(text):
        try:
            value = date(int(found[1]), int(found[2]), int(found[3]))
        except ValueError:
            raise NotReadable("date_impossible", "没有这一天", "no such day") from None
        if EARLIEST_YEAR <= value.year <= LATEST_YEAR:
            return value
    elif _SERIAL.fullmatch(text):
        return date.fromisoformat(as_date(text, offset))
    raise NotReadable(
        "date",
        "日期写不清楚，请写成 2001-05-01（年份四位，要有日）",
        "write dates as 2001-05-01: year in full, with day",
    )


def day_of_1904(text: str) -> date:
    """In a workbook with the old calendar of Apple."""
    return day(text, DAYS_OF_1904)


_SCIENTIFIC = re.compile(r"[0-9](\.[0-9]*)?E\+?[0-9]{2,3}")
_RESIDENCE, _FOREIGN = (
    re.compile("8[123]0000[0-9]{11}[0-9X]"),
    re.compile("9[0-9]{16}[0-9X]|[A-Z]{3}[0-9]{12}"),
)
_BETWEEN = re.compile(r"[\s'`’‘-]")


def document_number(text: str) -> str:
    """Normalised, without blanks and apostrophes. What Excel has spoilt is told apart from what was mistyped."""
    text = plain(text)
    if not text.isalnum():
        text = _BETWEEN.sub("", text)
    if not (text.isascii() and text.isdecimal()):
        text = unicodedata.normalize("NFKC", text).upper()
    if _SCIENTIFIC.fullmatch(text):
        raise NotReadable(
            "document_spoilt",
            "号码已被 Excel 改成科学记数，后几位已丢失，请将该列设为“文本”后重新输入",
            "Excel has turned the number into a rounded one: set the column to text and type it again",
        )
    if len(text) > LONGEST_NUMBER:
        raise NotReadable("too_long", "号码过长", "too long")
    return text


def document_kind_of(number: str) -> DocumentKind:
    """What a number is, where the list does not say."""
    if _RESIDENCE.fullmatch(number):
        return DocumentKind.RESIDENCE_PERMIT
    if _FOREIGN.fullmatch(number):
        return DocumentKind.PERMANENT_RESIDENT
    return DocumentKind.RESIDENT_ID


_MOBILE, _PHONE = re.compile(r"1[3-9][0-9]{9}"), re.compile(r"1[3-9][0-9]{9}|\+[0-9]{6,15}")
_CHINA = re.compile(r"(?:\+|00)?86(?=1[3-9][0-9]{9}$)")


def phone(text: str) -> str:
    """A mobile number, with or without +86, blanks and dashes; of abroad with + and country code."""
    if _MOBILE.fullmatch(text):  # almost always
        return text
    text = _CHINA.sub("", re.sub(r"[\s'`()-]", "", plain(text)))
    if _PHONE.fullmatch(text):
        return text
    raise NotReadable("phone", "不是手机号，未录入", "no mobile number: left out")


_CHINESE = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_GAPS = re.compile(f"(?<=[{_CHINESE}])\\s+(?=[{_CHINESE}])")
_DOTS = re.compile("[・•．‧∙●]")
_NO_NAME = re.compile(r"[0-9?□■*#@=+<>{}\[\]|\\/_(),;:!、。《》\"“”]")


def name(text: str) -> str:
    """王　芳 is 王芳; the dot in 阿依古丽·买买提 is one and the same. A mark in place of a character is refused: it
    would never agree with the document."""
    if not text.isalpha():
        text = _GAPS.sub("", _DOTS.sub("·", plain(text)))
        if _NO_NAME.search(text):
            raise NotReadable(
                "name",
                "姓名含有数字或符号：一格只填一人的姓名，说明另列；打不出的字请用“生僻字”输入法",
                "a digit or a mark within the name: one name a cell, and notes in a column of their own",
            )
    if not text or len(text) > LONGEST_NAME:
        raise NotReadable("too_long", "姓名过长", "too long")
    return text


def local_number(text: str) -> str:
    text = plain(text).upper()
    if len(text) > LONGEST_NUMBER:
        raise NotReadable("too_long", "户编号最多 30 个字符", "at most 30 characters")
    return text


def address(text: str) -> str:
    if len(text) > LONGEST_ADDRESS:
        raise NotReadable("too_long", "最多 200 个字符", "at most 200 characters")
    return text


def evidence(text: str) -> str:
    if len(text) > LONGEST_NOTE:
        raise NotReadable("too_long", "最多 1000 个字符", "at most 1000 characters")
    return text


def _words(**meanings: str) -> dict[str, str]:
    return {word: meaning for meaning, words in meanings.items() for word in words.split()}


def choice(text: str, table: Mapping[str, str]) -> str:
    found = table.get(text) or table.get(plain(text).replace(" ", "").upper())
    if found is None:
        raise NotReadable("choice", "不认识这种写法", "not one of the words known here")
    return found


RELATIONS = _words(
    head="户主 本人 户主本人 01 02",
    spouse="配偶 妻 妻子 丈夫 夫 爱人 夫妻 老婆 老公 户主之妻 户主之夫 10 11 12",
    child="子女 子 女 儿子 女儿 长子 次子 三子 四子 五子 长女 次女 三女 四女 五女 二女 二子 "
    "大女儿 二女儿 三女儿 四女儿 大儿子 二儿子 三儿子 四儿子 小儿子 小女儿 独生子 独生女 养子 养女 继子 继女 "
    "孩子 之子 之女 户主之子 户主之女 母女 母子 父子 父女 20 21 22 23 24 25 26 29 30 31 32 33 34 35 36 39",
    parent="父母 父 母 父亲 母亲 岳父 岳母 公公 婆婆 公 婆 养父 养母 继父 继母 之父 之母 户主之父 户主之母 "
    "50 51 52 53 54 55 56 57 59",
    other="其他 其它 儿媳 女婿 媳妇 孙子 孙女 孙 外孙 外孙子 外孙女 孙媳 祖父 祖母 爷爷 奶奶 "
    "外祖父 外祖母 外公 外婆 兄 弟 姐 妹 哥哥 弟弟 姐姐 妹妹 "
    "兄弟 姐妹 侄子 侄女 外甥 外甥女 叔 伯 姑 舅 姨 嫂 弟媳 曾孙 曾孙子 曾孙女 重孙 长孙 长孙女 次孙 孙媳妇 "
    "亲属 其他亲属 非亲属 保姆 "
    "40 41 42 43 44 45 46 47 49 60 61 62 63 64 65 66 67 69 70 71 72 73 74 75 76 79 80 90 97 99",
)
SEXES = _words(male="男 男性 M 1 MALE", female="女 女性 F 2 FEMALE")
HUKOU_TYPES = _words(
    rural="农业 农村 农 农业户口 农村户口 农业家庭户 农户",
    urban="非农业 非农 城镇 城市 非农业户口 城镇户口 非农业家庭户 非农户",
)
FAMILY_TYPES = _words(
    developing="发展型 发展型家庭",
    stable="稳定型 稳定型家庭",
    elderly="老年型 老年型家庭",
    new_citizen="新市民 新市民家庭 新市民型",
)
DOCUMENT_KINDS = _words(
    resident_id="居民身份证 身份证 二代身份证 二代证 公民身份证 中华人民共和国居民身份证",
    residence_permit="港澳台居民居住证 居住证 港澳居民居住证 台湾居民居住证",
    permanent_resident="外国人永久居留身份证 外国人永久居留证 永久居留证 永居证 五星卡",
    passport="护照 外国护照 普通护照",
    officer="军官证 军人证 士兵证 军人身份证",
    household_book="户口簿 户口本",
)
YES_NO = _words(yes="是 有 Y YES 1 TRUE √ 对 计划 备孕", no="否 无 N NO 0 FALSE × 不 没有 未")


@lru_cache(maxsize=1024)
def relation(text: str) -> Relation:
    return Relation(choice(text, RELATIONS))


@lru_cache(maxsize=1024)
def sex(text: str) -> Sex:
    return Sex(choice(text, SEXES))


@lru_cache(maxsize=1024)
def hukou_type(text: str) -> HukouType:
    return HukouType(choice(text, HUKOU_TYPES))


@lru_cache(maxsize=1024)
def family_type(text: str) -> FamilyType:
    return FamilyType(choice(text, FAMILY_TYPES))


@lru_cache(maxsize=1024)
def document_kind(text: str) -> DocumentKind:
    return DocumentKind(choice(text, DOCUMENT_KINDS))


@lru_cache(maxsize=1024)
def yes(text: str) -> bool:
    return choice(text, YES_NO) == "yes"
