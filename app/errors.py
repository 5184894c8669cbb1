"""Problems (RFC 9457): a small class beside the rule that raises it, in Chinese and in English.

    class SlotFull(Conflict, constraint="ck_slot_booked"):
        zh, en = "该时段已约满", "This slot is full"
        do_zh, do_en = "请选择其他时段", "Choose another slot"

The class name is the stable `type`. A `constraint` makes the database's last word the same problem.
"""

import json
import logging
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Self

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.logs import request_id
from app.unfit import Place, Unfit, place, places

__all__ = [
    "BY_CONSTRAINT", "MEDIA_TYPE", "SCHEMA", "TYPE_BASE", "BadRequest", "BodyTooLarge", "Conflict", "Forbidden",
    "Invalid", "MethodNotAllowed", "NotFound", "Place", "Problem", "StaleVersion", "TooMany", "Unauthenticated",
    "Unavailable", "Unexpected", "Unfit", "WrongState", "from_database", "handle", "install", "language_of", "place",
    "problems", "response", "to_problem", "written",
]  # fmt: skip
log = logging.getLogger("nuanxin.errors")
MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "urn:nuanxin:problem:"
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "instance"],
    "properties": {
        "type": {"type": "string", "description": "Stable: urn:nuanxin:problem:…"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to do next"},
        "instance": {"type": "string", "description": "The request, to name when asking for help"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "Into the body (RFC 6901), or #query/…, #header/…, #path/…",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


class Problem(Exception):
    status: ClassVar[int]
    zh: ClassVar[str]
    en: ClassVar[str]
    do_zh: ClassVar[str] = ""
    do_en: ClassVar[str] = ""
    headers: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, constraint: str | tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in (constraint,) if isinstance(constraint, str) else constraint:
            BY_CONSTRAINT[name] = cls

    def __init__(self, *, errors: list[Place] | None = None, **extensions: Any) -> None:
        super().__init__(type(self).__name__)
        self.errors = errors
        self.extensions = extensions

    @classmethod
    def slug(cls) -> str:
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def document(self, language: str) -> dict[str, Any]:
        said = _said(type(self), language)  # type: ignore[arg-type]  # classes are hashable
        body = said | {"instance": f"urn:nuanxin:request:{request_id.get()}"}
        if self.errors is not None:
            spoken = "zh" if language == "zh-CN" else "en"
            body["errors"] = [{"pointer": wrong["pointer"], "detail": wrong[spoken]} for wrong in self.errors]
        return body | self.extensions


@cache
def _said(kind: type[Problem], language: str) -> dict[str, Any]:
    """What every problem of a kind says: a rush is answered with the same one again and again."""
    chinese = language == "zh-CN"
    body = {
        "type": TYPE_BASE + kind.slug(),
        "title": kind.zh if chinese else kind.en,
        "status": kind.status,
        "detail": kind.do_zh if chinese else kind.do_en,
    }
    return {key: value for key, value in body.items() if value != ""}


BY_CONSTRAINT: dict[str, type[Problem]] = {}


class Invalid(Problem):
    """422: the input breaks a rule; `errors` says where."""

    status = 422
    zh, en = "提交的内容有误", "The input is not valid"
    do_zh, do_en = (
        "请按 errors 中标出的位置修改后重新提交",
        "Correct the places named in errors and send again",
    )

    @classmethod
    def at(cls, pointer: str, zh: str, en: str) -> Self:
        return cls(errors=[place(pointer, zh, en)])


class Unauthenticated(Problem):
    status = 401
    zh, en = "请先登录", "Sign in first"
    do_zh, do_en = "登录已过期或凭证无效，请重新登录", "The credential is missing, expired or not valid here"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    status = 403
    zh, en = "没有权限", "Not allowed"
    do_zh, do_en = "如工作需要，请联系管理员", "Ask your administrator if your work needs this"


class NotFound(Problem):
    """404: absent, or not visible to this actor: the two are told apart to no one."""

    status = 404
    zh, en = "没有找到", "Not found"
    do_zh, do_en = "请检查编号是否正确", "Check the identifier"


class Conflict(Problem):
    status = 409
    zh, en = "与现有数据冲突", "In conflict with what is already there"
    do_zh, do_en = "请刷新后重试", "Reload and try again"


class StaleVersion(Conflict):
    """Says `current_version`; an edited household shows both versions (services/households/conflicts)."""

    zh, en = "内容已被他人修改", "Someone else changed this meanwhile"
    do_zh, do_en = "请刷新查看最新内容后再提交", "Reload, look at the current version, then send again"


class WrongState(Conflict):
    zh, en = "当前状态不能进行此操作", "Not possible in the current state"
    do_zh, do_en = "重试无效，请查看当前状态", "Trying again does not help: look at the current state"


class BodyTooLarge(Problem):
    status = 413
    zh, en = "提交的内容过大", "The body is too large"
    do_zh, do_en = "请减小内容后重试", "Send less at a time"


class TooMany(Problem):
    status = 429
    zh, en = "操作过于频繁", "Too many attempts"
    do_zh, do_en = "请稍后再试", "Wait, then try again"


class MethodNotAllowed(Problem):
    status = 405
    zh, en = "不支持此方法", "This method is not supported here"
    do_zh, do_en = "请使用 Allow 中列出的方法", "Use a method that Allow names"


class BadRequest(Problem):
    status = 400
    zh, en = "请求格式有误", "The request cannot be read"


class Unavailable(Problem):
    status = 503
    zh, en = "服务暂时不可用", "The service is briefly unavailable"
    do_zh = "请稍后重试；使用同一请求编号重复提交是安全的"
    do_en = "Try again shortly; with the same Idempotency-Key that is safe"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class Unexpected(Problem):
    status = 500
    zh, en = "系统出现意外错误", "Something unexpected went wrong"
    do_zh, do_en = "请将 instance 编号告知管理员", "Give the instance number to the administrator"


def language_of(request: Request) -> str:
    """Chinese unless the client puts English first."""
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh-CN"


#: Made once: `json.dumps` with options would make one for every answer.
written = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def response(request: Request, problem: Problem) -> Response:
    language = language_of(request)
    return Response(
        written(problem.document(language)),
        problem.status,
        headers={**problem.headers, "Content-Language": language},
        media_type=MEDIA_TYPE,
    )


def from_database(error: DBAPIError) -> Problem:
    """The database's last word as a domain problem, by constraint name or SQLSTATE class."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if isinstance(error, IntegrityError):
        name = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
        return BY_CONSTRAINT.get(name or "", Conflict)()
    if state[:2] == "22":  # data exception: a value PostgreSQL cannot hold
        return Invalid()
    if (
        error.connection_invalidated
        or state[:2] in {"08", "53", "57"}
        or state in {"25P03", "40001", "40P01", "55P03"}
    ):
        return Unavailable()
    return Unexpected()


HTTP_PROBLEMS: dict[int, type[Problem]] = {
    400: BadRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge,
}  # fmt: skip


def to_problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return Invalid(errors=places(error))
        case DBAPIError():
            return from_database(error)
        case PoolTimeout() | ConnectionError() | OSError():
            return Unavailable()
        case HTTPException():
            return HTTP_PROBLEMS.get(error.status_code, BadRequest)()
        case _:
            return Unexpected()


async def handle(request: Request, error: Exception) -> Response:
    problem = to_problem(error)
    if problem.status >= 500:
        log.error("request failed", exc_info=error)
    answer = response(request, problem)
    if isinstance(error, HTTPException) and problem.status == 405:
        answer.headers["Allow"] = _allowed(request, error)
    return answer


def _allowed(request: Request, error: HTTPException) -> str:
    """The framework names the methods of the first route at this address only."""
    path = getattr(request.scope.get("route"), "path_format", None)
    methods: set[str] = getattr(request.app.state, "methods", {}).get(path, set())
    return ", ".join(sorted(methods)) or (error.headers or {}).get("Allow", "")


def install(app: FastAPI) -> None:
    for kind in (Problem, RequestValidationError, HTTPException, DBAPIError, PoolTimeout, OSError, Exception):
        app.add_exception_handler(kind, handle)


def problems(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of an operation: which problems it may answer with, by status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        entry = by_status.setdefault(
            kind.status, {"description": "", "content": {MEDIA_TYPE: {"examples": {}}}}
        )
        entry["description"] += f"{kind.zh} {kind.en} (`{kind.slug()}`). "
        entry["content"][MEDIA_TYPE]["schema"] = {"$ref": "#/components/schemas/Problem"}
        entry["content"][MEDIA_TYPE]["examples"][kind.slug()] = {"value": kind().document("zh-CN")}
    return by_status
