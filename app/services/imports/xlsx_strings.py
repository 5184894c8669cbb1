"""The shared strings of an xlsx: millions in a large list, so they lie on disk."""

import re
import tempfile
from array import array
from collections.abc import Callable
from functools import lru_cache
from xml.parsers import expat

from app.services.imports.lines import LONGEST_IN_EXCEL, FileRefused, readable

BLOCK = 64
BLOCKS_KEPT = 128
DEEPEST = 30
MOST_IN_ONE_READ = 1 << 20
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")


def unescape(text: str) -> str:
    """_x000D_ is a character that XML cannot hold (ECMA-376 ST_Xstring); pairs of surrogates make one again."""
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text_of(parts: list[str]) -> str:
    """What stood between the tags, or FileRefused where no Excel could have written so much."""
    text = parts[0] if len(parts) == 1 else "".join(parts)
    if len(text) > LONGEST_IN_EXCEL:
        raise FileRefused.because("有单元格的内容过长", "a cell holds too much")
    return readable(unescape(text) if "_x" in text else text)


class Strings:
    """In a file without a name, in blocks of 64; the blocks used last are kept."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with this
        self._starts = array("Q", [0])
        self._waiting: list[str] = []
        self._count = 0
        self.block: Callable[[int], list[str]] = lru_cache(maxsize=BLOCKS_KEPT)(self._read)

    def __enter__(self) -> "Strings":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        self._waiting.append(text)
        self._count += 1
        if len(self._waiting) == BLOCK:
            self.seal()

    def seal(self) -> None:
        data = "\0".join(self._waiting).encode()
        self._file.write(data)
        self._starts.append(self._starts[-1] + len(data))
        self._waiting = []

    def _read(self, number: int) -> list[str]:
        self._file.seek(self._starts[number])
        return self._file.read(self._starts[number + 1] - self._starts[number]).decode().split("\0")

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self.block(number >> 6)[number & 63]


class StringsParser:
    """<si> with one <t>, or with runs of rich text; <rPh> is how to pronounce it, and no part of the text."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._parts: list[str] = []  # of the text being read
        self._text: list[str] = []  # of the string
        self._depth = self._phonetic = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._parts.append

    def _start(self, name: str, _: object) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("too deep")
        if name.rpartition(":")[2] == "rPh":
            self._phonetic += 1
        self._parts.clear()

    def _end(self, name: str) -> None:
        self._depth -= 1
        name = name.rpartition(":")[2]
        if name == "t":
            if not self._phonetic:
                self._text += self._parts
        elif name == "si":
            self._strings.add(text_of(self._text) if self._text else "")
            self._text.clear()
        elif name == "rPh":
            self._phonetic -= 1
        self._parts.clear()

    def check(self) -> None:
        """Between blocks: nothing waits that is longer than Excel allows."""
        if sum(map(len, self._parts)) + sum(map(len, self._text)) > MOST_IN_ONE_READ:
            raise ValueError("too long")
