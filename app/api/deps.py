"""Everything an endpoint may ask for: who acts, the transaction, the request's key, a page, types for input."""

import base64
import hmac
import inspect
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header, Query, Request, Response
from fastapi.params import Depends as DependsParam
from pydantic import BaseModel, ConfigDict, Field

from app import db, errors
from app.access import Actor, Permission
from app.crypto import keys
from app.errors import Forbidden, Invalid, Unauthenticated
from app.services import audit, identity, partners, staff
from app.services.idempotency import Key
from app.services.plain import Body, Day, Line, Moment, Note, RegionCode, Text, example

__all__ = ["Body", "Day", "Line", "Moment", "Note", "RegionCode", "Text", "example"]

# `api` may not import sqlalchemy: what it needs of it comes from app.db.
AsyncSession = db.AsyncSession
Db = Annotated[AsyncSession, Depends(db.get_db, scope="function")]


Version = Annotated[
    int, Field(ge=1, le=2**31, description="The version that was read; an older one gets 409")
]


class Versioned(Body):
    model_config = example(version=3)

    version: Version


class View(BaseModel):
    """A response body, read from a row."""

    model_config = ConfigDict(from_attributes=True)


Item = TypeVar("Item")
Part = TypeVar("Part")


class Listing(BaseModel, Generic[Item]):
    """One page. `next` is the opaque cursor of the following page, null on the last."""

    items: list[Item]
    next: str | None = None


class Cursor:
    """The sort key of the last item shown, opaque to clients."""

    @staticmethod
    def encode(*key: object) -> str:
        return base64.urlsafe_b64encode(json.dumps([str(part) for part in key]).encode()).decode().rstrip("=")

    @staticmethod
    def decode(cursor: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
        try:
            parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if not all(isinstance(part, str) for part in parts):
                raise ValueError("encode writes strings only")
            return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
        except (ValueError, TypeError, OverflowError) as error:
            raise Invalid.at("#query/cursor", "游标无效", "not a cursor of this list") from error


class Page(BaseModel):
    limit: int
    cursor: str | None

    def after(self, *kinds: Callable[[str], Any]) -> tuple[Any, ...] | None:
        return None if self.cursor is None else Cursor.decode(self.cursor, *kinds)

    def after_one(self, kind: Callable[[str], Part]) -> Part | None:
        """Of a key of one part."""
        found = self.after(kind)
        return None if found is None else found[0]


def _page(
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Page:
    return Page(limit=limit, cursor=cursor)


Paging = Annotated[Page, Depends(_page)]


def listing(rows: list[Any], page: Page, key: Callable[[Any], tuple[object, ...]]) -> dict[str, Any]:
    """A page from `limit + 1` rows: the extra one tells whether there is a next page."""
    more = len(rows) > page.limit
    items = rows[: page.limit]
    return {"items": items, "next": Cursor.encode(*key(items[-1])) if more else None}


async def _key(
    request: Request,
    idempotency_key: Annotated[
        uuid.UUID | None, Header(alias="Idempotency-Key", description="UUID; becomes the row's id")
    ] = None,
) -> Key:
    # Keyed: a body may say little but a name and a number, which nobody shall find by trying.
    seen = hmac.new(keys().index_key(), f"{request.method} {request.scope['path']}\n".encode(), "sha256")
    seen.update(await request.body())
    return Key(idempotency_key or db.new_id(), seen.digest())


IdempotencyKey = Annotated[Key, Depends(_key)]


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token


async def _resident(request: Request) -> Actor:
    return identity.actor_of(_bearer(request))


async def _staff(request: Request) -> Actor:
    # On a connection of its own, given back at once: an endpoint that waits for argon2 holds none meanwhile.
    async with db.statements() as own:
        return await staff.actor_of(own, _bearer(request))


async def _partner(request: Request, db: Db) -> Actor:
    # As sent, still percent-encoded: what the hospital signed, and nothing that decoding could make ambiguous.
    raw_path, query = request.scope["raw_path"], request.scope["query_string"]
    path = (raw_path + (b"?" + query if query else b"")).decode("latin-1")
    signed = partners.SignedRequest(
        key_id=request.headers.get("nuanxin-key", ""),
        message_id=request.headers.get("webhook-id", ""),
        timestamp=request.headers.get("webhook-timestamp", ""),
        signature=request.headers.get("webhook-signature", ""),
        method=request.method,
        path=path,
        body=await request.body(),
    )
    return await partners.authenticate(db, signed)


class Denied(Forbidden):
    """The role has no such permission."""

    def __init__(self, actor: Actor, permission: Permission) -> None:
        super().__init__()
        self.actor, self.permission = actor, permission

    @classmethod
    def slug(cls) -> str:
        return Forbidden.slug()


async def record_denial(request: Request, error: Exception) -> Response:
    """The refusal has rolled the request back and given its connection back; its record has its own."""
    assert isinstance(error, Denied)
    async with db.begin() as own:
        await audit.record(own, error.actor, "denied", error.permission)
    return errors.response(request, error)


def _may(door: Callable[..., Awaitable[Actor]]) -> Callable[[Permission], DependsParam]:
    """`door` is called, not depended on: each level of dependencies costs every request of a rush."""

    def may(permission: Permission) -> DependsParam:
        async def allowed(**of_request: Any) -> Actor:
            actor = await door(**of_request)
            if not actor.may(permission):
                raise Denied(actor, permission)
            return actor

        allowed.__signature__ = inspect.signature(door)  # type: ignore[attr-defined]
        allowed.permission = permission  # type: ignore[attr-defined]  # read by OpenAPI and the guards
        depends: DependsParam = Depends(allowed, scope="function")
        return depends

    return may


resident_may = _may(_resident)
staff_may = _may(_staff)
partner_may = _may(_partner)


# Why a worker opens somebody's file; recorded, and shown to that person.
PURPOSES = (
    "verification", "registry_upkeep", "appointment", "follow_up", "payment", "complaint", "rights_request", "audit"
)  # fmt: skip
Purpose = Annotated[
    str, Header(alias="Purpose", pattern=f"^({'|'.join(PURPOSES)})$", description="Why the file is opened")
]
