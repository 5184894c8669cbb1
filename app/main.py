"""Start reading here: settings, keys, the pool, the doors."""

import gc
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import api, crypto, db, embedded, errors, logs, schema
from app.admission import Admission
from app.api import callbacks
from app.integrations import wechat_pay
from app.services import messages
from app.settings import Settings, settings

log = logging.getLogger("nuanxin.http")
# Enough for every form; only the bodies listed here may be as large as the setting allows.
SMALL_BODY = 256 * 1024
LARGE_BODIES = {
    "/partner/v1/reports",
    "/partner/v1/fhir",
    "/staff/v1/regions/import",
    "/staff/v1/donation-files",
    "/staff/v1/receipt-files",
    "/staff/v1/reconciliation/bills",
}
# Written to disk while they come in, never held in memory.
UPLOADS = {"/staff/v1/imports"}
ATTACHMENTS = {"/partner/v1/report-attachments"}
REQUESTS = Counter("nuanxin_requests", "Requests answered", ("method", "route", "status"))
SECONDS = Histogram("nuanxin_request_seconds", "Time to answer", ("method", "route"))
# Looked up once: the metrics keep each for ever anyway.
_requests, _seconds = cache(REQUESTS.labels), cache(SECONDS.labels)
NO_SNIFFING, NO_STORE = (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")


def create_app() -> FastAPI:
    config = settings()
    crypto.use(crypto.SettingsKeys(config))
    messages.prepare()
    wechat_pay.prepare()
    app = FastAPI(title="Nuanxin 暖心", lifespan=lifespan, openapi_url=None, telemetry=api.NO_TELEMETRY)
    errors.install(app)
    doors_by_prefix = {prefix: api.create_door(prefix) for prefix in api.DOORS}
    for prefix, door in doors_by_prefix.items():
        app.mount(prefix, door)
    if config.sandbox:
        from app.sandbox.wechat import create_wechat
        from app.sandbox.wechat_pay import Merchant, create_wechat_pay

        secret = config.wechat_secret.get_secret_value()
        app.mount("/sandbox/wechat", create_wechat(config.wechat_appid, secret))
        app.mount("/sandbox/wechat_pay", create_wechat_pay(Merchant.of(config)))
    app.include_router(callbacks.router)
    app.add_api_route("/", doors)
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics)
    app.add_middleware(Straight, doors=doors_by_prefix)
    app.add_middleware(Frame, settings=config)
    app.add_middleware(Admission, key=config.token_key.get_secret_value().encode())
    return app


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    config = settings()
    engine = db.connect(config, config.database_url or embedded.url(config))
    try:
        await schema.require_current(engine)
        yield
    finally:
        await engine.dispose()


async def doors() -> dict[str, list[dict[str, str]]]:
    """The way to the four contracts."""
    return {
        "doors": [
            {"title": title, "docs": f"{prefix}/docs", "openapi": f"{prefix}/openapi.json"}
            for prefix, title in api.TITLES.items()
        ]
    }


async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


async def readyz() -> dict[str, str]:
    """The database answers, with the schema this code expects."""
    try:
        async with db.begin() as session:
            await schema.require_head(session)
    except schema.StaleSchema as stale:
        raise errors.Unavailable from stale
    return {"status": "ready"}


async def metrics() -> Response:
    """Prometheus. Routes are templates and nobody's id appears; keep it off the public network all the same."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class Straight:
    """To the door that a request is for: the application around them all would go through it a second time. What is
    not plainly for one of them goes the long way, which leads there too."""

    def __init__(self, app: ASGIApp, doors: Mapping[str, ASGIApp]) -> None:
        self.app = app
        self.doors = {f"{prefix}/": (prefix, door) for prefix, door in doors.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            for start, (prefix, door) in self.doors.items():
                if scope["path"].startswith(start):
                    scope["root_path"], scope["app_root_path"] = prefix, ""
                    return await door(scope, receive, send)
        return await self.app(scope, receive, send)


class Frame:
    """Around every request: its id, the limit of its body, security headers, one log line, metrics."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.limit, self.upload_limit = settings.max_body_bytes, settings.upload_limit
        self.attachment_limit = settings.attachment_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status, answered = time.perf_counter(), 500, False
        id = uuid.uuid4().hex
        token = logs.request_id.set(id)

        async def framed_send(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                headers = [*message.get("headers", ()), (b"x-request-id", id.encode()), NO_SNIFFING]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(NO_STORE)
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, self._limited(scope, receive), framed_send)
        except Exception as error:
            # A door has answered and logged already. Elsewhere Starlette's own last net would answer outside of
            # this frame, without naming the request.
            if not answered:
                await (await errors.handle(Request(scope), error))(scope, receive, framed_send)
        finally:
            self._finish(scope, status, time.perf_counter() - started)
            logs.request_id.reset(token)
        return None

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        limit = self.limit if scope["path"] in LARGE_BODIES else min(SMALL_BODY, self.limit)
        limit = self.upload_limit if scope["path"] in UPLOADS else limit
        limit = self.attachment_limit if scope["path"] in ATTACHMENTS else limit
        read = int(declared) if declared.isdigit() and int(declared) > limit else 0

        async def limited() -> Message:
            nonlocal read
            if read > limit:
                raise HTTPException(413)
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413)
            return message

        return limited

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path_format", None)
        route = scope.get("root_path", "") + template if template else "unmatched"
        _requests(scope["method"], route, status).inc()
        _seconds(scope["method"], route).observe(seconds)
        fields = {"method": scope["method"], "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        log.info("request", extra={"fields": fields})


def asgi() -> ASGIApp:
    """For uvicorn's --factory."""
    logs.configure()
    app = create_app()
    gc.freeze()  # what start-up made stays: no later collection looks at it again
    return app
