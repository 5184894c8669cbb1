"""Registering a household, and its verification by the village worker."""

import uuid

import pytest
from sqlalchemy import func, select, update

from app.journey import couple
from app.models.households import Category, Couple, Household, Membership, Person
from app.models.identity import Role
from tests.clients import client, staff_client
from tests.residents import (
    NEXT_COUNTY_TOWN,
    TOWN,
    agree,
    bind,
    bound,
    form,
    key,
    member,
    resident,
    verified,
)

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
    steps = (await caller.get("/citizen/v1/handbook")).json()["items"]
    assert [step["kind"] for step in steps] == ["category_held", "drafted", "submitted", "verified"]
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


async def test_who_was_verified_under_another_name_is_refused_at_the_place_in_the_form(session, worker):
    wife, husband = couple()
    await verified(wife, husband, worker)
    await session.execute(update(Membership).values(valid_to=Membership.valid_from))
    await session.execute(update(Couple).values(valid_to=func.current_date()))
    await session.commit()
    second_wife, _ = couple()
    renamed = [member(second_wife, "spouse"), member(husband, "head", name="李建图")]
    _, row = await submitted(second_wife, husband, members=renamed)
    answer = await worker.post(f"/staff/v1/households/{row['id']}/verify", json={"version": row["version"]})
    assert answer.json()["errors"][0]["pointer"] == "/members/1/name"


@pytest.mark.parametrize("claimed", [{"phone": "13700000000"}, {"name": "李建图"}])
async def test_papers_win_over_an_account_that_claimed_somebody_else(session, worker, claimed):
    wife, husband = couple()
    squatter = await resident()
    assert (await bind(squatter, husband, **claimed)).status_code == 201
    await agree(squatter)
    await verified(wife, husband, worker)
    assert (await squatter.get("/citizen/v1/me")).json()["type"] == "urn:nuanxin:problem:not-bound"
    assert (await squatter.get("/citizen/v1/sign-ins")).json() == []
    rightful = await bound(husband)
    assert (await rightful.get("/citizen/v1/me")).json()["name"] == "李*国"
    given = (await rightful.get("/citizen/v1/consents")).json()
    assert given
    assert all(one["withdrawn_at"] for one in given), "the squatter's yes is not his"
    log = (await rightful.get("/citizen/v1/me/access-log")).json()["items"]
    assert "release_binding" in {item["action"] for item in log}


async def test_a_slip_of_the_registrant_heals_and_the_own_binding_and_phone_stay(session, worker):
    wife, husband = couple()
    caller = await resident(wife.openid)
    await bind(caller, wife, name="王小方")
    members = [member(wife, "spouse", phone="13700000000"), member(husband, "head")]
    draft = (await caller.post("/citizen/v1/households", json=form(wife, husband, members=members))).json()
    path = f"/households/{draft['id']}"
    sent = (await caller.post(f"/citizen/v1{path}/submit", json={"version": draft["version"]})).json()
    answer = await worker.post(f"/staff/v1{path}/verify", json={"version": sent["version"]})
    assert answer.status_code == 200, answer.text
    me = (await caller.get("/citizen/v1/me")).json()
    assert (me["name"], me["phone"][-4:]) == ("王*芳", wife.phone[-4:])


async def test_grown_heads_and_spouses_give_a_phone_others_may():
    wife, husband = couple()
    elder = couple()[1]
    members = [
        member(wife, "spouse"),
        member(husband, "head", phone=None),
        member(elder, "parent", phone=None),
    ]
    answer = await (await bound(wife)).post(
        "/citizen/v1/households", json=form(wife, husband, members=members)
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/members/1/phone"]


async def test_a_submitted_form_can_be_taken_back_until_it_is_decided(worker):
    wife, husband = couple()
    caller, row = await submitted(wife, husband)
    path = f"/citizen/v1/households/{row['id']}"
    back = (await caller.post(f"{path}/withdraw", json={"version": row["version"]})).json()
    assert (back["status"], back["submitted_at"]) == ("draft", None)
    seen = await worker.get(f"/staff/v1/households/{row['id']}", headers=PURPOSE)
    assert seen.status_code == 404
    again = await caller.post(f"{path}/withdraw", json={"version": back["version"]})
    assert again.json()["type"] == "urn:nuanxin:problem:wrong-state"
    sent = await caller.post(f"{path}/submit", json={"version": back["version"]})
    assert sent.json()["status"] == "submitted"


@pytest.mark.parametrize(
    "pointer", ["/members/2/name", "/members/01/name", "/members/-", "members", "/", "/adress", "/address/0"]
)
async def test_a_mark_points_to_a_place_in_the_form(worker, pointer):
    _, row = await submitted(*couple())
    marks = [{"pointer": "/address", "note": "请补充"}, {"pointer": pointer, "note": "?"}]
    answer = await worker.post(
        f"/staff/v1/households/{row['id']}/return", json={"version": row["version"], "marks": marks}
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/marks/1/pointer"]


async def test_the_free_text_of_family_and_worker_is_for_those_who_verify(session, worker):
    wife, husband = couple()
    categories = [
        {"code": "surgery_complication", "member": 0, "grade": 3, "evidence": "鉴定书", "since": "2021-01-01"}
    ]
    caller, row = await submitted(wife, husband, categories=categories)
    path = f"/staff/v1/households/{row['id']}"
    assert "鉴定书" not in (await worker.get(path, headers=PURPOSE)).text
    assert "鉴定书" in (await worker.post(f"{path}/unmask", headers=PURPOSE)).text
    marks = [{"pointer": "/members/1/name", "note": "身份证上是李建图"}]
    await worker.post(f"{path}/return", json={"version": row["version"], "marks": marks})
    supervisor = await staff_client(session, Role.SUPERVISOR, TOWN)
    seen = (await supervisor.get(path, headers=PURPOSE)).json()
    assert seen["marks"] == [{"pointer": "/members/1/name", "note": ""}]
    steps = (await supervisor.get(f"{path}/handbook", headers=PURPOSE)).json()["items"]
    assert steps[-1]["note"] == "/members/1/name"
    for reader in (caller.get(f"/citizen/v1/households/{row['id']}"), worker.get(path, headers=PURPOSE)):
        assert (await reader).json()["marks"] == marks


async def test_a_verified_category_keeps_its_grade_and_its_evidence_sealed(session, worker):
    wife, husband = couple()
    claimed = {
        "code": "surgery_complication",
        "member": 0,
        "grade": 3,
        "evidence": "鉴定书",
        "since": "2021-01-01",
    }
    caller = await verified(wife, husband, worker, categories=[claimed])
    mine = (await caller.get("/citizen/v1/households")).json()[0]
    detail = (await caller.get(f"/citizen/v1/households/{mine['id']}")).json()
    assert [(c["code"], c["grade"]) for c in detail["categories"]] == [("surgery_complication", 3)]
    row = await session.get_one(Category, uuid.UUID(detail["categories"][0]["id"]))
    assert row.evidence == "鉴定书"
    assert "鉴定书".encode() not in row.evidence_sealed


async def test_everybody_may_know_which_categories_there_are():
    listed = (await client().get("/public/v1/categories")).json()
    assert {
        "code": "minimum_income",
        "zh": "低保",
        "en": "Minimum-income support",
        "holder": "household",
    } in (listed)


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


async def test_before_verification_a_look_is_in_the_file_of_everybody_known(worker):
    wife, husband = couple()
    husband_caller = await bound(husband)
    _, row = await submitted(wife, husband)
    await worker.get(f"/staff/v1/households/{row['id']}", headers=PURPOSE)
    log = (await husband_caller.get("/citizen/v1/me/access-log")).json()["items"]
    look = next(item for item in log if item["action"] == "read")
    assert (look["role_zh"], look["role_en"]) == ("村（居）委会工作人员", "Village worker")
    assert (look["actor_name"], look["own"]) == ("凤凰北街街道", False)


async def test_ones_own_looks_are_told_from_those_of_the_spouse(worker):
    wife, husband = couple()
    husband_caller = await bound(husband)
    caller = await verified(wife, husband, worker)
    mine = (await caller.get("/citizen/v1/households")).json()[0]
    await caller.get(f"/citizen/v1/households/{mine['id']}")
    for reader, own in ((caller, True), (husband_caller, False)):
        newest = (await reader.get("/citizen/v1/me/access-log")).json()["items"][0]
        assert (newest["action"], newest["role_zh"], newest["own"]) == ("read", "居民", own)


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


async def test_the_papers_win_over_the_sex_and_birth_date_that_an_account_claimed(session, worker):
    """A passport number carries neither, so both are what somebody said."""
    wife, husband = couple()
    passport = {"document_kind": "passport", "document_number": f"E{wife.phone[-8:]}"}
    claimed = await bind(await resident(wife.openid), wife, **passport, sex="male", birth_date="1980-01-01")
    assert claimed.status_code == 201, claimed.text
    stated = {**passport, "sex": "female", "birth_date": "1995-05-05"}
    _, row = await submitted_by(husband, members=[member(wife, "spouse", **stated), member(husband, "head")])
    answer = await worker.post(f"/staff/v1/households/{row['id']}/verify", json={"version": row["version"]})
    assert answer.status_code == 200, answer.text
    person = await session.scalar(select(Person).where(Person.id == uuid.UUID(claimed.json()["id"])))
    assert (person.sex, person.birth_date.isoformat()) == ("female", "1995-05-05")


async def submitted_by(person, **changes):
    caller = await bound(person)
    draft = (await caller.post("/citizen/v1/households", json=form(person, person, **changes))).json()
    answer = await caller.post(
        f"/citizen/v1/households/{draft['id']}/submit", json={"version": draft["version"]}
    )
    assert answer.status_code == 200, answer.text
    return caller, answer.json()
