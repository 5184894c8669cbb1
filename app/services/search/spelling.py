"""What somebody typed who looks for a name: the name itself, its sound, or the initials of its sound."""

import re
import unicodedata
from enum import Enum, auto

from app import names

SYLLABLE = re.compile(
    "(?:[bpmfdtnlgkhjqxrzcsyw]|zh|ch|sh)?(?:a|ai|an|ang|ao|e|ei|en|eng|er|i|ia|ian|iang|iao|ie|in|ing|iong|iu|o|ong|"
    "ou|u|ua|uai|uan|uang|ue|ui|un|uo|v|ve)"
)
BEGUN = re.compile("[bpmfdtnlgkhjqxrzcsyw]|zh|ch|sh|")
LONGEST_SYLLABLE = 6


class Written(Enum):
    AS_NAME = auto()
    AS_SOUND = auto()
    AS_INITIALS = auto()


def read(text: str) -> tuple[Written, str]:
    """Letters of one case are a sound (zhang xiao, zhangx, lü) or else initials (zxl); all other is a name as written
    (张小, Mary). A sound comes back without blanks."""
    name = unicodedata.normalize("NFKC", text)
    if not (name.islower() or name.isupper()):
        return Written.AS_NAME, name
    letters = names.typed(name).replace(" ", "")
    if not (letters.isascii() and letters.isalpha()):
        return Written.AS_NAME, name
    return (Written.AS_SOUND if is_pinyin(letters) else Written.AS_INITIALS), letters


def is_pinyin(letters: str) -> bool:
    """Whether these are syllables, the last perhaps only begun, and not initials: "zhangx" and "ma" are, "zxl" and
    "zh" are not. Of single letters alone they are initials."""
    ends = {0: False}  # where a syllable may end; whether one of several letters came before
    for start in range(len(letters)):
        if start in ends:
            for end in range(start + 1, min(start + LONGEST_SYLLABLE, len(letters)) + 1):
                if SYLLABLE.fullmatch(letters, start, end):
                    ends[end] = ends.get(end, False) or ends[start] or end - start > 1
    return any(whole and BEGUN.fullmatch(letters, end) for end, whole in ends.items())
