"""The shared strings of an xlsx: millions in a large list, so they lie on disk."""

import tempfile
from array import array
from collections.abc import Callable
from functools import lru_cache

from app.services.imports.xlsx_xml import Texts, text_of

BLOCK, SHIFT = 64, 6
BLOCKS_KEPT = 128


class Strings:
    """In a file without a name, in blocks of 64; the blocks used last are kept. A string is `block(n >> SHIFT)` at
    `n % BLOCK`, or IndexError."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed with this
        self._starts = array("Q", [0])
        self._waiting: list[str] = []
        self.block: Callable[[int], list[str]] = lru_cache(maxsize=BLOCKS_KEPT)(self._read)

    def __enter__(self) -> "Strings":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        self._waiting.append(text)
        if len(self._waiting) == BLOCK:
            self.seal()

    def seal(self) -> None:
        if self._waiting:
            data = "\0".join(self._waiting).encode()
            self._file.write(data)
            self._starts.append(self._starts[-1] + len(data))
            self._waiting = []

    def _read(self, number: int) -> list[str]:
        if number < 0:
            raise IndexError(number)
        start, end = self._starts[number], self._starts[number + 1]
        self._file.seek(start)
        return self._file.read(end - start).decode().split("\0")


class StringsParser(Texts):
    """<si> with one <t>, or with runs of rich text."""

    __slots__ = ("_strings",)

    def __init__(self, strings: Strings) -> None:
        super().__init__()
        self._strings = strings

    def end(self, name: str, /) -> None:
        super().end(name)
        if name == "si":
            self._strings.add(text_of(self.value) if self.value else "")
            self.value.clear()
