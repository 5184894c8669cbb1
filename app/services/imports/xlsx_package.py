"""The zip that an xlsx is: nothing that it says about its own size is believed."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, cast
from xml.parsers import expat

from app.services.imports.lines import FileRefused
from app.services.imports.xlsx_xml import Elements, Handler, damaged, parser

BLOCK = 1 << 16
LONGEST_DIRECTORY = 1 << 20
MOST_INFLATED = 2 << 30
# Deflate reaches 1032:1 on purpose; lists of people reach 30:1.
HIGHEST_RATIO, RATIO_COUNTS_FROM = 200, 16 << 20
LONGEST_TOKEN = 1 << 20
MACROS = ("vbaproject.bin", "macrosheets/")


def too_large() -> FileRefused:
    return FileRefused.because(
        "文件解压后过大，请只保留名册内容，或拆分成几个文件",
        "too large when inflated: keep the list only, or split it",
    )


class _Guarded:
    """A file of which a reader may ask no more at once than a directory of honest size has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, LONGEST_DIRECTORY + 1) if size >= 0 else LONGEST_DIRECTORY + 1)
        if len(data) > LONGEST_DIRECTORY:
            raise too_large()
        return data


@contextmanager
def as_refusal() -> Iterator[None]:
    """Whatever a damaged file breaks in the reading."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, OSError, RuntimeError, NotImplementedError,
            ValueError, IndexError, OverflowError) as error:  # fmt: skip
        raise damaged() from error


class Package:
    """Its members, inflated and parsed with an eye on how much comes out."""

    def __init__(self, file: BinaryIO) -> None:
        self._inflated = 0
        self._size = file.seek(0, 2)
        with as_refusal():
            self._zip = zipfile.ZipFile(cast(IO[bytes], _Guarded(file)))
        self._members = {info.filename.lstrip("/").lower(): info for info in self._zip.infolist()}
        self.names = frozenset(self._members)

    def __enter__(self) -> "Package":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def refuse_macros(self, name: str) -> None:
        macros = any(part in member for member in self.names for part in MACROS)
        if macros or name.lower().endswith((".xlsm", ".xltm", ".xlam")):
            raise FileRefused.because(
                "文件含有宏，不能导入，请另存为不含宏的 xlsx",
                "the file has macros: save it as xlsx without them",
            )
        if "xl/workbook.bin" in self.names:
            raise FileRefused.because("不支持 xlsb 文件，请另存为 xlsx", "xlsb is not read: save as xlsx")

    def _blocks(self, member: str) -> Iterator[bytes]:
        info = self._members.get(member)
        if info is None or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise damaged()
        with self._zip.open(info) as stream:
            while block := stream.read(BLOCK):
                self._inflated += len(block)
                if self._inflated > MOST_INFLATED or self._inflated > max(
                    RATIO_COUNTS_FROM, HIGHEST_RATIO * self._size
                ):
                    raise too_large()
                yield block

    def steps(self, member: str, handler: Handler) -> Iterator[None]:
        """Parse a member block by block, with a pause after each in which the handler's harvest is taken."""
        expat_parser = parser(handler)
        fed = 0
        with as_refusal():
            for block in self._blocks(member):
                expat_parser.Parse(block, False)
                fed += len(block)
                if fed - expat_parser.CurrentByteIndex > LONGEST_TOKEN:
                    raise too_large()
                handler.check()
                yield
            expat_parser.Parse(b"", True)
            yield

    def parse(self, member: str, handler: Handler) -> None:
        for _ in self.steps(member, handler):
            pass

    def elements(self, member: str, see: Callable[[str, dict[str, str]], None]) -> None:
        """Of a member that may be missing."""
        if member in self.names:
            self.parse(member, Elements(see))
