"""Structured logs, one JSON object a line. Bodies, messages of exceptions and parameters never reach them:
an exception is logged as its types and code lines, because a database error quotes the values it refused."""

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from typing import Any

from app import clock
from app.settings import ROOT

OURS = f"{ROOT}/app/"
request_id: ContextVar[str] = ContextVar("request_id", default="-")
#: Made once: `json.dumps` with options would make one for every line.
_written = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": clock.now().isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = where(record.exc_info[1])
        return _written(line)


def where(error: BaseException) -> list[str]:
    """The chain of causes as type names with the innermost lines of our own code: nothing personal."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        frames = [
            frame for frame in traceback.extract_tb(seen.__traceback__) if frame.filename.startswith(OURS)
        ]
        places = [f"{frame.filename.removeprefix(OURS)}:{frame.lineno}" for frame in reversed(frames[-4:])]
        lines.append(" < ".join([type(seen).__name__, *places]))
        seen = seen.__cause__ or seen.__context__
    return lines


def configure(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # No line says who wrote it from where: finding that out costs more than the line (Logging HOWTO, Optimization).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # httpx and uvicorn would log URLs, which carry login codes.
    for noisy in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
