"""From a file to staged rows, chunk by chunk. A long list is read in a process of its own and judged and sealed in
another, while this one talks to the database: what is sealed is not waited for, and no processor is left idle."""

import gc
import os
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain, islice
from multiprocessing import forkserver, get_context, reduction
from multiprocessing.connection import Connection
from operator import attrgetter
from types import ModuleType
from typing import Any, BinaryIO

from app import crypto
from app.services.imports import sheets
from app.services.imports.columns import find
from app.services.imports.lines import FileRefused, Line
from app.services.imports.row import Row
from app.services.imports.rows import Known, read_rows
from app.services.imports.staging import Staged, stage

CHUNK = 5000
#: A shorter file is read before a process has begun.
LONG = 1 << 20
#: Not forked from this process, which has threads and connections, but from one that has nothing but our code.
_processes = get_context("forkserver")
_starting = threading.Lock()

#: About the file as a whole (zh, en).
Warnings = list[tuple[str, str]]


class ReaderLost(Exception):
    """A process ended before its work: killed, or by a mistake of ours."""


def prepare() -> None:
    """Begin the process that others are forked from, with our code loaded. The job worker does so when it starts: the
    first list need not wait."""
    _processes.set_forkserver_preload([__name__])
    forkserver.ensure_running()


def read(file: BinaryIO, name: str, known: Known, batch_id: uuid.UUID) -> Generator[Warnings | list[Staged]]:
    """First what is to say about the file as a whole, then its rows. FileRefused at once, or when it comes to it."""
    if file.seek(0, os.SEEK_END) < LONG:
        return _judged([sheets.read(file, name)], known, batch_id)
    return _in_processes(file, name, known, batch_id)


def _judged(
    chunks: Iterable[Iterable[Line]], known: Known, batch_id: uuid.UUID
) -> Generator[Warnings | list[Staged]]:
    lines = chain.from_iterable(chunks)
    layout = find(lines)
    yield layout.warnings
    rows = _sparing(batch_id, read_rows(lines, layout, known))
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _sparing(batch_id: uuid.UUID, lines: Iterator[Row]) -> Iterator[Staged]:
    """The address is sealed once for the lines of a household that follow each other."""
    last = None
    for row in lines:
        if row.household == last:
            row.address = None
        elif row.address:
            last = row.household
        yield stage(batch_id, row)


class _Handed:
    """An open file, for a process that is begun."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return _taken, (reduction.DupFd(self._file.fileno()),)


def _taken(handed: Any) -> BinaryIO:
    return os.fdopen(handed.detach(), "rb")


def _in_processes(file: BinaryIO, *given: Any) -> Generator[Any]:
    prepare()
    name, known, batch_id = given
    first = _Process(_read_lines, _Handed(file), name)
    second = _Process(_judge_lines, first.receiving, known, batch_id, crypto.keys())
    first.receiving.close()
    try:
        yield from _received(second.receiving)
    finally:
        second.end()
        first.end()


class _Process:
    """A process and what it sends. It waits until the last thing it sent is taken: so memory stays flat. When nobody is
    there to take it, it ends."""

    def __init__(self, work: Callable[..., Iterator[Any]], *given: Any) -> None:
        self.receiving, sending = _processes.Pipe(duplex=False)
        self._process = _processes.Process(target=_send, args=(sending, work, *given), daemon=True)
        with _without_main():
            self._process.start()
        sending.close()

    def end(self) -> None:
        self.receiving.close()
        self._process.terminate()
        self._process.join()
        self._process.close()


@contextmanager
def _without_main() -> Iterator[None]:
    """A process that begins would load the script of this one, and with it the whole application."""
    with _starting:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _send(sending: Connection, work: Callable[..., Iterator[Any]], *given: Any) -> None:
    gc.disable()  # no row holds itself, and it would look at all of them over and over
    try:
        for part in work(*given):
            sending.send(("part", part))
        sending.send(("end", None))
    except FileRefused as refused:
        sending.send(("refused", refused.errors))
    except BrokenPipeError:
        return
    except Exception as error:  # its text may hold what a cell says
        sending.send(("lost", type(error).__name__))


def _received(receiving: Connection) -> Iterator[Any]:
    while True:
        try:
            kind, value = receiving.recv()
        except (EOFError, ConnectionError):
            raise ReaderLost from None
        if kind == "part":
            yield value
        elif kind == "refused":
            raise FileRefused(errors=value)
        elif kind == "lost":
            raise ReaderLost(value)
        else:
            return


_parts = attrgetter(*(field.name for field in fields(Line)))  # a third of the time that whole objects take


def _read_lines(file: BinaryIO, name: str) -> Iterator[list[tuple[Any, ...]]]:
    lines = sheets.read(file, name)
    while chunk := list(map(_parts, islice(lines, CHUNK))):
        yield chunk


def _judge_lines(
    receiving: Connection, known: Known, batch_id: uuid.UUID, keys: crypto.KeyProvider
) -> Iterator[Any]:
    crypto.use(keys)
    chunks = ((Line(*parts) for parts in chunk) for chunk in _received(receiving))
    return _judged(chunks, known, batch_id)
