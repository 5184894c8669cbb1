"""A look at a PDF before it is kept: that it is one, whole and nothing else, and that nothing in it acts when somebody
opens it. What its pages say is not read: for that the hospital answers."""

import re
import zlib
from collections.abc import Iterator

from app.errors import Invalid

#: Inflated, of all object streams together: a small file can hide a very large one.
MOST = 20_000_000
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")
#: Scripts, programs to start, files inside, forms that send themselves, other documents, film and sound; and
#: encryption, behind which none of these is seen.
_NAMES = rb"JavaScript|Launch|EmbeddedFiles?|RichMedia|SubmitForm|ImportData|GoToR|GoToE|Rendition|Movie|Sound|Encrypt"
#: Nowhere, as a comment or a text can make streams begin and end elsewhere for us than for who opens the file.
_ACTIVE_ANYWHERE = re.compile(rb"/(?:%b)(?![A-Za-z])" % _NAMES)
#: Where bytes mean something also what is too short not to stand in compressed ones by chance.
_ACTIVE = re.compile(rb"/(?:%b|JS|XFA)(?![A-Za-z])" % _NAMES)
_OBJECT_STREAM = re.compile(rb"/ObjStm(?![A-Za-z])")
#: Deflated, once, and nothing else.
_DEFLATED = re.compile(rb"/Filter\s{0,9}(?:/FlateDecode|\[\s{0,9}/FlateDecode\s{0,9}\])\s{0,9}(?:/|>>)")
#: The length of a stream's dictionary, at most.
_HEAD = 4096


class NotAPdf(Invalid):
    zh, en = "不是完整的 PDF 文件", "This is not a whole PDF file"
    do_zh, do_en = "请重新导出 PDF 后上传", "Export the PDF again and send it whole"


class ActivePdf(Invalid):
    zh = "PDF 中含有脚本、附件、加密或其他活动内容"
    en = "The PDF holds scripts, files, encryption or other active content"
    do_zh, do_en = "请以打印方式重新生成 PDF 后上传", "Make the PDF anew by printing to it"


def check(data: bytes) -> None:
    """NotAPdf or ActivePdf."""
    _require_whole(data)
    plain = _ESCAPED.sub(_unescaped, data)
    if _ACTIVE_ANYWHERE.search(plain):
        raise ActivePdf
    packed, left = 0, MOST
    for part in _parts(data):
        inside = part
        if isinstance(part, memoryview):
            inside = _inflated(part, left)
            packed, left = packed + 1, left - len(inside)
        if _ACTIVE.search(_ESCAPED.sub(_unescaped, bytes(inside))):
            raise ActivePdf
    if packed != len(_OBJECT_STREAM.findall(plain)):  # one stands where it was not looked into
        raise ActivePdf


def _require_whole(data: bytes) -> None:
    end = data.rfind(b"%%EOF")
    if not re.match(rb"%PDF-[12]\.[0-9]", data) or end < 0 or data[end + 5 :].strip(b"\r\n\0 "):
        raise NotAPdf
    if b"startxref" not in data[max(0, end - 100) : end]:
        raise NotAPdf


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Names may be written as /J#53."""
    return bytes([int(match[1], 16)])


def _parts(data: bytes) -> Iterator[bytes | memoryview]:
    """What stands outside of streams, and the content of each stream that holds objects. Pictures and texts of pages
    are left out: in compressed bytes any word may stand by chance."""
    done = 0
    outside = []
    while (start := data.find(b"stream", done)) >= 0:
        outside.append(data[done:start])
        head = data[max(done, start - _HEAD) : start]
        done = start + len(b"stream")
        if not head.rstrip().endswith(b">>"):
            continue
        end = data.find(b"endstream", done)
        if end < 0:
            raise NotAPdf
        about = _ESCAPED.sub(_unescaped, head[head.rfind(b"obj") + 1 :])
        if _OBJECT_STREAM.search(about):
            if not _DEFLATED.search(about) or about.count(b"/Filter") > 1 or b"/DecodeParms" in about:
                raise ActivePdf
            yield memoryview(data)[done:end]
        done = end + len(b"endstream")
    outside.append(data[done:])
    yield b" ".join(outside)


def _inflated(packed: memoryview, most: int) -> bytes:
    try:
        inflate = zlib.decompressobj()
        # One more than allowed: for zlib a limit of 0 is none.
        inside = inflate.decompress(bytes(packed).lstrip(b"\r\n"), most + 1)
    except zlib.error as error:
        raise NotAPdf from error
    if len(inside) > most:
        raise ActivePdf
    if not inflate.eof:  # what ends here for us goes on for who opens the file
        raise NotAPdf
    return inside
