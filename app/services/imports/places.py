"""Finding a division by what a list calls it."""

import re
from collections import defaultdict
from collections.abc import Iterable

Bounds = tuple[str, str]
AMBIGUOUS = ""
_VILLAGE = re.compile("村?(?:村民委员会|村委会)$")
_COMMUNITY = re.compile("(?:社区)?(?:居民委员会|居委会)$")
_MARKS = re.compile(r"[\s/、,，>()（）-]")
MOST_REMEMBERED = 50_000


def usual(name: str) -> str:
    """新渠梢村村民委员会 and 新渠梢村委会 are 新渠梢村; 凤凰居委会 is 凤凰社区."""
    name = _MARKS.sub("", name)
    if not name.endswith("会"):
        return name
    return _COMMUNITY.sub("社区", _VILLAGE.sub("村", name))


class Regions:
    """Divisions by code (12 digits, or 6 and 9 as far as they go) and by name: 新渠梢村委会, 大新镇新渠梢村."""

    def __init__(self, divisions: Iterable[tuple[str, str | None, int, str]]) -> None:
        """Of each its code, the code of its parent, level and name."""
        self._parent: dict[str, str | None] = {}
        self._level: dict[str, int] = {}
        self._name: dict[str, str] = {}
        self._named: dict[str, list[str]] = defaultdict(list)
        self._found: dict[tuple[str, Bounds], str | None] = {}
        for code, parent, level, name in divisions:
            called = usual(name)
            self._parent[code], self._level[code], self._name[code] = parent, level, called
            self._named[called].append(code)

    def level(self, code: str) -> int:
        return self._level.get(code, 0)

    def find(self, text: str, bounds: Bounds) -> str | None:
        """The code; "" where several bear the name; None where none does. Those within the bounds come first: a
        village worker's 新华社区 is the one of the own town."""
        if (text, bounds) not in self._found:
            if len(self._found) > MOST_REMEMBERED:
                self._found.clear()
            self._found[text, bounds] = self._look(text, bounds)
        return self._found[text, bounds]

    def _look(self, text: str, bounds: Bounds) -> str | None:
        if text.isascii() and text.isdecimal():
            code = text.ljust(12, "0")
            return code if code in self._level else None
        name = usual(text)
        meant = self._meant(name) or self._meant(f"{name}村") | self._meant(f"{name}社区")
        own = {code for code in meant if bounds[0] <= code <= bounds[1]}
        return next(iter(own or meant), None) if len(own or meant) < 2 else AMBIGUOUS

    def _meant(self, text: str) -> set[str]:
        """Those whose name ends the text, while the names of those above it make up the rest."""
        return {
            code
            for start in range(max(0, len(text) - 40), len(text) - 1)
            for code in self._named.get(text[start:], ())
            if self._explained(text[:start], self._parent[code])
        }

    def _explained(self, rest: str, code: str | None) -> bool:
        while rest and code is not None:
            rest = rest.removesuffix(self._name.get(code, "\0"))
            code = self._parent.get(code)
        return not rest
