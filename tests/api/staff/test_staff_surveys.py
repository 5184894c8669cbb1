"""The needs survey through both doors, and the family type that a worker decides."""

import uuid

import pytest

from app.journey import couple
from app.models.identity import Role
from tests.clients import staff_client
from tests.factories import appointments as given
from tests.guards.cast import CITIZEN, STAFF, caller, worker
from tests.residents import TOWN, bound, key, verified

pytestmark = pytest.mark.usefixtures("connection", "wechat")
PURPOSE = {"Purpose": "registry_upkeep"}
ANSWERS = [
    {"question": "works", "choices": ["health"]},
    {"question": "health_needs", "choices": ["counselling", "free_clinic"]},
    {"question": "contact", "choices": ["visit"]},
    {"question": "other", "text": "想学做饭"},
]


@pytest.fixture
async def spouses(session):
    return await given.couple(session)


@pytest.fixture
async def village(session, spouses):
    return await caller(session, STAFF, await worker(session, Role.VILLAGE_WORKER, TOWN))


async def test_a_family_answers_and_the_worker_sees_it_corrects_it_and_counts_it(session, spouses, village):
    family = await caller(session, CITIZEN, spouses.wife_actor)
    (asked,) = (await family.get("/citizen/v1/surveys")).json()
    assert asked["response"] is None
    due = (await village.get("/staff/v1/surveys/family_needs/due")).json()
    assert [one["id"] for one in due["items"]] == [str(spouses.household.id)]

    body, once = {"template_id": asked["template"]["id"], "answers": ANSWERS}, key()
    made = await family.post("/citizen/v1/survey-responses", json=body, headers=once)
    assert made.status_code == 201, made.text
    again = await family.post("/citizen/v1/survey-responses", json=body, headers=once)
    assert (again.status_code, again.json()) == (201, made.json())
    twice = await family.post("/citizen/v1/survey-responses", json=body, headers=key())
    assert (twice.status_code, twice.json()["type"].rsplit(":", 1)[1]) == (409, "survey-answered")
    assert (await village.get("/staff/v1/surveys/family_needs/due")).json()["items"] == []

    path = f"/staff/v1/households/{spouses.household.id}/surveys"
    assert (await village.get(path)).status_code == 422  # not without a purpose
    (seen,) = (await village.get(path, headers=PURPOSE)).json()
    texts = [one["text"] for one in seen["response"]["answers"] if one["text"]]
    assert texts == ["想学做饭"]
    change = {**body, "version": 1, "answers": [{"question": "works", "choices": ["none"]}, ANSWERS[2]]}
    path = f"/staff/v1/survey-responses/{made.json()['id']}"
    assert (await village.put(path, json=change)).json()["version"] == 2
    stale = await village.put(path, json=change)
    assert (stale.status_code, stale.json()["current_version"]) == (409, 2)

    counts = (await village.get("/staff/v1/surveys/family_needs/counts")).json()
    works = next(one for one in counts["questions"] if one["id"] == "works")
    assert {one["code"]: one["households"] for one in works["choices"]}["none"] == 1
    assert (await village.get("/staff/v1/surveys/family_needs/progress")).json()["answered"] == 1
    (own,) = (await family.get("/citizen/v1/surveys")).json()
    assert own["response"]["version"] == 2


async def test_at_the_doorstep_the_worker_answers_for_a_household_of_the_own_region(
    session, spouses, village
):
    template = (await village.get("/staff/v1/survey-templates")).json()["items"][0]
    path = f"/staff/v1/households/{spouses.household.id}/survey-responses"
    body = {"template_id": template["id"], "answers": ANSWERS}
    stranger = await caller(session, STAFF, await worker(session, Role.VILLAGE_WORKER, "640105001000"))
    assert (await stranger.post(path, json=body)).status_code == 404
    wrong = {**body, "answers": [*ANSWERS, {"question": "loan_yuan", "number": 5}]}
    refused = await village.post(path, json=wrong)
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/answers/4"]
    assert (await village.post(path, json=body)).json()["answered_by_role"] == "village_worker"


async def test_who_is_in_no_household_has_no_survey(session):
    person = given.person("马丽", given.Sex.FEMALE)
    session.add(person)
    await session.flush()
    alone = await caller(session, CITIZEN, await given.account(session, person))
    assert (await alone.get("/citizen/v1/surveys")).status_code == 404


async def test_only_the_county_publishes(session, village):
    body = {
        "code": "youth_needs", "title_zh": "青年需求", "title_en": "Needs of the young",
        "questions": [{"id": "job", "zh": "需要就业帮助吗？", "en": "Help to find work?", "type": "number", "most": 1}],
    }  # fmt: skip
    assert (await village.post("/staff/v1/survey-templates", json=body)).status_code == 403
    county = await caller(session, STAFF, await worker(session, Role.COUNTY_ADMINISTRATOR, "640104000000"))
    once = key()
    made = await county.post("/staff/v1/survey-templates", json=body, headers=once)
    assert (made.status_code, made.json()["id"]) == (201, once["Idempotency-Key"])
    assert made.json()["region_code"] == "640104000000"
    newest = (await village.get("/staff/v1/survey-templates", params={"limit": 1})).json()
    rest = (await village.get("/staff/v1/survey-templates", params={"cursor": newest["next"]})).json()
    assert {one["code"] for one in (*newest["items"], *rest["items"])} == {"youth_needs", "family_needs"}
    broken = {**body, "questions": [{**body["questions"][0], "shown_if": {"question": "x", "choice": "y"}}]}
    assert (await county.post("/staff/v1/survey-templates", json=broken)).status_code == 422


async def test_verification_settles_the_family_type_whatever_the_form_says(session, village):
    wife, husband = couple()
    family = await verified(wife, husband, village, family_type="elderly")
    (home,) = (await family.get("/citizen/v1/households")).json()
    detail = (await family.get(f"/citizen/v1/households/{home['id']}")).json()
    assert (detail["family_type"], detail["family_type_basis"]["by_rule"]) == ("developing", True)
    assert detail["family_type_basis"]["facts"]["wives_of_childbearing_age"] == 1

    path, version = f"/staff/v1/households/{home['id']}/family-type", detail["version"]
    body = {"version": version, "family_type": "stable", "reason": "长期在外地工作"}
    decided = (await village.post(path, json=body)).json()
    assert (decided["family_type"], decided["by_rule"]) == ("stable", False)
    stale = await village.post(path, json=body)
    assert (stale.status_code, stale.json()["current"]["family_type"]) == (409, "stable")
    detail = (await family.get(f"/citizen/v1/households/{home['id']}")).json()
    assert detail["family_type_basis"]["reason"] == "长期在外地工作"
    assert detail["family_type_basis"]["verdict"] == "developing"
    assert (await village.delete(path, params={"version": version})).status_code == 409
    back = (await village.delete(path, params={"version": decided["version"]})).json()
    assert (back["family_type"], back["by_rule"]) == ("developing", True)


async def test_a_binding_to_nobody_s_household_is_found_and_released_by_the_document(session):
    village = await staff_client(session, Role.VILLAGE_WORKER, TOWN)
    wife, _ = couple()
    await bound(wife)
    shown, purpose = {"document_number": wife.number}, {"Purpose": "complaint"}
    found = (await village.post("/staff/v1/persons/find", json=shown, headers=purpose)).json()
    assert (found["in_household"], found["bound_at"] is None) == (False, False)
    assert wife.name not in found["name"]
    # Its id opens nothing,
    path = f"/staff/v1/persons/{found['id']}/release-binding"
    assert (await village.post(path, json={"phone": "13900000009"}, headers=purpose)).status_code == 404
    # the paper does.
    body = {**shown, "name": wife.name, "phone": "13900000009"}
    path = "/staff/v1/persons/release-binding"
    assert (await village.post(path, json={**body, "name": "别人"}, headers=purpose)).status_code == 404
    assert (await village.post(path, json=body, headers=purpose)).status_code == 204
    found = (await village.post("/staff/v1/persons/find", json=shown, headers=purpose)).json()
    assert found["bound_at"] is None
    wrong = {"document_number": wife.number[:-1] + ("0" if wife.number[-1] != "0" else "1")}
    assert (await village.post("/staff/v1/persons/find", json=wrong, headers=purpose)).status_code == 422
    for _ in range(4):
        unknown = {"document_kind": "passport", "document_number": f"E{uuid.uuid4().hex[:8]}"}
        assert (
            await village.post("/staff/v1/persons/find", json=unknown, headers=purpose)
        ).status_code == 404
    assert (await village.post("/staff/v1/persons/find", json=shown, headers=purpose)).status_code == 429
