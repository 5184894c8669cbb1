"""Nothing personal and nothing secret leaves by the back: not in logs at any level, problems or metrics."""

import io
import logging
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import db, demo, logs
from app.db import new_id
from app.journey import couple
from app.main import create_app
from tests.guards.playing import Played, Secrets, at, play


@pytest.fixture
def captured() -> Iterator[io.StringIO]:
    """Everything that the program logs, configured as in production but for the level: DEBUG."""
    root = logging.getLogger()
    before, level, written = root.handlers[:], root.level, io.StringIO()
    root.handlers = []
    logs.configure(logging.DEBUG)
    root.handlers[0].setStream(written)  # type: ignore[attr-defined]
    yield written
    root.handlers = before
    root.setLevel(level)


@pytest.fixture
def breaking() -> FastAPI:
    """Two routes that fail with everything in their exceptions: one of ours, one of the database."""
    app = create_app()

    async def fall(name: str) -> None:
        raise RuntimeError(f"{name} {demo.PASSWORD}")

    async def refuse(name: str) -> None:
        async with db.begin() as session:
            await session.execute(
                text("INSERT INTO region (code, name) VALUES (:name, :name)"), {"name": name}
            )

    app.add_api_route("/fall", fall)
    app.add_api_route("/refuse", refuse)
    return app


async def go_wrong(story: Played, http: httpx.AsyncClient) -> None:
    """What people mistype, and what breaks."""
    stranger, other = couple()
    caller = await story.resident(stranger)
    json = {"Content-Type": "application/json"}
    wife = story.wife
    twice = {**story.form, "members": [story.member(wife, "head"), story.member(wife, "spouse")]}
    gift = {"fund_id": str(new_id()), "amount_fen": 100, "shown_as": "name"}
    taken = {"name": other.name, "document_number": wife.number, "phone_code": f"phone-{other.phone}"}
    for path, body in (
        ("/households", twice),
        ("/households", {**story.form, "members": [story.member(wife, "head")]}),
        ("/households", {**story.form, "address": wife.name * 200, "neighbour": other.name}),
        ("/me/identity", taken),
        ("/me/identity", {**taken, "document_number": wife.number[:-1]}),
        ("/appointments", {"slot_id": wife.number}),
        ("/sign-in", {"code": f"wrong-{other.openid}"}),
        ("/refresh", {"refresh_token": f"{other.openid}.{other.number}"}),
        ("/donations", {**gift, "donor_name": wife.name}),
        ("/donations", {**gift, "donor_name": wife.name * 40}),
        ("/gifts/claim", {"number": wife.number}),
        (f"/gifts/{gift['fund_id']}/receipt-requests", {"payer": wife.name, "payer_number": wife.number}),
    ):
        answer = await http.post(f"/citizen/v1{path}", json=body, headers=caller.headers)
        assert 400 <= answer.status_code < 500, f"{path}: {answer.text}"
    broken = await http.post(
        "/citizen/v1/sign-in", content=f'{{"code": "{wife.number}'.encode(), headers=json
    )
    assert broken.status_code == 422
    credentials = {"username": "auditor", "password": demo.PASSWORD[:-1], "totp": "000000"}
    assert (await http.post("/staff/v1/sign-in", json=credentials)).status_code == 401
    forged = {"Authorization": f"Bearer {wife.number}"}
    assert (await http.get("/citizen/v1/me", headers=forged)).status_code == 401
    assert (await http.get(f"/citizen/v1/{wife.number}")).status_code == 404
    assert (await http.get("/fall", params={"name": wife.name + wife.number})).status_code == 500
    assert (await http.get("/refuse", params={"name": wife.name + wife.number})).status_code == 409


async def test_nothing_personal_is_logged_refused_or_counted(
    committed: str, wechat: str, breaking: FastAPI, captured: io.StringIO
) -> None:
    secrets = Secrets({demo.PARTNER_SECRET, demo.TOTP_SECRET, demo.PASSWORD})
    async with db.sessions() as session, at(breaking) as http:
        http.event_hooks["response"].append(secrets)
        story = await play(session, http)
        await go_wrong(story, http)
        for one in (story.wife, story.husband):
            secrets.values |= {one.name, one.number, one.phone, one.openid}
        metrics = (await http.get("/metrics")).text
    assert story.appointment["code"] in secrets.values, "the net has no holes"
    logged = captured.getvalue()
    assert '"message": "request"' in logged
    assert "request failed" in logged
    for place, written in (
        ("the log", logged), ("metrics", metrics), ("problems", "\n".join(secrets.refusals)),
    ):  # fmt: skip
        # The demo's workers are called by their roles, which the log may name.
        assert not secrets.found_in(written) - {"village_worker", "auditor"}, place


async def test_metrics_name_routes_not_addresses(session: AsyncSession, app: FastAPI) -> None:
    async with at(app) as http:
        await http.get("/public/v1/regions/640104001000")
        await http.get("/public/v1/nowhere/13812345678")
        metrics = (await http.get("/metrics")).text
    assert 'route="/public/v1/regions/{code}"' in metrics
    assert "640104001000" not in metrics
    assert "13812345678" not in metrics
