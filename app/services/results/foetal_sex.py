"""Foetal sex is never stored, accepted or shown (Law on Population and Family Planning)."""

import re
import unicodedata

from app.errors import Invalid


class FoetalSexRefused(Invalid):
    zh, en = "报告中不得出现胎儿性别", "A report must not state the foetal sex"
    do_zh, do_en = "请删除结论中有关胎儿性别的内容后重新提交", "Remove it from the conclusion and send again"


# What was born before is history and may be told (曾生育女婴); what is to come may not.
_FOETAL_SEX = re.compile(
    r"胎儿?的?性别|性别鉴定|[男女]胎|[男女]性胎儿|怀的?是?[男女](?!方)"
    r"|胎儿[^。;,,、.]{0,6}[男女](?![方女双])"
    r"|(?:预[计测示]|怀(?!孕)|可能|提示|考虑|显示|倾向|疑似|应[为是])[^。;,,、.]{0,8}[男女](?:婴|孩|宝|娃)"
    r"|胎儿[^。;、]{0,16}46,?x[xy]"
)
_FOETAL_SEX_ENGLISH = re.compile(
    r"\bfo?et(?:al|us)[ -](?:sex|gender)\b|\b(?:male|female)[ -]fo?etus\b|\bit'?s a (?:boy|girl)\b"
    r"|\b(?:fo?etus|baby)\b[^.;]{0,20}\b(?:boy|girl|male|female)\b"
)


def states_foetal_sex(text: str) -> bool:
    """Full-width letters and blanks between characters do not hide it."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return bool(_FOETAL_SEX.search(re.sub(r"[\s·]", "", plain)) or _FOETAL_SEX_ENGLISH.search(plain))
