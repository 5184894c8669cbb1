"""Well-formed and still not right: used keys, forged tokens, old versions, places and families out of reach."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import settings
from tests.bad_input.house import TOWN, House, build, problem, unknown
from tests.clients import client
from tests.guards.cast import CITIZEN, PARTNER, PUBLIC, STAFF


@pytest.fixture
async def house(session: AsyncSession) -> House:
    return await build(session)


async def test_a_key_used_again_repeats_the_answer_or_refuses(house: House) -> None:
    """Same body: the same answer. Other body: 422. Somebody else's key: 409, and nothing of what is behind it."""
    account = {"username": "zhao.min", "name": "赵敏", "role": "village_worker", "region_code": TOWN}
    clinic = {"name": "甲医院", "region_code": TOWN}
    rename = {"username": "qian.li", "name": "钱丽"}
    for who, else_, path, body, change in (
        (house.resident, house.other, f"{CITIZEN}/households", house.form(), {"address": "别处"}),
        (house.administrator, house.administrator, f"{STAFF}/accounts", account, rename),
        (house.county, house.administrator, f"{STAFF}/organizations", clinic, {"name": "乙医院"}),
        (house.county, None, f"{STAFF}/slots", house.new_slot(), {"capacity": 6}),
        (house.hospital, None, f"{PARTNER}/slots", house.new_slot(), {"capacity": 6}),
    ):  # fmt: skip
        key = {"Idempotency-Key": unknown()}
        first = await who.post(path, json=body, headers=key)
        assert first.status_code == 201, first.text
        async with house.nothing_changes():
            if who is not house.hospital:
                again = await who.post(path, json=body, headers=key)
                once = {"initial_password": None} if "initial_password" in first.json() else {}
                assert (again.status_code, again.json()) == (201, {**first.json(), **once})
            changed = problem(await who.post(path, json={**body, **change}, headers=key), 422)
            assert changed["type"] == "urn:nuanxin:problem:idempotency-key-reused"
            if else_ not in {None, who}:
                assert else_ is not None
                taken = problem(await else_.post(path, json=body, headers=key), 409)
                assert taken["type"] == "urn:nuanxin:problem:idempotency-key-taken"
                assert set(taken) == {"type", "title", "status", "detail", "instance"}


async def test_an_existing_row_s_id_is_no_key(house: House) -> None:
    """An id that something else has already, made before there were keys or by another."""
    body, key = {"name": "丙医院", "region_code": TOWN}, str(house.attended.hospital.organization.id)
    async with house.nothing_changes():
        problem(
            await house.county.post(f"{STAFF}/organizations", json=body, headers={"Idempotency-Key": key}),
            409,
        )


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def tokens_like(good: str) -> Iterator[str]:
    """Forged, weakened, expired, cut, for another door."""
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    key = OctKey.import_key(settings().token_key.get_secret_value())
    other = OctKey.import_key("another-key-of-thirty-two-characters!")
    yield jwt.encode({"alg": "HS256"}, claims, other)
    yield f"{segment({'alg': 'none'})}.{payload}."
    yield f"{segment({'alg': 'None', 'typ': 'JWT'})}.{payload}.{signature}"
    yield f"{segment({'alg': 'HS512'})}.{payload}.{signature}"
    yield f"{header}.{segment({**claims, 'exp': claims['exp'] + 1})}.{signature}"
    yield jwt.encode({"alg": "HS256"}, {**claims, "exp": 1}, key)
    yield jwt.encode({"alg": "HS256"}, {**claims, "exp": "never"}, key)
    yield jwt.encode({"alg": "HS256"}, {**claims, "aud": PARTNER}, key)
    yield jwt.encode({"alg": "HS256"}, {**claims, "aud": [CITIZEN, STAFF]}, key)
    yield jwt.encode({"alg": "HS256"}, {**claims, "sub": "nobody"}, key)
    yield jwt.encode({"alg": "HS256"}, {name: claims[name] for name in ("aud", "exp")}, key)
    yield jwt.encode({"alg": "HS256"}, {}, key)
    yield good[:-4]
    yield good + "A"
    yield f"{good} {good}"
    yield "." * 50


@pytest.mark.parametrize("door", [CITIZEN, STAFF])
async def test_a_token_that_is_not_ours_opens_nothing(house: House, door: str) -> None:
    good = house.at(door).headers["authorization"].removeprefix("Bearer ")
    foreign = house.at(STAFF if door == CITIZEN else CITIZEN).headers["authorization"].removeprefix("Bearer ")
    assert (await client().get(f"{door}/me", headers={"Authorization": f"Bearer {good}"})).status_code == 200
    async with house.nothing_changes():
        for bad in [*tokens_like(good), foreign]:
            answer = await client().get(f"{door}/me", headers={"Authorization": f"Bearer {bad}"})
            assert problem(answer, 401)["type"] == "urn:nuanxin:problem:unauthenticated", bad
        for scheme in ("Basic", "bearer:", ""):
            problem(await client().get(f"{door}/me", headers={"Authorization": f"{scheme} {good}"}), 401)
        problem(await client().get(f"{door}/me?access_token={good}"), 401)


async def test_an_older_version_changes_nothing(house: House) -> None:
    household = await house.submitted()
    path, old = f"/households/{household['id']}", {"version": household["version"] - 1}
    marks = [{"pointer": "/address", "note": "不清楚"}]
    async with house.nothing_changes():
        for answer in (
            await house.village.post(f"{STAFF}{path}/verify", json=old),
            await house.village.post(f"{STAFF}{path}/return", json={**old, "marks": marks}),
            await house.resident.put(f"{CITIZEN}{path}", json={**old, "form": house.form()}),
            await house.resident.post(f"{CITIZEN}{path}/submit", json=old),
        ):
            assert problem(answer, 409)["type"] == "urn:nuanxin:problem:stale-version"


async def test_an_unknown_region_is_refused_at_its_place(house: House) -> None:
    gone = "640104999000"
    async with house.nothing_changes():
        for who, path, body, pointer in (
            (house.resident, f"{CITIZEN}/households", house.form(region_code=gone), "/region_code"),
            (house.resident, f"{CITIZEN}/households", house.form(region_code="640000000000"), "/region_code"),
            (house.resident, f"{CITIZEN}/households",
             house.form(members=[house.member(hukou_region_code=gone)]), "/members/0/hukou_region_code"),
            (house.administrator, f"{STAFF}/organizations", {"name": "丁医院", "region_code": gone}, "/region_code"),
            (house.administrator, f"{STAFF}/accounts",
             {"username": "sun.li", "name": "孙丽", "role": "auditor", "region_code": gone}, "/region_code"),
        ):  # fmt: skip
            document = problem(await who.post(path, json=body), 422)
            assert [error["pointer"] for error in document["errors"]] == [pointer]
        problem(await house.anybody.get(f"{PUBLIC}/regions/{gone}"), 404)
        outside = {"username": "sun.li", "name": "孙丽", "role": "auditor", "region_code": "110000000000"}
        problem(await house.administrator.post(f"{STAFF}/accounts", json=outside), 403)


async def test_another_family_and_another_region_do_not_exist(house: House) -> None:
    household = await house.submitted()
    path, version = f"/households/{household['id']}", {"version": household["version"]}
    purpose, marks = {"Purpose": "verification"}, [{"pointer": "/address", "note": "不清楚"}]
    nowhere = await house.other.get(f"{CITIZEN}/households/{unknown()}")
    async with house.nothing_changes():
        for answer in (
            await house.other.get(f"{CITIZEN}{path}"),
            await house.other.put(f"{CITIZEN}{path}", json={**version, "form": house.form()}),
            await house.other.post(f"{CITIZEN}{path}/submit", json=version),
            await house.next_county.get(f"{STAFF}{path}", headers=purpose),
            await house.next_county.post(f"{STAFF}{path}/unmask", headers=purpose),
            await house.next_county.post(f"{STAFF}{path}/verify", json=version),
            await house.next_county.post(f"{STAFF}{path}/return", json={**version, "marks": marks}),
            await house.other.get(f"{CITIZEN}/appointments/{house.attended.appointment.id}"),
            await house.other.post(f"{CITIZEN}/appointments/{house.attended.appointment.id}/cancel", json={}),
        ):  # fmt: skip
            document = problem(answer, 404)
            assert {**document, "instance": ""} == {**nowhere.json(), "instance": ""}, (
                "told apart from nothing"
            )
