"""Registering a household, and its verification by the village worker."""

import uuid

import pytest
from sqlalchemy import func, select

from app.journey import couple
from app.models.households import Couple, Household, Membership, Person
from app.models.identity import Role
from tests.clients import staff_client
from tests.residents import NEXT_COUNTY_TOWN, TOWN, bound, form, key, member, resident, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")
PURPOSE = {"Purpose": "verification"}


@pytest.fixture
async def worker(session):
    return await staff_client(session, Role.VILLAGE_WORKER, TOWN)


async def submitted(wife, husband, **changes):
    caller = await bound(wife)
    draft = (await caller.post("/citizen/v1/households", json=form(wife, husband, **changes))).json()
    answer = await caller.post(
        f"/citizen/v1/households/{draft['id']}/submit", json={"version": draft["version"]}
    )
    assert answer.status_code == 200, answer.text
    return caller, answer.json()


async def test_verification_makes_people_memberships_and_the_couple(session, worker):
    wife, husband = couple()
    child = couple()[0]
    members = [member(wife, "spouse"), member(husband, "head"), member(child, "child")]
    categories = [{"code": "two_daughters", "evidence": "光荣证", "since": "2021-01-01"}]
    caller = await verified(wife, husband, worker, members=members, categories=categories)
    mine = (await caller.get("/citizen/v1/households")).json()
    detail = (await caller.get(f"/citizen/v1/households/{mine[0]['id']}")).json()
    assert [m["relation"] for m in detail["members"]] == ["head", "spouse", "child"]
    assert detail["couple"]["plans_pregnancy"] is True
    assert [c["code"] for c in detail["categories"]] == ["two_daughters"]
    assert [e["kind"] for e in detail["handbook"]] == ["drafted", "submitted", "verified"]
    assert detail["form"] is None
    row = await session.get(Household, uuid.UUID(mine[0]["id"]))
    assert row.form_sealed is None
    assert row.address == "凤凰北街 8 号"


async def test_a_person_bound_before_is_found_again_not_doubled(session, worker):
    wife, husband = couple()
    husband_caller = await bound(husband)
    await verified(wife, husband, worker)
    assert (
        await session.scalar(select(func.count()).select_from(Person).where(Person.name == husband.name)) == 1
    )
    assert len((await husband_caller.get("/citizen/v1/households")).json()) == 1


async def test_every_wrong_place_is_named_at_once():
    wife, husband = couple()
    caller = await bound(wife)
    members = [
        member(wife, "spouse", resident_since="2099-01-01"),
        member(husband, "spouse", document_number="123"),
    ]
    answer = await caller.post("/citizen/v1/households", json=form(wife, husband, members=members))
    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert {"/members", "/members/0/resident_since", "/members/1/document_number"} <= pointers


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"region_code": "999999999999"}, "/region_code"),
        ({"region_code": "640104000000"}, "/region_code"),
        (
            {"marriage": {"wife": 1, "husband": 0, "since": "2020-01-01", "plans_pregnancy": True}},
            "/marriage",
        ),
        ({"categories": [{"code": "nobility", "evidence": "x", "since": "2020-01-01"}]}, "/categories/0"),
        (
            {"categories": [{"code": "migrant", "member": 0, "evidence": "x", "since": "2020-01-01"}]},
            "/categories/0",
        ),
    ],
)
async def test_what_cannot_be_true_is_refused_at_its_place(change, pointer):
    wife, husband = couple()
    answer = await (await bound(wife)).post("/citizen/v1/households", json=form(wife, husband, **change))
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}


async def test_one_registers_a_household_that_one_belongs_to():
    wife, _ = couple()
    other_wife, other_husband = couple()
    answer = await (await bound(wife)).post("/citizen/v1/households", json=form(other_wife, other_husband))
    assert answer.json()["errors"][0]["pointer"] == "/members"


async def test_a_double_tap_makes_one_draft():
    wife, husband = couple()
    caller, once = await bound(wife), key()
    body = form(wife, husband)
    first = await caller.post("/citizen/v1/households", json=body, headers=once)
    second = await caller.post("/citizen/v1/households", json=body, headers=once)
    assert (first.status_code, first.json()) == (201, second.json())
    assert first.json()["id"] == once["Idempotency-Key"]
    other = await caller.post("/citizen/v1/households", json={**body, "address": "别处"}, headers=once)
    assert other.json()["type"] == "urn:nuanxin:problem:idempotency-key-reused"


async def test_one_registration_is_under_way_at_a_time():
    wife, husband = couple()
    caller, _ = await submitted(wife, husband)
    answer = await caller.post("/citizen/v1/households", json=form(wife, husband))
    assert answer.json()["type"] == "urn:nuanxin:problem:household-pending"


async def test_returned_with_marks_corrected_and_verified(worker):
    wife, husband = couple()
    caller, row = await submitted(wife, husband)
    path = f"/households/{row['id']}"
    marks = [{"pointer": "/members/1/name", "note": "与身份证不一致"}]
    returned = await worker.post(f"/staff/v1{path}/return", json={"version": row["version"], "marks": marks})
    assert returned.json()["status"] == "returned"
    mine = (await caller.get("/citizen/v1/households")).json()[0]
    assert mine["marks"] == marks
    uncorrected = await caller.post(f"/citizen/v1{path}/submit", json={"version": mine["version"]})
    assert uncorrected.json()["type"] == "urn:nuanxin:problem:wrong-state"
    body = {"version": mine["version"], "form": form(wife, husband)}
    revised = (await caller.put(f"/citizen/v1{path}", json=body)).json()
    again = (await caller.post(f"/citizen/v1{path}/submit", json={"version": revised["version"]})).json()
    answer = await worker.post(f"/staff/v1{path}/verify", json={"version": again["version"]})
    assert answer.json()["status"] == "active"


async def test_two_workers_cannot_decide_on_what_they_did_not_see(worker):
    wife, husband = couple()
    _, row = await submitted(wife, husband)
    path = f"/staff/v1/households/{row['id']}"
    assert (await worker.post(f"{path}/verify", json={"version": row["version"]})).status_code == 200
    late = await worker.post(
        f"{path}/return", json={"version": row["version"], "marks": [{"pointer": "/address", "note": "?"}]}
    )
    assert (late.status_code, late.json()["type"]) == (409, "urn:nuanxin:problem:stale-version")


async def test_a_worker_sees_the_own_region_masked_and_no_drafts(session, worker):
    wife, husband = couple()
    _, row = await submitted(wife, husband)
    listed = (await worker.get("/staff/v1/households")).json()["items"]
    assert row["id"] in {item["id"] for item in listed}
    assert wife.name not in str(listed)
    detail = await worker.get(f"/staff/v1/households/{row['id']}", headers=PURPOSE)
    assert wife.number not in detail.text
    unmasked = await worker.post(f"/staff/v1/households/{row['id']}/unmask", headers=PURPOSE)
    assert wife.number in unmasked.text
    elsewhere = await staff_client(session, Role.VILLAGE_WORKER, NEXT_COUNTY_TOWN)
    assert (await elsewhere.get(f"/staff/v1/households/{row['id']}", headers=PURPOSE)).status_code == 404
    wife2, husband2 = couple()
    draft = (await (await bound(wife2)).post("/citizen/v1/households", json=form(wife2, husband2))).json()
    assert (await worker.get(f"/staff/v1/households/{draft['id']}", headers=PURPOSE)).status_code == 404


async def test_opening_a_file_needs_a_purpose(worker):
    wife, husband = couple()
    _, row = await submitted(wife, husband)
    answer = await worker.get(f"/staff/v1/households/{row['id']}")
    assert answer.json()["errors"][0]["pointer"] == "#header/Purpose"


async def test_another_family_does_not_exist_for_a_resident():
    wife, husband = couple()
    _, row = await submitted(wife, husband)
    stranger = await resident()
    assert (await stranger.get(f"/citizen/v1/households/{row['id']}")).status_code == 404


async def test_who_belongs_to_a_household_is_refused_at_the_place_in_the_form(session, worker):
    wife, husband = couple()
    await verified(wife, husband, worker)
    second_wife, _ = couple()
    _, row = await submitted(second_wife, husband)
    answer = await worker.post(f"/staff/v1/households/{row['id']}/verify", json={"version": row["version"]})
    assert answer.json()["type"] == "urn:nuanxin:problem:already-in-household"
    assert answer.json()["errors"][0]["pointer"] == "/members/1"
    assert await session.scalar(select(func.count()).select_from(Couple)) == 1
    assert await session.scalar(select(func.count()).select_from(Membership)) == 2


async def test_a_document_known_under_another_name_is_refused_at_its_place(worker):
    wife, husband = couple()
    await bound(husband)
    renamed = [member(wife, "spouse"), member(husband, "head", name="李建图")]
    _, row = await submitted(wife, husband, members=renamed)
    answer = await worker.post(f"/staff/v1/households/{row['id']}/verify", json={"version": row["version"]})
    assert answer.json()["errors"][0]["pointer"] == "/members/1/name"


async def test_the_family_sees_who_looked_and_why(worker):
    wife, husband = couple()
    caller, row = await submitted(wife, husband)
    await worker.get(f"/staff/v1/households/{row['id']}", headers=PURPOSE)
    await worker.post(f"/staff/v1/households/{row['id']}/unmask", headers={"Purpose": "complaint"})
    log = (await caller.get("/citizen/v1/me/access-log")).json()["items"]
    looks = [
        (item["actor_role"], item["action"], item["purpose"]) for item in log if "read" in item["action"]
    ]
    assert looks == [
        ("village_worker", "read_unmasked", "complaint"),
        ("village_worker", "read", "verification"),
    ]


async def test_lists_are_paged_without_gaps_or_repeats(worker):
    made = set()
    for _ in range(5):
        made.add((await submitted(*couple()))[1]["id"])
    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await worker.get("/staff/v1/households", params=params)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert made <= set(seen)
