"""Residents at their phones: real login codes and phone codes from the WeChat stand-in, real tokens."""

import secrets
import uuid
from contextlib import AbstractContextManager
from typing import Any

import httpx
from fastapi import FastAPI

from app.journey import Spouse
from app.sandbox.wechat import create_wechat
from app.settings import settings
from tests.clients import client
from tests.servers import serving

TOWN = "640104001000"
NEXT_COUNTY_TOWN = "640105001000"


def wechat_server() -> AbstractContextManager[str]:
    """The stand-in, for the whole run."""
    return serving(create_wechat(settings().wechat_appid, settings().wechat_secret.get_secret_value()))


async def control(path: str, body: dict[str, Any]) -> Any:
    """What happens on a phone or at WeChat, outside of our system."""
    async with httpx.AsyncClient(base_url=settings().wechat_base_url, trust_env=False) as http:
        answer = await http.post(f"/control/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


async def resident(openid: str | None = None, *, app: FastAPI | None = None) -> httpx.AsyncClient:
    """Somebody who signed in with WeChat and is bound to no one yet."""
    openid = openid or f"o{secrets.token_hex(13)}"
    caller = client(app)
    code = (await control("login-code", {"openid": openid}))["code"]
    answer = await caller.post("/citizen/v1/sign-in", json={"code": code})
    assert answer.status_code == 200, answer.text
    caller.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return caller


async def bind(caller: httpx.AsyncClient, person: Spouse, **changes: Any) -> httpx.Response:
    code = (
        await control("phone-code", {"openid": person.openid, "phone": changes.pop("phone", person.phone)})
    )["code"]
    body = {"name": person.name, "document_number": person.number, "phone_code": code, **changes}
    return await caller.post("/citizen/v1/me/identity", json=body)


async def bound(person: Spouse) -> httpx.AsyncClient:
    caller = await resident(person.openid)
    answer = await bind(caller, person)
    assert answer.status_code == 201, answer.text
    return caller


def member(person: Spouse, relation: str, **changes: Any) -> dict[str, Any]:
    return {
        "relation": relation, "name": person.name, "document_number": person.number, "phone": person.phone,
        "hukou_region_code": TOWN, "hukou_type": "rural", "resident_since": "2019-05-01", **changes,
    }  # fmt: skip


def form(wife: Spouse, husband: Spouse, **changes: Any) -> dict[str, Any]:
    return {
        "region_code": TOWN, "address": "凤凰北街 8 号",
        "members": [member(wife, "spouse"), member(husband, "head")],
        "marriage": {"wife": 0, "husband": 1, "since": "2020-05-20", "plans_pregnancy": True},
        **changes,
    }  # fmt: skip


async def verified(
    wife: Spouse, husband: Spouse, worker: httpx.AsyncClient, **changes: Any
) -> httpx.AsyncClient:
    """The wife, signed in, her household registered, submitted and verified."""
    caller = await bound(wife)
    draft = (await caller.post("/citizen/v1/households", json=form(wife, husband, **changes))).json()
    path = f"/households/{draft['id']}"
    submitted = await caller.post(f"/citizen/v1{path}/submit", json={"version": draft["version"]})
    answer = await worker.post(f"/staff/v1{path}/verify", json={"version": submitted.json()["version"]})
    assert answer.status_code == 200, answer.text
    return caller


async def agree(caller: httpx.AsyncClient) -> list[dict[str, Any]]:
    """To every notice in force."""
    notices = (await caller.get("/citizen/v1/notices")).json()
    given = [
        await caller.post("/citizen/v1/consents", json={"notice_id": notice["id"]}) for notice in notices
    ]
    assert all(answer.status_code == 201 for answer in given)
    return [answer.json() for answer in given]


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}
