"""Files as bodies, Excel workbooks as answers."""

from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import StreamingResponse

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PIECE = 1 << 16
BINARY = {"schema": {"type": "string", "format": "binary"}}
#: `openapi_extra` where the body is the file itself.
UPLOAD: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}}
#: `responses=problems(…) | XLSX`.
XLSX: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: BINARY}}}


def sheet(book: bytes | BinaryIO, name: str) -> Response:
    """To be saved under this name, which may be Chinese. A file goes piece by piece, and is closed."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    if isinstance(book, bytes):
        return Response(book, media_type=MEDIA_TYPE, headers=headers)
    return StreamingResponse(_pieces(book), media_type=MEDIA_TYPE, headers=headers)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
