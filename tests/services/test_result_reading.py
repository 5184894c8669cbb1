from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app import tokens
from app.access import Actor
from app.errors import Invalid, NotFound
from app.models.audit import AuditEvent
from app.models.catalogue import AppliesTo
from app.models.identity import Role
from app.models.results import (
    RiskClass,
)
from app.services import identity
from app.services.results import reading, receipts
from app.services.results.reports import ReportConflict
from tests import clients
from tests.explain import by_index
from tests.factories import appointments as given
from tests.factories.results import NORMAL_HUSBAND, NORMAL_WIFE, body, number, post, with_value

WIFE, HUSBAND = AppliesTo.WIFE, AppliesTo.HUSBAND


async def count(session: AsyncSession, model: Any, **equals: Any) -> int:
    return (await session.scalars(select(func.count()).select_from(model).filter_by(**equals))).one()


def pointers(problem: Invalid) -> list[str]:
    return [error["pointer"] for error in problem.errors or []]


async def test_each_spouse_reads_the_joint_sheet_and_both_files_say_so(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(
        session, attended, body(attended, husband=with_value(NORMAL_HUSBAND, "smoking", "yes"))
    )

    for actor in (attended.wife, attended.husband):
        sheet = await reading.sheet(session, actor, report_id=accepted.report_id)
        assert sheet.wording is reading.Wording.RISK_FOUND
        assert sheet.risk is not None
        assert sheet.risk.risk_class is RiskClass.A
        assert {line.role for line in sheet.observations} == {WIFE, HUSBAND}

    reads = (
        select(func.count()).select_from(AuditEvent).filter_by(action="read", entity_id=accepted.report_id)
    )
    for person in (attended.spouses.wife, attended.spouses.husband):
        assert await session.scalar(reads.filter_by(person_id=person.id)) == 2


async def test_the_three_wordings(session: AsyncSession) -> None:
    attended = await given.attended(session)

    async def wording(**changes: Any) -> reading.Wording | None:
        accepted = await post(session, attended, body(attended, **changes))
        return (await reading.sheet(session, attended.wife, report_id=accepted.report_id)).wording

    assert await wording() is reading.Wording.NONE_FOUND
    assert await wording(husband=[]) is reading.Wording.ONE_SPOUSE
    assert await wording(husband=[], stated_risk="C") is reading.Wording.RISK_FOUND
    assert await wording(status="preliminary") is None


async def test_unreleased_values_are_shown_to_nobody(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended, status="partial", conclusion="初步结果"))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert (sheet.status, sheet.observations, sheet.conclusion, sheet.risk) == ("partial", [], None, None)


async def test_strangers_other_regions_and_other_hospitals_see_nothing(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    stranger = (await given.couple(session)).wife_actor
    elsewhere = await given.worker(session, "640200000000")

    for actor in (stranger, elsewhere, (await given.clinic(session)).actor):
        with pytest.raises(NotFound):
            await reading.sheet(session, actor, report_id=accepted.report_id)
        assert await reading.list_reports(session, actor, after=None, limit=10) == []


async def test_a_worker_lists_masked_names(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    rows = await reading.list_reports(session, await given.worker(session), after=None, limit=10)
    (row,) = [row for row in rows if row.id == accepted.report_id]
    assert (row.name, row.spouse_name) == ("李*英", "王*军")


async def test_a_person_service_places_the_values_by_sex(session: AsyncSession) -> None:
    attended = await given.attended(session, service_code=given.FERTILITY)
    amh = [{"code": "amh", "value": 0.8, "unit": "ng/mL"}]

    semen = [{"code": "semen_volume", "value": 2, "unit": "mL"}]
    with pytest.raises(Invalid) as refused:
        await post(session, attended, body(attended, wife=amh, husband=semen))
    assert pointers(refused.value) == ["/husband"]

    accepted = await post(session, attended, body(attended, wife=amh, husband=[]))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert sheet.wording is reading.Wording.RISK_FOUND
    assert [(line.role, line.value) for line in sheet.observations] == [(WIFE, 0.8)]
    with pytest.raises(NotFound):
        await reading.sheet(session, attended.husband, report_id=accepted.report_id)


async def test_the_sheet_says_each_value_in_both_languages(session: AsyncSession) -> None:
    attended = await given.attended(session)
    wife = [
        {"code": "hbsag", "value": "positive"},
        {"code": "abo", "value": "AB"},
        {"code": "tsh", "value": 2, "unit": "mIU/L"},
    ]
    accepted = await post(session, attended, body(attended, wife=wife, husband=[]))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert {line.code: (line.zh, line.value_zh, line.value_en) for line in sheet.observations} == {
        "hbsag": ("乙肝表面抗原", "阳性", "Positive"),
        "abo": ("ABO 血型", "AB 型", "Group AB"),
        "tsh": ("促甲状腺激素", None, None),
    }


def test_who_needs_genetic_counselling_is_told_so() -> None:
    assert "遗传咨询" in reading.MEANING[RiskClass.D][0]


async def test_a_hospital_asks_what_became_of_a_report(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    await post(session, attended, posted)
    with pytest.raises(ReportConflict):
        await post(session, attended, posted | {"stated_risk": "X"})

    receipt = await receipts.receipt(session, attended.partner, external_id=posted["external_id"])

    assert (receipt.current_version, receipt.status) == (1, "final")
    assert [message.reason for message in receipt.messages] == ["other_content", None]
    with pytest.raises(NotFound):
        await receipts.receipt(
            session, (await given.clinic(session)).actor, external_id=posted["external_id"]
        )


async def test_versions_are_append_only(session: AsyncSession) -> None:
    attended = await given.attended(session)
    await post(session, attended, body(attended))
    with pytest.raises(Exception, match="append-only"):
        await session.execute(text("UPDATE report_version SET status = 'cancelled'"))


# At the doors


async def test_from_the_hospitals_signature_to_the_couples_sheet(session: AsyncSession) -> None:
    attended = await given.attended(session)
    hospital = attended.hospital
    await session.commit()
    posted = body(attended, external_id=number(), wife=with_value(NORMAL_WIFE, "hbsag", "positive"))

    async with clients.partner_client(hospital.organization, hospital.key) as partner:
        first = await partner.post("/partner/v1/reports", json=posted)
        again = await partner.post("/partner/v1/reports", json=posted)
        conflict = await partner.post("/partner/v1/reports", json=posted | {"stated_risk": "X"})
        bad = posted | {"version": 2, "wife": [{"code": "tsh", "value": "high", "unit": "mIU/L"}]}
        wrong = await partner.post("/partner/v1/reports", json=bad)
        receipt = await partner.get(f"/partner/v1/reports/{posted['external_id']}")
    assert (first.status_code, again.status_code, conflict.status_code) == (201, 200, 409)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/wife/0/value")
    assert receipt.json()["current_version"] == 1

    async with clients.client() as resident:
        resident.headers["Authorization"] = f"Bearer {token(attended.husband)}"
        listed = await resident.get("/citizen/v1/reports")
        sheet = await resident.get(f"/citizen/v1/reports/{listed.json()['items'][0]['id']}")
        expected = await resident.get("/citizen/v1/follow-ups")
    assert sheet.json()["risk"]["risk_class"] == "C"
    assert sheet.json()["wording"] == "risk_found"
    assert [row["kind"] for row in expected.json()["items"]] == ["result_told"]


async def test_a_worker_opens_a_sheet_only_with_a_purpose(session: AsyncSession) -> None:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended))
    await session.commit()
    worker = await clients.staff_client(session, Role.TOWNSHIP_OFFICER)
    path = f"/staff/v1/reports/{accepted.report_id}"
    assert (await worker.get(path)).status_code == 422
    assert (await worker.get(path, headers={"Purpose": "follow_up"})).status_code == 200
    listed = (await worker.get("/staff/v1/reports?status=final")).json()["items"]
    assert listed[0]["name"] == "李*英"
    assert "risk_class" not in listed[0], "what was found is read with a purpose"


async def test_a_worker_reads_somebody_s_health_file_of_all_services(session: AsyncSession) -> None:
    attended, other = await given.attended(session), await given.attended(session)
    wife = attended.spouses.wife
    screened = await given.attended(
        session, service_code="two_cancer_screening", spouses=attended.spouses, in_days=2
    )
    clear = {"wife": [{"code": "hpv", "value": "negative"}], "husband": []}
    posted = [
        await post(session, attended, body(attended)),
        await post(session, screened, body(screened, **clear)),
    ]
    await post(session, other, body(other))
    await session.commit()
    worker = await clients.staff_client(session, Role.TOWNSHIP_OFFICER)
    path, headers = f"/staff/v1/persons/{wife.id}/reports", {"Purpose": "follow_up"}
    assert (await worker.get(path)).status_code == 422
    first = (await worker.get(path, headers=headers, params={"limit": 1})).json()
    rest = (await worker.get(path, headers=headers, params={"cursor": first["next"]})).json()
    listed = [*first["items"], *rest["items"]]
    assert [one["id"] for one in listed] == [str(one.report_id) for one in reversed(posted)]
    assert await count(session, AuditEvent, action="read_reports", person_id=wife.id) == 2
    stranger = await clients.staff_client(session, Role.COUNTY_ADMINISTRATOR, "640105000000")
    assert (await stranger.get(path, headers=headers)).status_code == 404


async def test_a_health_file_is_found_by_index(session: AsyncSession) -> None:
    attended, worker = await given.attended(session), await given.worker(session)
    # Where there are a million, a county's are too many; here they are as good as the person's.
    await session.execute(text("DROP INDEX ix_diagnostic_report_region_code"))
    looked = reading.health_file(
        session, worker, person_id=attended.spouses.wife.id, purpose="follow_up", after=None, limit=5
    )
    plan = await by_index(session, looked, "diagnostic_report")
    assert {"ix_diagnostic_report_person_id", "ix_diagnostic_report_spouse_id"} <= set(plan.split())


def token(actor: Actor) -> str:
    return tokens.issue_access(identity.DOOR, actor.account_id, actor.account_id)
