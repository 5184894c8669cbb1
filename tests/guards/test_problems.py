"""Every refusal is one document (RFC 9457), Chinese first, whoever refuses: route, parser, frame or database."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app import db, errors
from app.db import new_id
from app.main import SMALL_BODY, create_app
from app.models.identity import Role
from app.settings import ROOT, settings
from tests.clients import client
from tests.guards.cast import CITIZEN, PARTNER, PUBLIC, ROLES, STAFF, actors, bearer, worker

DOORS = list(ROLES)
MISSING = "no-such-place"


async def ask(
    app: FastAPI, method: str, path: str, *, english: bool = False, **options: Any
) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = options.pop("headers", {}) | ({"Accept-Language": "en-GB,en;q=0.9"} if english else {})
    async with httpx.AsyncClient(transport=transport, base_url="http://nuanxin.test") as caller:
        return await caller.request(method, path, headers=headers, **options)


def is_problem(answer: httpx.Response, status: int, *, english: bool = False) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-language"] == ("en" if english else "zh-CN")
    document: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "instance"} <= set(document)
    assert document["type"].startswith("urn:nuanxin:problem:")
    assert document["instance"] == f"urn:nuanxin:request:{answer.headers['x-request-id']}"
    assert document["status"] == status
    assert document["title"].isascii() == english, document["title"]
    return document


async def refused(app: FastAPI, status: int, method: str, path: str, **options: Any) -> None:
    """In both languages."""
    for english in (False, True):
        is_problem(await ask(app, method, path, english=english, **options), status, english=english)


@pytest.mark.parametrize("door", ["", *DOORS])
async def test_an_unknown_path_is_a_404_problem(app: FastAPI, door: str) -> None:
    await refused(app, 404, "GET", f"{door}/{MISSING}")


@pytest.mark.parametrize(
    "place", ["/healthz", f"{CITIZEN}/sign-in", f"{STAFF}/sign-in", f"{PUBLIC}/services"]
)
async def test_another_method_is_a_405_problem(app: FastAPI, place: str) -> None:
    await refused(app, 405, "DELETE", place)


async def test_a_405_names_every_method_of_the_address(app: FastAPI) -> None:
    answer = await ask(app, "DELETE", f"{CITIZEN}/appointments")
    assert answer.headers["allow"] == "GET, POST"
    assert "Allow" in is_problem(answer, 405)["detail"]
    assert (await ask(app, "DELETE", "/healthz")).headers["allow"] == "GET"


async def test_the_front_page_leads_to_the_four_doors(app: FastAPI) -> None:
    for door in (await ask(app, "GET", "/")).json()["doors"]:
        for address in (door["docs"], door["openapi"]):
            assert (await ask(app, "GET", address)).status_code == 200


@pytest.mark.parametrize("door", [CITIZEN, STAFF])
async def test_a_large_body_is_a_413_problem(app: FastAPI, door: str) -> None:
    await refused(app, 413, "POST", f"{door}/sign-in", content=b" " * (SMALL_BODY + 1))


async def test_only_a_report_may_be_larger_than_any_form(session: AsyncSession, app: FastAPI) -> None:
    await refused(app, 401, "POST", f"{PARTNER}/reports", content=b" " * 1_000_000)
    await refused(app, 413, "POST", f"{PARTNER}/reports", content=b" " * 1_000_001)
    await refused(app, 413, "POST", f"{PARTNER}/slots", content=b" " * 1_000_000)


async def test_a_body_of_nonsense_gets_a_short_answer(app: FastAPI) -> None:
    nonsense = {"x" * 1000: 0} | {f"{number:x}": 0 for number in range(5000)}
    answer = await ask(app, "POST", f"{CITIZEN}/sign-in", json=nonsense)
    errors = is_problem(answer, 422)["errors"]
    assert len(errors) == 20
    assert max(len(error["pointer"]) for error in errors) == 200
    assert len(answer.content) < 5000


@pytest.mark.parametrize("door", [CITIZEN, STAFF])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"code": 1, "username": 1}'])
async def test_a_body_that_is_not_the_form_is_a_422_problem(app: FastAPI, door: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    await refused(app, 422, "POST", f"{door}/sign-in", content=body, headers=headers)


async def test_a_422_names_each_wrong_place_and_never_what_was_written(app: FastAPI) -> None:
    answer = await ask(app, "POST", f"{CITIZEN}/sign-in", json={"code": "x" * 201, "other": "secret"})
    document = is_problem(answer, 422)
    assert {error["pointer"] for error in document["errors"]} == {"/code", "/other"}
    assert "secret" not in answer.text
    assert "xxx" not in answer.text


async def test_a_wrong_place_is_told_in_one_language(app: FastAPI) -> None:
    for english, detail in ((False, "必填"), (True, "required")):
        answer = await ask(app, "POST", f"{CITIZEN}/sign-in", english=english, json={})
        document = is_problem(answer, 422, english=english)
        assert document["errors"] == [{"pointer": "/code", "detail": detail}]


@pytest.mark.parametrize(
    ("body", "pointer", "zh", "en"),
    [
        (b'{"code": ', "", "不是有效的 JSON", "not valid JSON"),
        (b"[]", "", "类型或格式不正确", "of the wrong type or form"),
        (b'{"code": "a\\u0000b"}', "/code", "不得含有控制字符", "control characters are not allowed"),
        (b'{"code": "x", "a/b~c": 1}', "/a~1b~0c", "不认识的字段", "no such member"),
    ],
)
async def test_a_pointer_leads_into_the_body(
    app: FastAPI, body: bytes, pointer: str, zh: str, en: str
) -> None:
    for english, detail in ((False, zh), (True, en)):
        headers = {"Content-Type": "application/json"}
        answer = await ask(app, "POST", f"{CITIZEN}/sign-in", english=english, content=body, headers=headers)
        document = is_problem(answer, 422, english=english)
        assert document["errors"] == [{"pointer": pointer, "detail": detail}]


@pytest.mark.parametrize(
    ("outcome", "pointer", "zh"),
    [
        ({"kind": "result_told", "told": "x", "channel": "phone"}, "/outcome/told", "应为 true"),
        ({"kind": "result_told", "channel": "phone"}, "/outcome/told", "必填"),
        ({"kind": "outcome", "result": "other"}, "/outcome/result", "应为 delivered、"),
        ({"kind": "outcome", "result": "delivered"}, "/outcome", "分娩"),
        ({"kind": "else"}, "/outcome/kind", "应为 "),
        ({}, "/outcome/kind", "必填"),
    ],
)
async def test_a_pointer_names_no_branch_of_a_choice(
    session: AsyncSession, app: FastAPI, outcome: dict[str, Any], pointer: str, zh: str
) -> None:
    headers = await bearer(session, STAFF, await worker(session, Role.VILLAGE_WORKER))
    path = f"{STAFF}/follow-ups/{new_id()}/complete"
    answer = await ask(app, "POST", path, headers=headers, json={"version": 1, "outcome": outcome})
    (error,) = is_problem(answer, 422)["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(zh)


async def test_a_place_outside_of_the_body_says_where(session: AsyncSession, app: FastAPI) -> None:
    headers = await bearer(session, STAFF, await worker(session, Role.VILLAGE_WORKER))
    answer = await ask(app, "GET", f"{STAFF}/households?limit=0", headers=headers)
    assert is_problem(answer, 422)["errors"] == [{"pointer": "#query/limit", "detail": "不能小于 1"}]


@pytest.mark.parametrize("door", DOORS[:3])
async def test_no_credentials_is_a_401_problem(session: AsyncSession, app: FastAPI, door: str) -> None:
    path = {CITIZEN: "/me", STAFF: "/me"}.get(door, "/ping")
    await refused(app, 401, "GET", door + path)
    assert (await ask(app, "GET", door + path)).headers["www-authenticate"]


async def test_a_missing_permission_is_a_403_problem(session: AsyncSession, app: FastAPI) -> None:
    everyone, _ = await actors(session)
    headers = await bearer(session, STAFF, everyone[Role.AUDITOR])
    await refused(app, 403, "GET", f"{STAFF}/households", headers=headers)


@pytest.fixture
def breaking() -> FastAPI:
    """The application with one more route at the top and in each door, which fails as no route should."""

    async def fall() -> None:
        raise RuntimeError("李秀英 11010519491231002X")

    app = create_app()
    app.add_api_route("/fall", fall)
    for mounted in app.routes:
        if getattr(mounted, "path", None) in DOORS:
            mounted.app.add_api_route("/fall", fall)  # type: ignore[attr-defined]
    return app


@pytest.mark.parametrize("door", ["", *DOORS])
async def test_the_unexpected_is_a_500_problem_that_tells_nothing(breaking: FastAPI, door: str) -> None:
    await refused(breaking, 500, "GET", f"{door}/fall")
    assert "李秀英" not in (await ask(breaking, "GET", f"{door}/fall")).text


@pytest.fixture
async def no_database() -> AsyncIterator[None]:
    """Nobody listens there."""
    engine = create_async_engine(db.driver("postgresql://127.0.0.1:1/nuanxin"), poolclass=NullPool)
    db.bind(engine)
    yield
    for maker in (db.sessions, db.statements):
        maker.configure(bind=None)
    await engine.dispose()


async def test_without_its_database_the_answer_is_a_503_problem(no_database: None, app: FastAPI) -> None:
    await refused(app, 503, "GET", f"{PUBLIC}/services")
    await refused(app, 503, "GET", "/readyz")
    assert int((await ask(app, "GET", f"{PUBLIC}/services")).headers["retry-after"]) > 0
    assert (await ask(app, "GET", "/healthz")).status_code == 200, "the process itself is well"


async def test_a_resident_meets_503_too(session: AsyncSession, app: FastAPI) -> None:
    """An access token is read without the database, which must not turn the refusal into a 401."""
    everyone, _ = await actors(session)
    headers = await bearer(session, CITIZEN, everyone[Role.RESIDENT])
    engine = create_async_engine(db.driver("postgresql://127.0.0.1:1/nuanxin"), poolclass=NullPool)
    db.bind(engine)
    await refused(app, 503, "GET", f"{CITIZEN}/me", headers=headers)
    await engine.dispose()


@pytest.fixture
async def pool(database: str) -> AsyncIterator[None]:
    """As the application opens it."""
    engine = db.connect(settings(), database)
    yield
    await engine.dispose()


async def test_nothing_waits_for_the_database_without_end(pool: None) -> None:
    async with db.begin() as session:
        for name, value in db.LIMITS.items():
            assert await session.scalar(text(f"SHOW {name}")) == value


LOCK = "SELECT pg_advisory_xact_lock(20260101)"


@pytest.mark.parametrize(
    ("limit", "pause", "statement"),
    [
        ("statement_timeout", 0, "SELECT pg_sleep(5)"),
        ("lock_timeout", 0, LOCK),
        ("idle_in_transaction_session_timeout", 0.2, "SELECT 1"),
    ],
)
async def test_who_waits_too_long_hears_503(pool: None, limit: str, pause: float, statement: str) -> None:
    async def wait() -> None:
        async with db.begin() as session:
            await session.execute(text(f"SET LOCAL {limit} = '20ms'"))
            await asyncio.sleep(pause)
            await session.execute(text(statement))

    async with db.begin() as holder:
        await holder.execute(text(LOCK))
        with pytest.raises(DBAPIError) as refused:
            await wait()
    assert isinstance(errors.to_problem(refused.value), errors.Unavailable)


def test_a_state_that_forbids_is_not_told_to_try_again() -> None:
    for kind in (errors.WrongState, *every_problem(errors.WrongState)):
        assert kind.do_zh != errors.Conflict.do_zh, kind


def every_problem(kind: type[errors.Problem] = errors.Problem) -> list[type[errors.Problem]]:
    return [sub for direct in kind.__subclasses__() for sub in (direct, *every_problem(direct))]


def test_every_problem_speaks_both_languages_and_has_a_type_of_its_own() -> None:
    kinds = sorted(set(every_problem()), key=lambda kind: kind.__name__)
    for kind in kinds:
        assert 400 <= kind.status < 600, kind
        assert kind.zh, kind
        assert kind.en, kind
        assert kind.en.isascii(), kind
        assert bool(kind.do_zh) == bool(kind.do_en), kind
    # One type means one thing: classes that share it say the same.
    said: dict[str, tuple[int, str, str]] = {}
    for kind in kinds:
        assert said.setdefault(kind.slug(), (kind.status, kind.zh, kind.en)) == (
            kind.status,
            kind.zh,
            kind.en,
        )


def test_every_constraint_that_has_a_problem_exists() -> None:
    names = {
        str(item.name)
        for table in db.Base.metadata.tables.values()
        for item in (*table.constraints, *table.indexes)
        if item.name
    }
    functions = (ROOT / "app" / "models" / "sql").glob("*.sql")
    raised = {
        name for file in functions for name in re.findall(r"CONSTRAINT = '(\w+)'", file.read_text("utf-8"))
    }
    assert set(errors.BY_CONSTRAINT) - names - raised == set()


async def test_the_public_door_lists_every_problem(app: FastAPI) -> None:
    async with client(app) as anybody:
        listed = {row["type"] for row in (await anybody.get(f"{PUBLIC}/problems")).json()}
    assert listed >= {errors.TYPE_BASE + kind.slug() for kind in every_problem()}
