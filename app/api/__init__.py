"""The four doors: one FastAPI application and one OpenAPI document for each audience. The table of contents."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from app import errors
from app.api import citizen, partner, public, staff
from app.api.deps import Denied, record_denial
from app.services import allowances

TITLES = {
    "/citizen/v1": "暖心 · 居民 Citizen door",
    "/staff/v1": "暖心 · 工作人员 Staff door",
    "/partner/v1": "暖心 · 合作医院 Partner door",
    "/public/v1": "暖心 · 公众 Public door",
}
DOORS: dict[str, tuple[APIRouter, ...]] = {
    "/citizen/v1": citizen.ROUTERS,
    "/staff/v1": staff.ROUTERS,
    "/partner/v1": partner.ROUTERS,
    "/public/v1": public.ROUTERS,
}
SECURITY: dict[str, dict[str, Any]] = {
    "/citizen/v1": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    "/staff/v1": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    "/partner/v1": {
        name: {
            "type": "apiKey",
            "in": "header",
            "name": header,
            "description": "docs/integrating-hospitals.md",
        }
        for name, header in {
            "key": "Nuanxin-Key",
            "id": "Webhook-Id",
            "timestamp": "Webhook-Timestamp",
            "signature": "Webhook-Signature",
        }.items()
    },
    "/public/v1": {},
}


# What is measured is at /metrics; nothing about requests is sent anywhere, whatever the environment says.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def routes_of(prefix: str) -> Iterator[APIRoute]:
    for router in DOORS[prefix]:
        yield from (route for route in router.routes if isinstance(route, APIRoute))


def permission_of(route: APIRoute) -> str | None:
    """The permission that a route declares; None for one that is open to everybody."""
    for dependency in route.dependant.dependencies:
        if permission := getattr(dependency.call, "permission", None):
            return str(permission.value)
    return None


def create_door(prefix: str) -> FastAPI:
    door: FastAPI = FastAPIOffline(
        title=TITLES[prefix],
        version="1",
        redoc_url=None,
        telemetry=NO_TELEMETRY,
        generate_unique_id_function=lambda route: route.name,
    )
    for router in DOORS[prefix]:
        door.include_router(router)
    methods: dict[str, set[str]] = {}
    for route in routes_of(prefix):
        methods.setdefault(route.path_format, set()).update(route.methods or ())
    door.state.methods = methods  # for the Allow of a 405
    errors.install(door)
    door.add_exception_handler(Denied, record_denial)

    def openapi() -> dict[str, Any]:
        if door.openapi_schema is None:
            document = get_openapi(title=TITLES[prefix], version="1", routes=door.routes)
            door.openapi_schema = _finish(document, prefix)
        return door.openapi_schema

    door.openapi = openapi  # type: ignore[method-assign]
    return door


def _finish(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """What holds for every operation of a door: its address, who may call it, how it refuses."""
    document["servers"] = [{"url": prefix}]
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = errors.SCHEMA
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    if SECURITY[prefix]:
        components["securitySchemes"] = SECURITY[prefix]
    for route in routes_of(prefix):
        for method in route.methods or ():
            operation = document["paths"][route.path_format][method.lower()]
            _finish_operation(operation, permission_of(route), prefix)
    return document


def _finish_operation(operation: dict[str, Any], permission: str | None, prefix: str) -> None:
    common: list[type[errors.Problem]] = [
        errors.Invalid,
        errors.BadRequest,
        errors.BodyTooLarge,
        errors.Unavailable,
    ]
    if permission:
        operation["security"] = [{name: [] for name in SECURITY[prefix]}]
        operation["x-permission"] = permission
        common += [errors.Unauthenticated, errors.Forbidden]
    if prefix == "/partner/v1":
        common.append(allowances.TooManyRequests)
    responses = operation["responses"]
    responses.pop("422", None) if "HTTPValidationError" in str(responses.get("422")) else None
    for status, answer in errors.problems(*common).items():
        responses.setdefault(str(status), answer)
