"""What a crowd asks for at once: answered once, and for some seconds to everybody alike."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import Request, Response
from pydantic import TypeAdapter

from app import db
from app.api.deps import AsyncSession

SECONDS = 5
#: What took long to find out is good for so many times as long: it never costs more than a hundredth of the time. But
#: not for longer than this: a donor may have taken the name back.
TIMES, LONGEST = 100, 300
#: So many answers are kept, and so many found out at once: whoever asks for all there is leaves connections to others.
MOST, AT_ONCE = 500, 2
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As the ETag in If-None-Match says"}}
Key = tuple[object, ...]
Make = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    tag: str
    until: float


class Answers:
    """Of one database."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Key, Answer] = OrderedDict()
        self.under_way: dict[Key, asyncio.Task[Answer]] = {}
        self.room = asyncio.Semaphore(AT_ONCE)

    async def get(self, key: Key, shape: TypeAdapter[Any], make: Make) -> Answer:
        kept = self.kept.get(key)
        if kept is not None and asyncio.get_running_loop().time() < kept.until:
            return kept
        task = self.under_way.get(key)
        if task is None:
            task = self.under_way[key] = asyncio.create_task(self._find_out(key, shape, make))
            task.add_done_callback(lambda done: self._end(key, done))
        # Who goes away meanwhile takes the answer from nobody else.
        return await asyncio.shield(task)

    def _end(self, key: Key, done: asyncio.Task[Answer]) -> None:
        del self.under_way[key]
        if not done.cancelled():
            done.exception()  # told to those who wait, if any do

    async def _find_out(self, key: Key, shape: TypeAdapter[Any], make: Make) -> Answer:
        time = asyncio.get_running_loop().time
        async with self.room, db.begin() as own:
            began = time()
            said = shape.validate_python(await make(own), from_attributes=True)
        body = shape.dump_json(said)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        kept_for = min(LONGEST, max(SECONDS, TIMES * (time() - began)))
        answer = Answer(body, tag, time() + kept_for)
        self.kept[key] = answer
        self.kept.move_to_end(key)
        if len(self.kept) > MOST:
            self.kept.popitem(last=False)
        return answer


_answers: WeakKeyDictionary[Any, Answers] = WeakKeyDictionary()


async def tell(request: Request, shape: TypeAdapter[Any], make: Make, *about: object) -> Response:
    """`about`: what was asked, checked and nothing else, so that no made-up address is a question of its own."""
    bound = db.sessions.kw["bind"]
    answers = _answers.get(bound)
    if answers is None:
        answers = _answers[bound] = Answers()
    answer = await answers.get((request.scope["route"].name, *about), shape, make)
    headers = {"ETag": answer.tag, "Cache-Control": f"public, max-age={SECONDS}"}
    if answer.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type="application/json", headers=headers)
