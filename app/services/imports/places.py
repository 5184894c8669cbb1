"""Finding a division by what a list calls it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from app.services.regions import TOWN

Bounds = tuple[str, str]
AMBIGUOUS, ELSEWHERE = "", "?"
_VILLAGE = re.compile("村?(?:村民委员会|村委会)$")
_COMMUNITY = re.compile("(?:社区)?(?:居民委员会|居委会)$")
_MARKS = re.compile(r"[\s/、,，>()（）-]")
MOST_REMEMBERED = 50_000
# Divisions that only hold the place of a level that is left out there.
_NO_DIVISION = frozenset({"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划", "省直辖", "区直辖"})


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
        self._found: dict[tuple[str, Bounds, tuple[str, ...]], str | None] = {}
        for code, parent, level, name in divisions:
            called = usual(name)
            self._parent[code], self._level[code], self._name[code] = parent, level, called
            self._named[called].append(code)

    def level(self, code: str) -> int:
        return self._level.get(code, 0)

    def find(self, text: str, bounds: Bounds, above: tuple[str, ...] = ()) -> str | None:
        """The code; AMBIGUOUS where several bear the name; None where none does. `above` are the names or codes of
        divisions that it lies in: ELSEWHERE where it lies in none of them. Those within the bounds come first: a
        village worker's 新华社区 is the one of the own town."""
        asked = text, bounds, above
        if asked not in self._found:
            if len(self._found) > MOST_REMEMBERED:
                self._found.clear()
            self._found[asked] = self._look(text, bounds, above)
        return self._found[asked]

    def _look(self, text: str, bounds: Bounds, above: tuple[str, ...]) -> str | None:
        meant = self._bearing(text)
        within = {code for code in meant if all(self._lies(code, name) for name in above)}
        if meant and not within:
            return ELSEWHERE
        own = {code for code in within if bounds[0] <= code <= bounds[1]} or within
        return next(iter(own), None) if len(own) < 2 else AMBIGUOUS

    def _bearing(self, text: str) -> set[str]:
        if _is_code(text):
            return {text.ljust(12, "0")} & self._level.keys()
        name = usual(text)
        return self._meant(name) or self._meant(f"{name}村") | self._meant(f"{name}社区")

    def _lies(self, code: str, text: str) -> bool:
        """Within the town, county, city or province called so: 宁夏 is 宁夏回族自治区, 大新 大新镇."""
        name, line = usual(text), [one for one in self._line(code) if self._level[one] <= TOWN]
        if name in _NO_DIVISION:
            return True
        if _is_code(text):
            return text.ljust(12, "0") in line
        return any(
            (len(name) > 1 and self._name[one].startswith(name)) or self._explained(name, one) for one in line
        )

    def _line(self, code: str | None) -> Iterator[str]:
        """The division and those above it."""
        while code is not None and code in self._name:
            yield code
            code = self._parent[code]

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


def _is_code(text: str) -> bool:
    return text.isascii() and text.isdecimal()
