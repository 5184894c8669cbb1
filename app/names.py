"""Names as they sound. Lists are kept by ear: the same person is 张小芳 in one and 章晓芳 in another."""

from functools import lru_cache

from pypinyin import lazy_pinyin

# Characters that sound otherwise as a surname, at the beginning of a name.
SURNAMES = {
    "万俟": "mo qi", "尉迟": "yu chi", "单于": "chan yu", "澹台": "tan tai", "宓": "fu", "单": "shan", "仇": "qiu",
    "查": "zha", "曾": "zeng", "解": "xie", "任": "ren", "区": "ou", "朴": "piao", "盖": "ge", "冼": "xian",
    "缪": "miao", "翟": "zhai", "尹": "yin", "华": "hua", "乐": "yue", "种": "chong", "秘": "bi", "召": "shao",
    "繁": "po", "员": "yun", "纪": "ji", "洗": "xian", "折": "she", "黑": "he", "覃": "qin", "晟": "cheng",
}  # fmt: skip


@lru_cache(maxsize=65536)
def pinyin(name: str) -> str:
    """Syllables in lower case without tones, a blank between: 曾小乐 → "zeng xiao le". Names that are written with
    variant or traditional characters sound alike (張 and 张, 峯 and 峰), and so do homophones."""
    for length in (2, 1):
        if sound := SURNAMES.get(name[:length]):
            return " ".join([sound, *_syllables(name[length:])])
    return " ".join(_syllables(name))


def _syllables(text: str) -> list[str]:
    return " ".join(lazy_pinyin(text, v_to_u=False)).lower().split()


def initials(sound: str) -> str:
    """The first letter of each syllable: "zeng xiao le" → "zxl"."""
    return "".join(syllable[0] for syllable in sound.split())
