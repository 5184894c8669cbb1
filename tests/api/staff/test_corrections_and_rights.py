"""Corrections and rights at their doors: who may call what, what a list shows, what a refusal says."""

import json

import pytest

from app.journey import couple
from app.models.identity import Role
from tests.clients import staff_client
from tests.factories import appointments as made
from tests.guards.cast import CITIZEN, STAFF, caller, worker
from tests.residents import TOWN, bound, form, key, verified

pytestmark = pytest.mark.usefixtures("connection")
LOOK, RIGHTS = {"Purpose": "verification"}, {"Purpose": "rights_request"}


@pytest.fixture
async def family(session):
    return await made.couple(session)


async def at_desk(session, role, region=TOWN):
    actor = await worker(session, role, region)
    return await caller(session, STAFF, actor)


async def at_home(session, actor):
    return await caller(session, CITIZEN, actor)


def about(person, field, value):
    return {"subject_id": str(person.id), "change": {"field": field, "value": value}, "evidence": "身份证"}


async def test_a_correction_from_phone_to_desk(session, family):
    resident = await at_home(session, family.wife_actor)
    officer = await at_desk(session, Role.TOWNSHIP_OFFICER)
    sent = about(family.wife, "document", {"kind": "passport", "number": "E12345678"})
    headers = key()
    answers = [await resident.post(f"{CITIZEN}/corrections", json=sent, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    asked = answers[0].json()
    assert (asked["id"], asked["new"]) == (headers["Idempotency-Key"], "E*******8")

    again = await resident.post(f"{CITIZEN}/corrections", json=sent, headers=key())
    assert (again.status_code, again.json()["type"]) == (409, "urn:nuanxin:problem:correction-pending")

    [waiting] = (await officer.get(f"{STAFF}/corrections")).json()["items"]
    assert "E12345678" not in json.dumps(waiting)
    path = f"{STAFF}/corrections/{asked['id']}"
    assert (await officer.post(f"{path}/unmask")).status_code == 422, "a purpose is needed"
    shown = (await officer.post(f"{path}/unmask", headers=LOOK)).json()
    assert (shown["new"]["number"], shown["evidence"]) == ("E12345678", "身份证")

    done = await officer.post(f"{path}/approve", json={"version": 1})
    assert (done.status_code, done.json()["status"], done.json()["version"]) == (200, "approved", 2)
    late = await officer.post(f"{path}/approve", json={"version": 2})
    assert (late.status_code, late.json()["status_now"]) == (409, "approved")
    [mine] = (await resident.get(f"{CITIZEN}/corrections")).json()["items"]
    assert mine["status"] == "approved"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"field": "phone", "value": "12"}, "/change/value"),
        ({"field": "plans_pregnancy", "value": True}, "/change/field"),
        ({"field": "sex", "value": "other"}, "/change/value"),
        ({"field": "document", "value": {"kind": "resident_id", "number": "1"}}, "/change/value/number"),
        ({"field": "name", "value": "x", "more": 1}, "/change/more"),
    ],
)
async def test_what_is_no_change_is_refused_at_its_place(session, family, change, pointer):
    resident = await at_home(session, family.wife_actor)
    body = about(family.wife, "name", "x") | {"change": change}
    answer = await resident.post(f"{CITIZEN}/corrections", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_long_list_is_read_page_by_page(session, family):
    village = await at_desk(session, Role.VILLAGE_WORKER)
    for field, value in (("name", "李秀瑛"), ("hukou_type", "urban"), ("resident_since", "2021-01-01")):
        answer = await village.post(f"{STAFF}/corrections", json=about(family.wife, field, value))
        assert answer.status_code == 201, answer.text
    seen, cursor = [], ""
    while cursor is not None:
        page = (await village.get(f"{STAFF}/corrections?limit=2{cursor}")).json()
        seen += [item["field"] for item in page["items"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert seen == ["name", "hukou_type", "resident_since"]


async def test_a_village_worker_decides_about_a_phone_only(session, family):
    village = await at_desk(session, Role.VILLAGE_WORKER)
    resident = await at_home(session, family.wife_actor)
    asked = await resident.post(f"{CITIZEN}/corrections", json=about(family.wife, "name", "李秀瑛"))
    answer = await village.post(f"{STAFF}/corrections/{asked.json()['id']}/approve", json={"version": 1})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:nuanxin:problem:decided-by-office")
    supervisor = await at_desk(session, Role.SUPERVISOR)
    assert (await supervisor.get(f"{STAFF}/corrections")).status_code == 403


async def test_a_stale_address_is_shown_beside_the_one_of_now(session, wechat):
    wife, husband = couple()
    village = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    resident = await verified(wife, husband, village)
    [home] = (await resident.get(f"{CITIZEN}/households")).json()
    path, body = f"{STAFF}/households/{home['id']}", {"version": 1, "address": "解放西街 9 号 402"}
    answer = await village.patch(path, json=body, headers=LOOK)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "urn:nuanxin:problem:stale-version")
    assert (problem["yours"], problem["current"]["address"]) == ({"address": "解放西街 9 号 402"}, "***")
    assert problem["current_version"] == home["version"]
    same = {"version": home["version"], "address": "凤凰北街 8 号"}
    assert (await village.patch(path, json=same, headers=LOOK)).status_code == 422
    assert (await village.patch(path, json=same)).status_code == 422, "a purpose is needed"


async def test_a_stale_form_is_shown_beside_the_masked_one_of_now(session, wechat):
    wife, husband = couple()
    resident = await bound(wife)
    draft = (await resident.post(f"{CITIZEN}/households", json=form(wife, husband))).json()
    path = f"{CITIZEN}/households/{draft['id']}"
    other = form(wife, husband, address="解放西街 9 号 402")
    for status in (200, 409):
        answer = await resident.put(path, json={"version": 1, "form": other | {"family_type": "stable"}})
        assert answer.status_code == status
    problem = answer.json()
    assert problem["yours"]["form"]["address"] == "解放西街 9 号 402"
    assert problem["current"]["form"]["address"] == "***"
    assert wife.number not in json.dumps(problem["current"])
    assert (problem["differs"], problem["changed_by_role"]) == ([], "resident")


async def test_the_copy_is_a_download_and_only_for_the_right(session, family):
    resident = await at_home(session, family.wife_actor)
    answer = await resident.get(f"{CITIZEN}/me/file")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    tables = [section["table"] for section in answer.json()["sections"]]
    assert {"person", "consent", "audit_event"} <= set(tables)

    village = await at_desk(session, Role.VILLAGE_WORKER)
    path = f"{STAFF}/persons/{family.wife.id}/file"
    assert (await village.post(path, headers=LOOK)).status_code == 422, "for no other purpose"
    assert (await village.post(path, headers=RIGHTS)).json()["person_id"] == str(family.wife.id)
    log = (await resident.get(f"{CITIZEN}/me/access-log")).json()["items"]
    assert ("export", "rights_request") in {(event["action"], event["purpose"]) for event in log}


async def test_an_erasure_from_phone_to_desk(session, family):
    resident = await at_home(session, family.wife_actor)
    county = await at_desk(session, Role.COUNTY_ADMINISTRATOR, made.COUNTY)
    village = await at_desk(session, Role.VILLAGE_WORKER)
    asked = (await resident.post(f"{CITIZEN}/me/erasures", json={"why": "不再使用"})).json()
    again = await resident.post(f"{CITIZEN}/me/erasures", json={})
    assert (again.status_code, again.json()["type"]) == (409, "urn:nuanxin:problem:erasure-pending")
    assert (await village.get(f"{STAFF}/erasures")).status_code == 403
    [waiting] = (await county.get(f"{STAFF}/erasures")).json()["items"]
    path = f"{STAFF}/erasures/{asked['id']}"
    detail = (await county.get(path, headers=RIGHTS)).json()
    assert (waiting["name"], detail["why"]) == ("李*英", "不再使用")
    assert [hold["code"] for hold in detail["holds_now"]] == ["active_membership"]
    body = {"version": 1, "grant": True, "reason": "已核实"}
    held = (await county.post(f"{path}/decide", json=body)).json()
    assert (held["status"], held["holds"][0]["source"] != "") == ("held", True)
    seen = await village.post(f"{STAFF}/persons/{family.wife.id}/file", headers=RIGHTS)
    assert seen.status_code == 404, "stored only"
    [mine] = (await resident.get(f"{CITIZEN}/me/erasures")).json()
    back = await resident.post(
        f"{CITIZEN}/me/erasures/{mine['id']}/withdraw", json={"version": mine["version"]}
    )
    assert back.json()["status"] == "withdrawn"


async def test_the_history_of_consents_says_which_version(session, family):
    resident = await at_home(session, family.wife_actor)
    history = (await resident.get(f"{CITIZEN}/consents/history")).json()
    assert {step["purpose"] for step in history} == {"health_data", "share_with_hospital"}
    assert {step["notice_version"] for step in history} == {1}
