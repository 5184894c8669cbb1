"""Reading spreadsheets that anybody may have made: xlsx and csv, in flat memory, each line as the text of its cells."""

from collections.abc import Iterator
from typing import BinaryIO

from app.services.imports.csv_lines import read_csv
from app.services.imports.lines import MOST_LINES, FileRefused, Line, too_many
from app.services.imports.xlsx import read_xlsx

__all__ = ["FileRefused", "read"]

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OTHER_KINDS = (
    b"%PDF",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\x1f\x8b",
    b"PK\x05\x06",
)


def read(file: BinaryIO, name: str, *, most: int = MOST_LINES) -> Iterator[Line]:
    """The lines that are not empty, or FileRefused (at once, or when the reading comes to it). What the file is is
    read from its content; of the name only that it does not promise macros."""
    for count, line in enumerate(_lines(file, name), 1):
        if count > most:
            raise too_many()
        yield line


def _lines(file: BinaryIO, name: str) -> Iterator[Line]:
    file.seek(0)
    head = file.read(4096)
    if not head.strip(b"\0 \r\n\t"):
        raise FileRefused.because("文件是空的", "the file is empty")
    if head.startswith(ZIP):
        return read_xlsx(file, name)
    if head.startswith(OLE):
        raise _old_or_encrypted(file)
    if head.startswith(OTHER_KINDS) or head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<":
        raise FileRefused.because(
            "不是 Excel 或 CSV 文件（有些“xls”其实是网页），请用 Excel 或 WPS 打开后另存为 xlsx",
            "neither xlsx nor csv (some “xls” are web pages): open it and save it as xlsx",
        )
    return read_csv(file)


def _old_or_encrypted(file: BinaryIO) -> FileRefused:
    """.xls, .et, and an xlsx with a password share one container."""
    file.seek(0)
    before = b""
    while block := file.read(1 << 20):
        if "EncryptedPackage".encode("utf-16-le") in before[-64:] + block:
            return FileRefused.because(
                "文件设有打开密码，请去掉密码后重新上传", "the file has a password: remove it, then upload"
            )
        before = block
    return FileRefused.because(
        "不支持旧版 .xls 或 .et 文件，请用 Excel 或 WPS 另存为 xlsx 后上传",
        "old .xls and .et files are not read: save as xlsx, then upload",
    )
