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
# No syllable begins with i, u or v. Initials with a, e or o (王小安: wxa) may be a foreign name (MARY) as well.
NO_INITIALS, PERHAPS = re.compile("[iuv]"), re.compile(".[a-z]*[aeo]")


class Written(Enum):
    AS_NAME = auto()
    AS_SOUND = auto()
    AS_INITIALS = auto()
    AS_EITHER = auto()


def read(text: str) -> tuple[Written, str]:
    """Letters of whatever case are a sound (zhang xiao, zhangx, lü, MARY ANN) or else initials (zxl); all other is a
    name as written (张小). A sound comes back without blanks."""
    name = unicodedata.normalize("NFKC", text)
    letters = re.sub("[ .·-]", "", names.typed(name))
    if not (letters.isascii() and letters.isalpha()):
        return Written.AS_NAME, name
    if is_pinyin(letters) or NO_INITIALS.search(letters):
        return Written.AS_SOUND, letters
    return (Written.AS_EITHER if PERHAPS.match(letters) else Written.AS_INITIALS), letters


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
