"""The parts of an xlsx are XML. What every reader of one shares: expat without doctypes, and bounds on what waits."""

import re
from collections.abc import Callable
from xml.parsers import expat

from app.services.imports.lines import LONGEST_IN_EXCEL, FileRefused, readable

BUFFER = 1 << 16
DEEPEST = 30
MOST_IN_ONE_READ = 1 << 20
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")


def damaged() -> FileRefused:
    return FileRefused.because(
        "文件已损坏或不是 Excel 文件，请用 Excel 或 WPS 打开后重新另存为 xlsx",
        "damaged, or no Excel file: open it and save it again as xlsx",
    )


def parser(handler: "Handler") -> expat.XMLParserType:
    made = expat.ParserCreate()
    made.buffer_text = True
    made.buffer_size = BUFFER
    made.StartDoctypeDeclHandler = _refuse_doctype
    handler.attach(made)
    return made


def _refuse_doctype(*_: object) -> None:
    """No workbook has one; with it come entities that grow without bound or read other files."""
    raise damaged()


class Handler:
    """Elements by their names without prefixes: the first has the prefix of all. `start` calls `deeper`."""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        self.depth = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        def first(name: str, attributes: dict[str, str]) -> None:
            start, end = self.start, self.end
            if ":" in name:
                parser.StartElementHandler = lambda name, given: start(name.rpartition(":")[2], given)
                parser.EndElementHandler = lambda name: end(name.rpartition(":")[2])
            else:
                parser.StartElementHandler, parser.EndElementHandler = start, end
            start(name.rpartition(":")[2], attributes)

        parser.StartElementHandler = first

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("too deep")

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        raise NotImplementedError

    def end(self, _: str, /) -> None:
        self.depth -= 1

    def check(self) -> None:
        """Between two reads of the file: nothing waits that is longer than Excel allows."""


class Elements(Handler):
    """Small parts: `see` is told of each element, its attributes without prefixes."""

    __slots__ = ("_see",)

    def __init__(self, see: Callable[[str, dict[str, str]], None]) -> None:
        super().__init__()
        self._see = see

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        self.deeper()
        self._see(name, {key.rpartition(":")[2]: value for key, value in attributes.items()})


class Texts(Handler):
    """Text in <t>, in one or in runs; <rPh> says how to pronounce it, and is no part of it."""

    __slots__ = ("parts", "phonetic", "value")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []  # of the element being read
        self.value: list[str] = []  # of the cell or string
        self.phonetic = 0

    def attach(self, parser: expat.XMLParserType) -> None:
        super().attach(parser)
        parser.CharacterDataHandler = self.parts.append

    def start(self, name: str, _: dict[str, str], /) -> None:
        self.deeper()
        self.parts.clear()
        if name == "rPh":
            self.phonetic += 1

    def end(self, name: str, /) -> None:
        self.depth -= 1
        if name == "t":
            if not self.phonetic:
                self.value += self.parts
        elif name == "rPh":
            self.phonetic -= 1
        self.parts.clear()  # blanks between elements are no text

    def check(self) -> None:
        if sum(map(len, self.parts)) + sum(map(len, self.value)) > MOST_IN_ONE_READ:
            raise ValueError("too long")


def text_of(parts: list[str]) -> str:
    """What stood between the tags, or FileRefused where no Excel could have written so much."""
    text = parts[0] if len(parts) == 1 else "".join(parts)
    if len(text) > LONGEST_IN_EXCEL:
        raise FileRefused.because("有单元格的内容过长", "a cell holds too much")
    return readable(_unescaped(text) if "_x" in text else text)


def _unescaped(text: str) -> str:
    """_x000D_ is a character that XML cannot hold (ECMA-376 ST_Xstring); pairs of surrogates make one again."""
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
