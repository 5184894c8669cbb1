from datetime import timedelta

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db, tokens
from app.db import new_id
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.services import staff
from tests.clients import SYSTEM, Worker, a_worker, client, signed_in, staff_client

DOOR = "/staff/v1"


def problem(answer: httpx.Response) -> str:
    """The stable type of a refusal, which is always a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.json()["type"].removeprefix("urn:nuanxin:problem:")


async def pair_of(worker: Worker, step: int = 0) -> dict[str, str]:
    async with client() as caller:
        answer = await caller.post(
            f"{DOOR}/sign-in", json={**worker.credentials(), "totp": worker.code(step)}
        )
    return answer.json()


async def test_a_new_worker_enrols_signs_in_and_sees_the_own_account(
    app: FastAPI, session: AsyncSession
) -> None:
    account, initial = await staff.create(
        session,
        SYSTEM,
        None,
        username="wang.fang",
        name="王芳",
        role=Role.AUDITOR,
        region_code="640121000000",
    )
    await session.commit()
    caller = client(app)
    who = {"username": "Wang.Fang", "password": initial}
    assert problem(await caller.post(f"{DOOR}/sign-in", json=who)) == "totp-enrolment-required"

    begun = (await caller.post(f"{DOOR}/enrolment/begin", json=who)).json()["enrolment"]
    assert begun["uri"].startswith("otpauth://totp/")
    worker = Worker(account, "a long password of my own", begun["secret"])
    confirm = {**who, "totp": worker.code(), "new_password": worker.password}
    confirmed = await caller.post(f"{DOOR}/enrolment/confirm", json=confirm)
    assert len(confirmed.json()["recovery_codes"]) == 10

    mine = (await (await signed_in(worker, step=1)).get(f"{DOOR}/me")).json()
    assert (mine["username"], mine["role"], mine["region_code"]) == ("wang.fang", "auditor", "640121000000")


async def test_wrong_password_wrong_code_and_unknown_name_get_one_answer(session: AsyncSession) -> None:
    worker, caller = await a_worker(session, Role.VILLAGE_WORKER), client()
    right = {**worker.credentials(), "totp": worker.code()}
    other_code = f"{(int(worker.code()) + 1) % 1_000_000:06}"
    answers = [
        await caller.post(f"{DOOR}/sign-in", json={**right, **change})
        for change in ({"password": "wrong"}, {"totp": other_code}, {"username": "nobody"}, {"totp": None})
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert (
        len({tuple(item for item in answer.json().items() if item[0] != "instance") for answer in answers})
        == 1
    )


async def test_the_sixth_attempt_is_told_when_to_come_back(session: AsyncSession) -> None:
    worker, caller = await a_worker(session, Role.VILLAGE_WORKER), client()
    bad = {**worker.credentials(), "password": "wrong"}
    for _ in range(5):
        assert problem(await caller.post(f"{DOOR}/sign-in", json=bad)) == "credentials-refused"
    locked = await caller.post(f"{DOOR}/sign-in", json={**worker.credentials(), "totp": worker.code()})
    assert (problem(locked), locked.headers["retry-after"]) == ("account-locked", "900")


async def test_a_spent_code_is_refused_at_the_door(session: AsyncSession) -> None:
    worker, caller = await a_worker(session, Role.VILLAGE_WORKER), client()
    body = {**worker.credentials(), "totp": worker.code()}
    assert (await caller.post(f"{DOOR}/sign-in", json=body)).status_code == 200
    assert problem(await caller.post(f"{DOOR}/sign-in", json=body)) == "credentials-refused"


# Tokens


async def test_each_refresh_token_works_once_and_reuse_ends_the_family(session: AsyncSession) -> None:
    worker, caller = await a_worker(session, Role.VILLAGE_WORKER), client()
    first = await pair_of(worker)
    second = (await caller.post(f"{DOOR}/refresh", json={"refresh_token": first["refresh_token"]})).json()
    assert second["refresh_token"] != first["refresh_token"]

    reused = await caller.post(f"{DOOR}/refresh", json={"refresh_token": first["refresh_token"]})
    assert problem(reused) == "refresh-token-refused"
    newest = await caller.post(f"{DOOR}/refresh", json={"refresh_token": second["refresh_token"]})
    assert problem(newest) == "refresh-token-refused"
    ended = await caller.get(f"{DOOR}/me", headers={"Authorization": f"Bearer {second['access_token']}"})
    assert problem(ended) == "unauthenticated"


async def test_a_refresh_token_that_was_never_issued_ends_nothing(session: AsyncSession) -> None:
    """The id of a sign-in is no secret: it must not be enough to end it."""
    worker, caller = await a_worker(session, Role.VILLAGE_WORKER), client()
    pair = await pair_of(worker)
    family, generation, mac = pair["refresh_token"].split(".")
    for forged in (
        f"{family}.x", f"{family}.0.x", f"{family}.1.{mac}", f"{family}.-1.{mac}", f"{family}.{generation}.{mac}=",
        f"{family}.٠.{mac}", f"{{{family}}}.{generation}.{mac}", "x", ".", "..",
    ):  # fmt: skip
        answer = await caller.post(f"{DOOR}/refresh", json={"refresh_token": forged})
        assert (answer.status_code, problem(answer)) == (401, "refresh-token-refused")
    good = await caller.post(f"{DOOR}/refresh", json={"refresh_token": pair["refresh_token"]})
    assert good.status_code == 200


async def test_a_staff_refresh_token_is_worth_nothing_at_the_citizen_door(session: AsyncSession) -> None:
    pair = await pair_of(await a_worker(session, Role.VILLAGE_WORKER))
    answer = await client().post("/citizen/v1/refresh", json={"refresh_token": pair["refresh_token"]})
    assert problem(answer) == "refresh-token-refused"
    again = await client().post(f"{DOOR}/refresh", json={"refresh_token": pair["refresh_token"]})
    assert again.status_code == 200


async def test_an_access_token_expires_after_fifteen_minutes(session: AsyncSession) -> None:
    with time_machine.travel(clock.now()) as time:
        caller = await staff_client(session, Role.VILLAGE_WORKER)
        time.shift(timedelta(minutes=14, seconds=30))
        assert (await caller.get(f"{DOOR}/me")).status_code == 200
        time.shift(timedelta(seconds=40))
        assert problem(await caller.get(f"{DOOR}/me")) == "unauthenticated"


async def test_forged_foreign_and_missing_tokens_are_refused(session: AsyncSession) -> None:
    pair = await pair_of(await a_worker(session, Role.VILLAGE_WORKER))
    claims = tokens.read_access(DOOR, pair["access_token"])
    head, payload, signature = pair["access_token"].split(".")
    unsigned = "eyJhbGciOiJub25lIn0." + payload + "."
    citizens = tokens.issue_access("/citizen/v1", claims.account_id, claims.sign_in_id)
    nobodys = tokens.issue_access(DOOR, new_id(), new_id())
    forged = ".".join((head, payload, signature[::-1]))
    for token in (forged, unsigned, citizens, nobodys, pair["refresh_token"], "x", "\xff"):
        headers = [(b"authorization", b"Bearer " + token.encode("latin-1"))]
        assert problem(await client().get(f"{DOOR}/me", headers=headers)) == "unauthenticated"
    assert problem(await client().get(f"{DOOR}/me")) == "unauthenticated"


async def test_a_worker_who_is_disabled_loses_access_at_once(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    pair, caller = await pair_of(worker), await signed_in(worker, step=1)
    await staff.disable(session, SYSTEM, worker.account.id)
    await session.commit()
    assert problem(await caller.get(f"{DOOR}/me")) == "unauthenticated"
    refresh = await caller.post(f"{DOOR}/refresh", json={"refresh_token": pair["refresh_token"]})
    assert problem(refresh) == "refresh-token-refused"


# Own sign-ins


async def test_a_worker_ends_the_sign_in_of_a_lost_phone(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    phone, desk = await signed_in(worker), await signed_in(worker, step=1)
    listed = (await desk.get(f"{DOOR}/sign-ins")).json()
    lost = next(row for row in listed if not row["current"])
    assert len(listed) == 2
    assert (await desk.delete(f"{DOOR}/sign-ins/{lost['id']}")).status_code == 204
    assert (await phone.get(f"{DOOR}/me")).status_code == 401
    assert (await desk.get(f"{DOOR}/me")).status_code == 200


async def test_signing_out_ends_the_own_sign_in(session: AsyncSession) -> None:
    caller = await staff_client(session, Role.VILLAGE_WORKER)
    assert (await caller.post(f"{DOOR}/sign-out")).status_code == 204
    assert (await caller.get(f"{DOOR}/me")).status_code == 401


async def test_somebody_elses_sign_in_does_not_exist(session: AsyncSession) -> None:
    theirs = await pair_of(await a_worker(session, Role.VILLAGE_WORKER))
    sign_in_id = tokens.read_access(DOOR, theirs["access_token"]).sign_in_id
    caller = await staff_client(session, Role.COUNTY_ADMINISTRATOR)
    assert problem(await caller.delete(f"{DOOR}/sign-ins/{sign_in_id}")) == "not-found"


async def test_changing_the_password_asks_for_the_current_one(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    caller, new = await signed_in(worker), "another long password"
    wrong = {"current_password": "wrong", "new_password": new}
    refusal = await caller.post(f"{DOOR}/me/password", json=wrong)
    assert problem(refusal) == "current-password-wrong"
    assert refusal.json()["errors"][0]["pointer"] == "/current_password"
    right = {"current_password": worker.password, "new_password": new}
    assert (await caller.post(f"{DOOR}/me/password", json=right)).status_code == 204
    old = {**worker.credentials(), "totp": worker.code(1)}
    assert problem(await caller.post(f"{DOOR}/sign-in", json=old)) == "credentials-refused"
    assert (await caller.post(f"{DOOR}/sign-in", json={**old, "password": new})).status_code == 200


async def test_recovery_codes_are_renewed_with_a_code_and_with_nothing_else(session: AsyncSession) -> None:
    worker = await a_worker(session, Role.VILLAGE_WORKER)
    caller = await signed_in(worker)
    spent = await caller.post(f"{DOOR}/recovery-codes", json={"totp": worker.code()})
    assert problem(spent) == "code-wrong"
    assert spent.json()["errors"][0]["pointer"] == "/totp"
    renewed = await caller.post(f"{DOOR}/recovery-codes", json={"totp": worker.code(1)})
    code = renewed.json()["recovery_codes"][0]
    body = {**worker.credentials(), "recovery_code": code}
    assert (await caller.post(f"{DOOR}/sign-in", json=body)).status_code == 200


@pytest.mark.parametrize(
    "bad",
    [{"totp": "12345"}, {"totp": "１２３４５６"}, {"username": ""}, {"password": "a\x00b"}, {"more": 1}],
    ids=str,
)
async def test_a_body_of_another_shape_is_named_and_never_quoted(
    session: AsyncSession, bad: dict[str, object]
) -> None:
    body = {"username": "somebody", "password": "a-secret-password", "totp": "123456", **bad}
    answer = await client().post(f"{DOOR}/sign-in", json=body)
    assert problem(answer) == "invalid"
    assert "a-secret-password" not in answer.text


async def test_a_refused_permission_is_on_record_although_the_request_is_rolled_back(committed: str) -> None:
    async with db.begin() as session:
        worker = await a_worker(session, Role.VILLAGE_WORKER)
    caller = await signed_in(worker)
    assert problem(await caller.get(f"{DOOR}/accounts")) == "forbidden"
    denied = AuditEvent.actor_id == worker.account.id, AuditEvent.action == "denied"
    async with db.begin() as session:
        assert await session.scalar(select(AuditEvent.entity).where(*denied)) == "staff_manage"


async def test_failures_are_counted_although_every_one_is_refused(committed: str) -> None:
    async with db.begin() as session:
        worker = await a_worker(session, Role.VILLAGE_WORKER)
    bad = {**worker.credentials(), "password": "wrong"}
    answers = [(await client().post(f"{DOOR}/sign-in", json=bad)).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
