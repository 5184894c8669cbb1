"""Names as they sound. Lists are kept by ear: the same person is 张小芳 in one and 章晓芳 in another."""

import re
import unicodedata
from functools import lru_cache

from pypinyin import lazy_pinyin
from pypinyin.constants import PHRASES_DICT, PINYIN_DICT

# Characters that sound otherwise as a surname, at the beginning of a name; with their traditional forms.
SURNAMES = {
    "万俟": "mo qi", "萬俟": "mo qi", "尉迟": "yu chi", "尉遲": "yu chi", "单于": "chan yu", "單于": "chan yu",
    "澹台": "tan tai", "长孙": "zhang sun", "長孫": "zhang sun", "单": "shan", "單": "shan", "仇": "qiu",
    "查": "zha", "曾": "zeng", "解": "xie", "任": "ren", "区": "ou", "區": "ou", "朴": "piao", "盖": "ge",
    "蓋": "ge", "冼": "xian", "洗": "xian", "缪": "miao", "繆": "miao", "翟": "zhai", "乐": "yue", "樂": "yue",
    "种": "chong", "秘": "bi", "召": "shao", "繁": "po", "员": "yun", "員": "yun", "折": "she", "黑": "he",
    "覃": "qin", "晟": "cheng", "阚": "kan", "闞": "kan", "郇": "xun", "薄": "bo", "都": "du", "祭": "zhai",
    "乜": "nie", "幺": "yao", "句": "gou", "干": "gan",
}  # fmt: skip
# How ü is typed: passports write lyu, textbooks lü; keyboards have no ü, and people type lv. Within a word only lyu is
# certain: xinyu is xin yu.
TYPED = re.compile(r"(?<=[ln])u:|(?<=l)yu|(?<=\bn)yu")


@lru_cache(maxsize=65536)
def pinyin(name: str) -> str:
    """Syllables in lower case without tones, a blank between: 曾小乐 → "zeng xiao le", 吕布 → "lv bu". Names that are
    written with variant or traditional characters sound alike (張 and 张, 峯 and 峰), and so do homophones.
    A dot between the parts of a name (阿依古丽·买买提) is not heard."""
    name = unicodedata.normalize("NFKC", name).strip()
    for length in (2, 1):
        # A single character is a surname only before a given name: 乐 alone may be either.
        if len(name) > length and (sound := SURNAMES.get(name[:length])):
            return " ".join([sound, *_syllables(name[length:])])
    return " ".join(_syllables(name))


def _syllables(text: str) -> list[str]:
    """Most given names are no word of the dictionary: then each character is read alone, which is remembered."""
    if all(ord(character) in PINYIN_DICT for character in text) and not _has_word(text):
        return [_alone(character) for character in text]
    return _read(text)


def _has_word(text: str) -> bool:
    length = len(text)
    return any(
        text[start:end] in PHRASES_DICT for start in range(length) for end in range(start + 2, length + 1)
    )


@lru_cache(maxsize=32768)
def _alone(character: str) -> str:
    return " ".join(_read(character))


def _read(text: str) -> list[str]:
    return re.findall(r"\w+", _plain(" ".join(lazy_pinyin(text, v_to_u=False))))


def _plain(sound: str) -> str:
    """Lower case without tones or accents; ü is v."""
    apart = re.sub("(?<=[ln])u\u0308", "v", unicodedata.normalize("NFD", sound.lower()))
    return "".join(character for character in apart if not unicodedata.combining(character))


def initials(sound: str) -> str:
    """The first letter of each syllable: "zeng xiao le" → "zxl"."""
    return "".join(syllable[0] for syllable in sound.split())


def typed(sound: str) -> str:
    """What somebody types who looks for a sound, as `pinyin` writes it: Lǚ, lü, lu: and lyu are lv; tones and
    apostrophes are dropped."""
    return " ".join(TYPED.sub("v", re.sub("['’]", "", _plain(sound))).split())
