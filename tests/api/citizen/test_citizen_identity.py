"""Residents sign in with WeChat and bind their identity."""

import pytest
import time_machine
from sqlalchemy import func, select

from app import clock
from app.journey import couple
from app.models.audit import AuditEvent
from app.models.identity import Role
from tests.clients import staff_client
from tests.residents import NEXT_COUNTY_TOWN, TOWN, bind, bound, control, member, resident, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")


async def test_a_login_code_is_good_once(session):
    code = (await control("login-code", {"openid": "o-once"}))["code"]
    caller = await resident()
    assert (await caller.post("/citizen/v1/sign-in", json={"code": code})).status_code == 200
    again = await caller.post("/citizen/v1/sign-in", json={"code": code})
    assert again.status_code == 401
    assert again.json()["type"] == "urn:nuanxin:problem:login-code-refused"


async def test_the_same_phone_is_the_same_account():
    wife, _ = couple()
    first = await bound(wife)
    second = await resident(wife.openid)
    assert (await second.get("/citizen/v1/me")).json() == (await first.get("/citizen/v1/me")).json()


async def test_who_is_not_bound_yet_is_told_to_bind():
    answer = await (await resident()).get("/citizen/v1/me")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:nuanxin:problem:not-bound")


async def test_one_sees_oneself_masked():
    wife, _ = couple()
    me = (await (await bound(wife)).get("/citizen/v1/me")).json()
    assert me["name"] == "王*芳"
    assert me["sex"] == "female"
    assert wife.number[1:-1] not in str(me)
    assert wife.phone not in str(me)


async def test_a_document_bound_to_another_account_is_refused_without_saying_whose():
    wife, husband = couple()
    await bound(wife)
    thief = await resident(husband.openid)
    answer = await bind(thief, wife)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:nuanxin:problem:binding-refused")
    assert wife.name not in answer.text


@pytest.mark.parametrize("changes", [{"name": "王小方"}, {"phone": "13900000000"}])
async def test_another_name_or_phone_than_on_file_gets_the_same_refusal(session, changes):
    wife, husband = couple()
    await bound(wife)
    await _unbind(session)
    answer = await bind(await resident(husband.openid), wife, **changes)
    assert answer.json()["type"] == "urn:nuanxin:problem:binding-refused"
    assert (await bind(await resident(husband.openid), wife)).status_code == 201


async def _unbind(session):
    from sqlalchemy import update

    from app.models.identity import ResidentAccount

    await session.execute(update(ResidentAccount).values(person_id=None))
    await session.commit()


async def test_an_account_is_bound_once():
    wife, husband = couple()
    answer = await bind(await bound(wife), husband)
    assert answer.json()["type"] == "urn:nuanxin:problem:account-already-bound"


async def test_a_wrong_check_digit_is_shown_at_its_place_and_nothing_is_written():
    wife, _ = couple()
    wrong = wife.number[:-1] + ("1" if wife.number[-1] != "1" else "2")
    caller = await resident(wife.openid)
    answer = await bind(caller, wife, document_number=wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/document_number"
    assert (await caller.get("/citizen/v1/me")).status_code == 409


async def test_an_erased_account_binds_nobody_with_the_token_that_it_still_has():
    """Nobody could ever sign in to it again."""
    wife, _ = couple()
    caller = await resident(wife.openid)
    assert (await caller.post("/citizen/v1/me/account/erase")).status_code == 204
    assert (await bind(caller, wife)).status_code == 401
    await bound(wife)


async def test_refresh_tokens_rotate_and_a_copied_one_ends_the_sign_in():
    code = (await control("login-code", {"openid": "o-rotates"}))["code"]
    caller = await resident()
    first = (await caller.post("/citizen/v1/sign-in", json={"code": code})).json()
    second = (await caller.post("/citizen/v1/refresh", json={"refresh_token": first["refresh_token"]})).json()
    copied = await caller.post("/citizen/v1/refresh", json={"refresh_token": first["refresh_token"]})
    assert copied.status_code == 401
    ended = await caller.post("/citizen/v1/refresh", json={"refresh_token": second["refresh_token"]})
    assert ended.json()["type"] == "urn:nuanxin:problem:refresh-token-refused"


async def test_an_access_token_lives_fifteen_minutes():
    with time_machine.travel("2026-11-21T08:00:00Z", tick=False) as traveller:
        caller = await bound(couple()[0])
        traveller.shift(14 * 60 + 59)
        assert (await caller.get("/citizen/v1/me")).status_code == 200
        traveller.shift(2)
        assert (await caller.get("/citizen/v1/me")).status_code == 401


async def test_one_lists_and_ends_ones_own_sign_ins_only():
    wife, husband = couple()
    caller, other = await bound(wife), await bound(husband)
    mine = (await caller.get("/citizen/v1/sign-ins")).json()
    theirs = (await other.get("/citizen/v1/sign-ins")).json()
    assert len(mine) == 1
    assert (await caller.delete(f"/citizen/v1/sign-ins/{theirs[0]['id']}")).status_code == 404
    assert (await caller.delete(f"/citizen/v1/sign-ins/{mine[0]['id']}")).status_code == 204
    assert (await caller.get("/citizen/v1/sign-ins")).json() == []


async def test_nobody_is_bound_to_a_known_person_without_a_phone_on_file(session):
    worker = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    wife, husband = couple()
    mother = couple()[0]
    members = [member(wife, "spouse"), member(husband, "head"), member(mother, "parent", phone=None)]
    await verified(wife, husband, worker, members=members)
    neighbour = await resident()
    answer = await bind(neighbour, mother)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:nuanxin:problem:binding-refused")


async def test_a_worker_who_saw_the_document_sets_the_phone_and_frees_the_person(session):
    worker = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    wife, husband = couple()
    caller = await verified(wife, husband, worker)
    me = (await caller.get("/citizen/v1/me")).json()
    path, new = f"/staff/v1/persons/{me['id']}/release-binding", {"phone": "13700000001"}
    purpose = {"Purpose": "complaint"}
    elsewhere = await staff_client(session, Role.VILLAGE_WORKER, NEXT_COUNTY_TOWN)
    assert (await elsewhere.post(path, json=new, headers=purpose)).status_code == 404
    assert (await worker.post(path, json=new)).status_code == 422, "without a purpose"
    assert (await worker.post(path, json=new, headers=purpose)).status_code == 204
    assert (await caller.get("/citizen/v1/me")).json()["type"] == "urn:nuanxin:problem:not-bound"
    assert (await caller.get("/citizen/v1/sign-ins")).json() == []
    replacement = await resident()
    assert (await bind(replacement, wife)).status_code == 409, "the old phone"
    assert (await bind(replacement, wife, **new)).status_code == 201
    log = (await replacement.get("/citizen/v1/me/access-log")).json()["items"]
    assert [item["action"] for item in log[:4]] == ["bind", "bind_refused", "release_binding", "set_phone"]
    assert {item["purpose"] for item in log[2:4]} == {"complaint"}


async def test_an_account_may_be_refused_five_times_a_day(session):
    wife, husband = couple()
    await bound(wife)
    with time_machine.travel(clock.now(), tick=False) as traveller:
        thief = await resident(husband.openid)
        refused = [await bind(thief, wife) for _ in range(6)]
        assert [answer.status_code for answer in refused] == [409] * 5 + [429]
        recorded = select(func.count()).where(AuditEvent.action == "bind_refused")
        assert await session.scalar(recorded) == 5
        assert (await bind(thief, husband)).status_code == 429, "not even who it says to be"
        traveller.shift(24 * 60 * 60 + 1)
        later = await resident(husband.openid)
        assert (await bind(later, husband)).status_code == 201
