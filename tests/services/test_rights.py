"""A copy of everything held, erasure with the duties to keep, and what goes by itself."""

import json
from datetime import date, datetime, time, timedelta

import pytest
from sqlalchemy import insert, select, text, update

from app import clock
from app.access import fetch, visible
from app.db import begin, new_id
from app.errors import NotFound, WrongState
from app.models.appointments import Appointment, AppointmentStatus
from app.models.audit import AuditEvent, IdempotencyKey
from app.models.consents import Consent
from app.models.donations import ReceiptRequest, ReceiptStatus
from app.models.follow_ups import FollowUp
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import (
    Category,
    Couple,
    Household,
    HouseholdStatus,
    Membership,
    Person,
    Relation,
    Sex,
)
from app.models.identity import ResidentAccount, Role, SignIn
from app.models.imports import ImportRow
from app.models.results import DiagnosticReport
from app.models.rights import Erasure, ErasureStatus
from app.models.rosters import RosterMember, TrainingCertificate
from app.services import (
    audit,
    consents,
    corrections,
    documents,
    households,
    idempotency,
    identity,
    messages,
    rights,
    sign_ins,
)
from app.services.corrections.changes import CHANGE
from app.services.households.handbook import note
from app.services.idempotency import Key
from app.services.proofs import sealing
from app.services.rights import holds
from app.services.rights.anonymising import anonymise
from app.services.rights.emptying import said_of
from app.services.rights.held import HELD, about
from tests.explain import Explain
from tests.factories import appointments as made
from tests.factories import imports as lists
from tests.factories import ledger, proofs, results

pytestmark = pytest.mark.usefixtures("connection")
TOWN, COUNTY = made.REGION, made.COUNTY
SYSTEM = rights.erasing.DECIDING


def key():
    return Key(new_id(), b"one")


async def administrator(session, region=COUNTY):
    return await made.worker(session, region, Role.COUNTY_ADMINISTRATOR)


async def ask(session, actor, person=None):
    return await rights.request_own(
        session, actor, key=key(), person_id=person.id if person else None, why="不再使用"
    )


async def decide(session, actor, asked, *, grant=True):
    return await rights.decide(
        session, actor, id=asked.id, version=asked.version, grant=grant, reason="已核实"
    )


async def close(session, family):
    """Everybody has left."""
    await session.execute(
        update(Membership)
        .where(Membership.household_id == family.household.id)
        .values(valid_to=clock.today())
    )
    await session.execute(
        update(Person).where(Person.id.in_([family.wife.id, family.husband.id])).values(region_code=None)
    )
    family.household.status = HouseholdStatus.CLOSED
    await session.flush()
    for person in (family.wife, family.husband):
        await session.refresh(person)


async def a_child(session, family, born):
    child = made.person("王小宝", Sex.MALE, birth_date=born)
    session.add(child)
    await session.flush()
    session.add(
        Membership(
            id=new_id(), household_id=family.household.id, person_id=child.id, relation=Relation.CHILD,
            valid_from=date(2023, 1, 1),
        )
    )  # fmt: skip
    await session.flush()
    return child


def rows(sections, table):
    [section] = [section for section in sections if section["table"] == table]
    assert section["complete"]
    return section["rows"]


# The copy


async def test_the_copy_holds_what_every_part_knows(session):
    attended = await made.attended(session)
    family = attended.spouses
    identity.set_phone(family.wife, "13912345678")
    await results.post(session, attended, results.body(attended))
    detail = {"evidence": "结婚证"}
    await note(session, SYSTEM, family.household, "married", person_id=family.wife.id, detail=detail)
    await note(session, SYSTEM, family.household, "fell_ill", person_id=family.husband.id, detail=detail)
    copy = await rights.own_file(session, family.wife_actor)
    sections = copy["sections"]
    [own] = rows(sections, "person")
    assert (own["name"], own["document_number"], own["phone"]) == (
        "李秀英", family.wife.document_number, "13912345678",
    )  # fmt: skip
    assert not {"document_index", "phone_index", "phone_sealed"} & set(own)
    assert [row["status"] for row in rows(sections, "appointment")] == ["arrived"]
    assert {row["kind"] for row in rows(sections, "household_event")} == {"married"}
    assert [json.loads(row["content"]) for row in rows(sections, "handbook_detail")] == [detail]
    seen = {(row["person_id"], row["code"]) for row in rows(sections, "observation")}
    assert seen == {(family.wife.id, line["code"]) for line in results.NORMAL_WIFE}
    for table in ("diagnostic_report", "report_version", "risk_assessment", "follow_up", "follow_up_event"):
        assert rows(sections, table), table
    assert len(rows(sections, "consent")) == len(rows(sections, "consent_notice")) > 0
    for table in ("household", "membership", "couple", "resident_account"):
        assert len(rows(sections, table)) == 1, table
    assert "export" in {row["action"] for row in rows(sections, "audit_event")}
    assert not any(
        {"actor_id", "decided_by", "verified_by"} & set(row) for s in sections for row in s["rows"]
    )


async def test_the_copy_of_a_spouse_is_another(session):
    family = await made.couple(session)
    text = json.dumps(await rights.own_file(session, family.wife_actor), default=str)
    assert family.wife.document_number in text
    assert family.husband.document_number not in text


async def test_a_parent_gets_the_copies_of_children_under_14(session):
    family = await made.couple(session)
    young = await a_child(session, family, clock.today() - timedelta(days=365))
    await a_child(session, family, clock.years_ago(14))
    copy = await rights.own_file(session, family.husband_actor)
    assert [child["person_id"] for child in copy["children"]] == [young.id]
    seen = set(await session.scalars(select(AuditEvent.person_id).where(AuditEvent.action == "export")))
    assert seen == {family.husband.id, young.id}


async def test_a_worker_hands_over_the_copy_of_who_is_in_the_region(session):
    family = await made.couple(session)
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    copy = await rights.file_of(session, worker, person_id=family.wife.id, purpose="rights_request")
    assert copy["person_id"] == family.wife.id
    [seen] = await session.scalars(select(AuditEvent).where(AuditEvent.action == "export"))
    assert (seen.person_id, seen.purpose) == (family.wife.id, "rights_request")
    abroad = await made.worker(session, "640105001000", Role.VILLAGE_WORKER)
    with pytest.raises(NotFound):
        await rights.file_of(session, abroad, person_id=family.wife.id, purpose="rights_request")


async def test_the_history_of_consents_names_the_version_that_was_shown(session):
    family = await made.couple(session)
    [given, *_] = await consents.history(session, family.wife_actor)
    await consents.withdraw(session, family.wife_actor, consent_id=given.id)
    history = await consents.history_with_notices(session, family.wife_actor)
    [step] = [step for step in history if step["id"] == given.id]
    assert step["withdrawn_at"] is not None
    assert (step["notice_version"], bool(step["title_zh"])) == (1, True)


async def gone(session, family):
    """Dead, and so counted nowhere."""
    await close(session, family)
    family.husband.died_on = clock.today()
    await session.flush()
    return family.husband


async def test_the_office_where_the_dead_were_last_served_helps_the_relatives(session):
    dead = await gone(session, await made.couple(session))
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    abroad = await made.worker(session, "640105001000", Role.VILLAGE_WORKER)
    named = {"person_id": dead.id, "purpose": "rights_request"}
    with pytest.raises(NotFound):
        await rights.file_of(session, abroad, **named)
    with pytest.raises(NotFound):
        await rights.request_for(session, abroad, key=key(), why="亲属申请", **named)
    copy = await rights.file_of(session, worker, **named)
    assert copy["person_id"] == dead.id
    asked = await rights.request_for(session, worker, key=key(), why="亲属申请", **named)
    assert (asked.status, asked.region_code) == (ErasureStatus.OPEN, TOWN)


async def test_the_copy_reads_no_table_from_end_to_end(session):
    family = await made.couple(session)
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    whose = await about(session, family.wife.id)
    small = {"consent_notice"}
    for held in HELD:
        plan = list(await session.scalars(Explain(select(held.model).where(held.of(whose)))))
        full = [line for line in plan if "Seq Scan" in line]
        assert not full or held.model.__tablename__ in small, (held.model.__tablename__, plan)


async def test_what_lists_say_of_somebody_is_found_by_index(session):
    """A county's lists have half a million lines."""
    family = await made.couple(session)
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    plan = "\n".join(await session.scalars(Explain(select(ImportRow.line).where(said_of(family.wife)))))
    assert "Seq Scan" not in plan, plan
    for index in ("ix_import_row_id", "ix_import_row_person_id_known", "ix_import_row_document_index"):
        assert index in plan, plan


async def test_a_step_of_the_evening_after_the_last_day_is_not_in_the_copy(session):
    """A day ends at midnight in Shanghai."""
    family = await made.couple(session)
    await close(session, family)
    over = datetime.combine(clock.today() + timedelta(days=1), time(), clock.SHANGHAI)
    for at in (over - timedelta(minutes=1), over):
        session.add(
            HouseholdEvent(
                household_id=family.household.id, at=at, kind=at.strftime("%H:%M"), actor_role=Role.SYSTEM
            )
        )
    await session.flush()
    sections = (await rights.own_file(session, family.wife_actor))["sections"]
    assert [row["kind"] for row in rows(sections, "household_event")] == [
        (over - timedelta(minutes=1)).strftime("%H:%M")
    ]


# What stands against an erasure


async def codes(session, person):
    return {hold.code: hold.until for hold in await holds.holds(session, person.id)}


async def test_a_member_of_an_active_household_is_held(session):
    family = await made.couple(session)
    assert await codes(session, family.wife) == {"active_membership": None}
    await close(session, family)
    assert await codes(session, family.wife) == {}


async def test_an_open_appointment_holds_both_spouses_until_it_is_over(session):
    attended = await made.attended(session, status=AppointmentStatus.BOOKED)
    until = attended.appointment.ends_at.astimezone(clock.SHANGHAI).date()
    await close(session, attended.spouses)
    for person in (attended.spouses.wife, attended.spouses.husband):
        assert await codes(session, person) == {"open_appointment": until}
    attended.appointment.status = AppointmentStatus.CANCELLED
    await session.flush()
    assert await codes(session, attended.spouses.husband) == {}


@pytest.mark.parametrize(("issued", "held"), [(date(2020, 2, 29), True), (date(2005, 3, 1), False)])
async def test_a_report_is_kept_fifteen_years(session, issued, held):
    attended = await made.attended(session, status=AppointmentStatus.FULFILLED)
    session.add(
        DiagnosticReport(
            id=new_id(), organization_id=attended.hospital.organization.id, external_id="A1",
            appointment_id=attended.appointment.id, service_id=attended.service.id,
            person_id=attended.spouses.wife.id, spouse_id=attended.spouses.husband.id, region_code=TOWN,
            current_version=1, status="final", issued_at=f_noon(issued), created_at=clock.now(),
        )
    )  # fmt: skip
    await close(session, attended.spouses)
    found = await codes(session, attended.spouses.husband)
    assert found == ({"report_retention": date(2035, 3, 1)} if held else {})


def f_noon(day):
    return clock.now().replace(year=day.year, month=day.month, day=day.day, hour=4)


# Erasure


async def test_an_erased_person_is_nobody_and_still_counted(session):
    family = await made.couple(session)
    wife = family.wife
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    identity.set_phone(wife, "13912345678")
    number, kind = wife.document_number, wife.document_kind
    asked_for = CHANGE.validate_python({"field": "name", "value": "李秀瑛"})
    await corrections.request(
        session, worker, key=key(), subject_id=wife.id, change=asked_for, evidence="户口本"
    )
    category = Category(
        id=new_id(), code="two_daughters", person_id=wife.id, valid_from=date(2021, 1, 1), verified_by=worker.id
    )  # fmt: skip
    category.evidence = "光荣证"
    session.add(category)
    pair = await sign_ins.start(
        session, family.wife_actor, door=identity.DOOR, account_id=family.wife_actor.id, device="李秀英的手机"
    )
    assert pair
    await close(session, family)
    done = await decide(session, await administrator(session), await ask(session, family.wife_actor))
    assert (done.status, done.name, done.holds) == (ErasureStatus.DONE, "已*销", [])

    for row in (wife, category):
        await session.refresh(row)
    assert (wife.name, wife.pinyin, wife.phone, wife.phone_index) == ("已注销", "yi zhu xiao", None, None)
    assert (wife.birth_date, wife.hukou_region_code) == (date(1995, 1, 1), COUNTY)
    assert (wife.region_code, wife.resident_since, wife.restricted_at) == (None, None, None)
    assert number not in wife.document_number
    assert (category.evidence, category.code, wife.sex) == ("已注销", "two_daughters", Sex.FEMALE)
    assert not list(
        await session.scalars(
            select(HandbookDetail.id).where(
                HandbookDetail.person_id == wife.id, HandbookDetail.content_sealed.is_not(None)
            )
        )
    )
    [correction] = await session.scalars(
        select(corrections.requests.Correction).execution_options(populate_existing=True)
    )
    assert (correction.status, correction.old, correction.new, correction.evidence) == (
        "withdrawn", None, None, None,
    )  # fmt: skip
    row = await session.get_one(Erasure, done.id)
    assert (row.why, row.reason) == (None, None)

    # and the same document is a new person's
    document = documents.Document(kind, number, None, None)
    again, new = await identity.register_person(
        session, name="李秀英", document=document, birth_date=date(1995, 6, 1), sex=Sex.FEMALE
    )
    assert (new, again.id != wife.id) == (True, True)


async def test_the_account_of_who_is_erased_is_nobody_s(session):
    family = await made.couple(session)
    account_id = family.wife_actor.id
    openid = (await session.get_one(ResidentAccount, account_id)).openid
    await sign_ins.start(
        session, family.wife_actor, door=identity.DOOR, account_id=account_id, device="李秀英的手机"
    )
    await close(session, family)
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    account = await session.get_one(ResidentAccount, account_id, populate_existing=True)
    assert (account.person_id, account.openid == openid) == (None, False)
    [sign_in] = await session.scalars(select(SignIn).where(SignIn.account_id == account_id))
    await session.refresh(sign_in)
    assert (sign_in.device, sign_in.revoked_at is not None) == ("", True)
    given = await session.scalars(
        select(Consent).where(Consent.person_id == family.wife.id).execution_options(populate_existing=True)
    )
    ended = [consent.withdrawn_at is not None for consent in given]
    assert ended
    assert all(ended), "kept as proof, and ended"


async def test_a_held_person_is_out_of_sight_of_workers_until_the_hold_ends(session):
    family = await made.couple(session)
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    admin = await administrator(session)
    held = await decide(session, admin, await ask(session, family.wife_actor))
    assert (held.status, [hold["code"] for hold in held.holds]) == (
        ErasureStatus.HELD, ["active_membership"],
    )  # fmt: skip
    with pytest.raises(NotFound):
        await fetch(session, worker, Person, family.wife.id)
    assert (await fetch(session, admin, Person, family.wife.id)).id == family.wife.id
    session.add(
        Category(
            id=new_id(), code="minimum_income", person_id=family.wife.id, evidence="低保证",
            valid_from=date(2026, 1, 1), verified_by=worker.id,
        )
    )  # fmt: skip
    await session.flush()
    seen = await households.detail(session, worker, id=family.household.id, purpose="verification")
    assert [member["id"] for member in seen["members"]] == [family.husband.id]
    assert (seen["couple"], seen["categories"]) == (None, [])
    seen = await households.detail(session, family.husband_actor, id=family.household.id)
    assert (len(seen["members"]), len(seen["categories"]), bool(seen["couple"])) == (2, 1, True)
    await session.commit()
    assert await rights.finish_due() == 0
    await close(session, family)
    await session.commit()
    assert await rights.finish_due() == 1
    await session.refresh(family.wife)
    assert family.wife.name == "已注销"
    row = await session.get_one(Erasure, held.id, populate_existing=True)
    assert (row.status, row.holds) == (ErasureStatus.DONE, [])


async def test_a_refusal_and_a_withdrawal_bring_the_person_back(session):
    family = await made.couple(session)
    admin = await administrator(session)
    held = await decide(session, admin, await ask(session, family.wife_actor))
    back = await rights.withdraw(session, family.wife_actor, id=held.id, version=held.version)
    assert (back.status, family.wife.restricted_at) == (ErasureStatus.WITHDRAWN, None)
    again = await decide(session, admin, await ask(session, family.wife_actor))
    refused = await decide(session, admin, again, grant=False)
    assert (refused.status, refused.reason, family.wife.restricted_at) == (
        ErasureStatus.REFUSED, "已核实", None,
    )  # fmt: skip
    with pytest.raises(WrongState):
        await decide(session, admin, refused)


async def test_nobody_grants_the_own_request(session):
    family = await made.couple(session)
    admin, colleague = await administrator(session), await administrator(session)
    asked = await rights.request_for(
        session, admin, key=key(), person_id=family.wife.id, why="到场申请", purpose="rights_request"
    )
    for grant in (True, False):
        with pytest.raises(rights.OwnRequest):
            await decide(session, admin, asked, grant=grant)
    assert (await decide(session, colleague, asked)).status is ErasureStatus.HELD


async def test_who_is_erased_gave_nothing_that_anybody_could_tell(session):
    family, fund = await made.couple(session), await ledger.fund(session)
    account_id = family.wife_actor.id
    mine = await proofs.gift(session, fund, name="李秀英", account_id=account_id)
    other = await proofs.gift(session, fund, name="李秀英")
    for status in (ReceiptStatus.REQUESTED, ReceiptStatus.REVERSED):
        paper = ReceiptRequest(
            id=new_id(), donation_id=mine.id, status=status, requested_at=clock.now(),
            receipt_number="1" if status is ReceiptStatus.REVERSED else None,
        )  # fmt: skip
        paper.payer, paper.reason = "李秀英", "与李秀英不符"
        session.add(paper)
    await session.commit()
    await sealing.seal_all()
    certificate = await proofs.certificate(session, mine)
    assert {row["number"] for row in rows(await copied(session, family), "donation")} == {mine.number}
    await close(session, family)
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    for row in (mine, other):
        await session.refresh(row)
    assert (mine.donor_name, mine.public_name, mine.salt, mine.shown_as) == (None, None, None, "anonymous")
    assert (other.donor_name, other.public_name) == ("李秀英", "李某")
    papers = await session.scalars(select(ReceiptRequest).execution_options(populate_existing=True))
    told = {(paper.status, paper.payer, paper.reason) for paper in papers}
    assert told == {("refused", None, None), ("reversed", "李秀英", "与李秀英不符")}
    assert proofs.holds(certificate)
    assert proofs.holds(await proofs.certificate(session, mine))


async def copied(session, family):
    return (await rights.own_file(session, family.wife_actor))["sections"]


async def test_a_binding_released_as_wrong_leaves_no_hold_on_an_erasure(session):
    family = await made.couple(session)
    child = await a_child(session, family, clock.today() - timedelta(days=365))
    asked = [await ask(session, family.wife_actor), await ask(session, family.wife_actor, child)]
    assert len(await rights.own(session, family.wife_actor)) == 2
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    await identity.release(session, worker, family.wife)
    await session.flush()
    assert await rights.own(session, family.wife_actor) == []
    for one in asked:
        with pytest.raises(NotFound):
            await rights.withdraw(session, family.wife_actor, id=one.id, version=one.version)


async def test_what_is_about_who_is_to_be_erased_is_out_of_sight(session):
    attended = await made.attended(session)
    await results.post(session, attended, results.body(attended))
    worker, admin = await made.worker(session, TOWN, Role.VILLAGE_WORKER), await administrator(session)
    models = (Appointment, DiagnosticReport, FollowUp)

    async def seen(who):
        rows = {
            model: list(await session.scalars(select(model).where(visible(who, model)))) for model in models
        }
        return [bool(rows[model]) for model in models]

    assert await seen(worker) == [True, True, True]
    attended.spouses.husband.restricted_at = attended.spouses.wife.restricted_at = clock.now()
    await session.flush()
    assert (await seen(worker), await seen(admin)) == ([False] * 3, [True] * 3)


async def test_one_that_fails_does_not_stop_the_others(session, monkeypatch, caplog):
    admin, families = await administrator(session), [await made.couple(session) for _ in range(2)]
    for family in families:
        await decide(session, admin, await ask(session, family.wife_actor))
        await close(session, family)
    await session.commit()
    real = rights.erasing.anonymise

    async def broken(db, actor, person):
        if person.id == families[0].wife.id:
            raise RuntimeError
        await real(db, actor, person)

    monkeypatch.setattr(rights.erasing, "anonymise", broken)
    assert await rights.finish_due() == 1
    assert "erasure failed" in caplog.text
    await session.refresh(families[1].wife)
    assert families[1].wife.name == "已注销"


async def test_a_guardian_asks_for_a_child_under_14_only(session):
    family, stranger = await made.couple(session), await made.couple(session)
    young = await a_child(session, family, clock.today() - timedelta(days=365))
    grown = await a_child(session, family, clock.years_ago(14))
    asked = await ask(session, family.husband_actor, young)
    assert asked.person_id == young.id
    assert [row.id for row in await rights.own(session, family.husband_actor)] == [asked.id]
    assert await rights.own(session, family.wife_actor) == []
    with pytest.raises(consents.GuardianNeeded):
        await ask(session, family.husband_actor, grown)
    with pytest.raises(consents.GuardianNeeded):
        await ask(session, family.husband_actor, family.wife)
    with pytest.raises(NotFound):
        await ask(session, stranger.husband_actor, young)


async def test_one_request_at_a_time_and_decided_in_the_own_region(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor)
    async with session.begin_nested() as attempt:
        with pytest.raises(Exception, match="uq_erasure_person_id_under_way"):
            await ask(session, family.wife_actor)
        await attempt.rollback()
    abroad = await administrator(session, "640105000000")
    with pytest.raises(NotFound):
        await decide(session, abroad, asked)
    listed = await rights.listing(
        session, await administrator(session), status=ErasureStatus.OPEN, after=None, limit=9
    )
    assert [(row.id, row.name) for row in listed] == [(asked.id, "李*英")]
    shown = await rights.detail(session, await administrator(session), id=asked.id, purpose="rights_request")
    assert (shown.why, [hold.code for hold in shown.holds_now]) == ("不再使用", ["active_membership"])


async def test_a_worker_asks_for_who_has_no_phone(session):
    family = await made.couple(session)
    worker = await made.worker(session, TOWN, Role.VILLAGE_WORKER)
    asked = await rights.request_for(
        session, worker, key=key(), person_id=family.wife.id, why="到场申请", purpose="rights_request"
    )
    assert (asked.requester_role, asked.region_code) == (Role.VILLAGE_WORKER, TOWN)


async def test_a_form_that_nobody_verified_goes_with_its_author(session):
    family = await made.couple(session)
    await close(session, family)
    draft = Household(
        id=new_id(), account_id=family.wife_actor.id, region_code=TOWN, status=HouseholdStatus.DRAFT,
        created_at=clock.now(),
    )  # fmt: skip
    session.add(draft)
    await session.flush()
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    await session.refresh(draft)
    assert (draft.form, draft.status) == (None, HouseholdStatus.CLOSED)


async def test_who_moved_out_of_the_association_may_be_erased(session):
    family = await made.couple(session)
    family.household.status = HouseholdStatus.MOVED_OUT
    family.wife.region_code = None
    await session.flush()
    asked = await ask(session, family.wife_actor)
    assert asked.region_code == TOWN
    await decide(session, await administrator(session), asked)
    left = await session.scalar(select(Membership).where(Membership.person_id == family.wife.id))
    assert left.valid_to == clock.today()
    married = await session.scalar(select(Couple).execution_options(populate_existing=True))
    assert (married.wife_id, married.valid_to) == (family.wife.id, clock.today()), (
        "the husband may marry again"
    )


async def test_all_names_under_which_somebody_was_registered_go(session):
    """A merge keeps the other registration: its document, too, is free again."""
    family = await made.couple(session)
    await close(session, family)
    twin = made.person("李秀瑛", Sex.FEMALE)
    twin.region_code, twin.merged_into = None, family.wife.id
    session.add(twin)
    await session.flush()
    number = twin.document_number
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    await session.refresh(twin)
    assert (twin.name, twin.erased_at is not None) == ("已注销", True)
    _, new = await identity.register_person(
        session, name="李秀瑛", document=documents.Document(twin.document_kind, number, None, None),
        birth_date=date(1995, 6, 1), sex=Sex.FEMALE,
    )  # fmt: skip
    assert new


async def test_what_only_the_household_says_goes_with_its_last_member(session):
    family = await made.couple(session)
    home = family.household
    home.address = "凤凰北街 8 号"
    await note(session, SYSTEM, home, "edited", "address", detail={"old": "解放西街 9 号"})
    await close(session, family)
    admin = await administrator(session)
    for actor, emptied in ((family.wife_actor, False), (family.husband_actor, True)):
        await decide(session, admin, await ask(session, actor))
        await session.refresh(home)
        left = list(await session.scalars(select(HandbookDetail.content_sealed)))
        assert (home.address is None, left == [None]) == (emptied, emptied)


async def test_who_is_on_a_roster_leaves_it_first(session):
    family = await made.couple(session)
    await close(session, family)
    member = RosterMember(
        id=new_id(), kind="volunteer", name="李秀英", region_code=TOWN, person_id=family.wife.id,
        joined_on=date(2024, 1, 1), created_at=clock.now(), post="凤凰北街志愿者",
        staff_account_id=(await administrator(session)).id,
    )  # fmt: skip
    member.phone = "13912345678"
    session.add(member)
    await session.flush()
    certificate = TrainingCertificate(
        id=new_id(), member_id=member.id, title="急救", issuer="红十字会", number="640104199506010021",
        issued_on=date(2024, 2, 1), created_at=clock.now(),
    )  # fmt: skip
    session.add(certificate)
    await session.flush()
    assert await codes(session, family.wife) == {"active_roster": None}
    [row] = rows((await rights.own_file(session, family.wife_actor))["sections"], "roster_member")
    assert row["phone"] == "13912345678"
    member.left_on = clock.today()
    await session.flush()
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    await session.refresh(member)
    assert (member.name, member.phone, member.post, member.staff_account_id) == ("已注销", None, None, None)
    await session.refresh(certificate)
    assert (certificate.title, certificate.number) == ("急救", None)


async def test_the_line_of_a_list_says_nothing_any_more(session):
    family = await made.couple(session)
    await close(session, family)
    line = {
        "batch_id": new_id(), "line": 1, "verdict": "known", "wrong": [], "id": new_id(), "person_id": family.wife.id,
        "name": "李秀英", "birth_date": date(1995, 6, 1), "document_index": family.wife.document_index,
        "document_number_sealed": b"sealed", "categories": [{"evidence": "00"}], "local_number": "12",
        "hukou_region_code": TOWN, "resident_since": date(2020, 1, 1), "married_since": date(2023, 1, 1),
        "before": {"phone_sealed": "00"},
    }  # fmt: skip
    await session.execute(insert(ImportRow).values(line))
    await decide(session, await administrator(session), await ask(session, family.wife_actor))
    row = await session.scalar(select(ImportRow).execution_options(populate_existing=True))
    for column in set(line) - {"batch_id", "line", "verdict", "wrong", "id", "person_id", "categories"}:
        assert getattr(row, column) is None, column
    assert (row.person_id, row.verdict, row.categories) == (family.wife.id, "known", [])
    assert await session.scalar(select(ImportRow.line).where(ImportRow.before.is_(None))) == 1, (
        "and no JSON null"
    )


async def test_who_is_erased_comes_in_by_no_list_that_waits(session):
    officer = await made.worker(session, TOWN)
    await session.commit()
    lines = lists.family("12") + lists.family("13")
    id = await lists.checked(officer, lines)
    [first, *_] = await lists.rows_of(session, id)
    head = made.person(first.name, Sex.MALE)
    head.region_code, head.document_index = None, first.document_index
    session.add(head)
    await session.flush()
    await anonymise(session, SYSTEM, head)
    await session.commit()
    session.expire_all()
    seen = {row.line: (row.verdict, row.local_number) for row in await lists.rows_of(session, id)}
    half = len(seen) // 2
    verdicts = [verdict for verdict, _ in seen.values()]
    assert verdicts[:half] == ["refused"] * half
    assert set(verdicts[half:]) <= {"ready", "warning"}
    assert (await lists.commit(session, officer, id))["status"] == "committed"


# What goes by itself


async def test_what_cannot_be_forgotten_tonight_keeps_nothing_else(session, monkeypatch, caplog):
    family, admin = await made.couple(session), await administrator(session)
    await decide(session, admin, await ask(session, family.wife_actor))
    await close(session, family)
    await session.commit()

    async def broken(db, *, before):
        raise RuntimeError

    for module in (idempotency, messages):
        monkeypatch.setattr(module, "purge", broken)
    await rights.purge()
    assert [entry.fields["of"] for entry in caplog.records] == ["keys", "messages"]
    await session.refresh(family.wife)
    assert family.wife.erased_at is not None


async def test_old_keys_and_ended_sign_ins_go_and_the_trail_stays(session):
    family = await made.couple(session)
    now, account = clock.now(), family.wife_actor.id
    for days in (29, 31):
        at = now - timedelta(days=days)
        session.add(IdempotencyKey(id=new_id(), actor_id=account, fingerprint=b"", created_at=at))
        for revoked in (at, None):
            session.add(
                SignIn(
                    id=new_id(), account_id=account, door=identity.DOOR, generation=0, device=str(days),
                    created_at=at, used_at=at, expires_at=now if revoked else at, revoked_at=revoked,
                )
            )  # fmt: skip
    await audit.record(session, family.wife_actor, "old", "person", people=[family.wife.id])
    await session.commit()
    await rights.purge()
    async with begin() as db:
        assert len(list(await db.scalars(select(IdempotencyKey)))) == 1
        assert list(await db.scalars(select(SignIn.device))) == ["29", "29"]
        assert await db.scalar(select(AuditEvent.id).where(AuditEvent.action == "old"))
