"""The first journey inside this process: the same story over the same doors, with every exchange kept."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message, Receive, Scope, Send

from app import db, demo
from app.callers import Caller
from app.journey import Story
from app.models.messages import SubscriptionMessage
from app.services import messages
from tests import residents


@dataclass(frozen=True)
class Exchange:
    method: str
    route: str
    status: int
    request_id: str


@dataclass
class Watched:
    """The application, and what it answered."""

    app: FastAPI
    answered: list[Exchange] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watching(message: Message) -> None:
            if message["type"] == "http.response.start" and (route := scope.get("route")):
                headers = dict(message["headers"])
                path = scope["root_path"] + route.path_format
                exchange = Exchange(
                    scope["method"], path, message["status"], headers[b"x-request-id"].decode()
                )
                self.answered.append(exchange)
            await send(message)

        await self.app(scope, receive, watching)


class Played(Story):
    """The phones of the couple are at the stand-in of the tests, the job worker is us."""

    async def control(self, path: str, body: Any) -> Any:
        return await residents.control(path.removeprefix("/"), body)

    async def reminder(self) -> None:
        async with db.begin() as session:
            await messages.queue_due(session)
            due = list(await session.scalars(select(SubscriptionMessage.id)))
        for id in due:
            await messages.send(id)

    def door(self, prefix: str, **headers: str) -> Caller:
        return Caller(self.http, prefix, headers)


def at(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://nuanxin.test")


async def play(session: AsyncSession, http: httpx.AsyncClient) -> Played:
    """From two phones and a hospital to a completed follow-up."""
    await demo.seed(session)
    await session.commit()
    story = Played(http, lambda _: None)
    for chapter in (
        story.sign_in_and_register, story.verify, story.consent_and_qualify, story.book, story.attend,
        story.report, story.follow_up, story.look_back,
    ):  # fmt: skip
        await chapter()
    return story


PERSONAL = {
    "name", "document_number", "phone", "address", "openid", "phone_code", "device",
    "access_token", "refresh_token", "password", "new_password", "current_password", "initial_password",
    "secret", "recovery_codes", "username",
}  # fmt: skip
CODES = ("/sign-in", "/appointments", "/check-ins")


@dataclass
class Secrets:
    """Whatever personal or secret went over the line, in either direction; a hook for httpx."""

    values: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    async def __call__(self, answer: httpx.Response) -> None:
        await answer.aread()
        if answer.status_code >= 400:
            self.refusals.append(answer.text)
        path = answer.request.url.path
        if path.startswith(("/citizen", "/staff", "/partner")):
            for raw in (answer.request.content, answer.content):
                self.collect(raw, path)
        self.values.add(answer.request.headers.get("authorization", "").partition(" ")[2])

    def collect(self, raw: bytes, path: str) -> None:
        try:
            self._walk(json.loads(raw), path)
        except ValueError:
            return

    def _walk(self, value: Any, path: str, name: str = "") -> None:
        if isinstance(value, dict):
            for key, child in value.items():
                self._walk(child, path, key)
        elif isinstance(value, list):
            for child in value:
                self._walk(child, path, name)
        elif isinstance(value, str) and (name in PERSONAL or (name == "code" and path.endswith(CODES))):
            self.values.add(value)

    def found_in(self, text: str) -> set[str]:
        """Masked values and very short ones prove nothing."""
        return {value for value in self.values if len(value) > 1 and "*" not in value and value in text}
