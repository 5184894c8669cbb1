"""Corrections of verified fields: asked for by one, decided by another, with old and new value."""

from datetime import date, timedelta

import pytest
from sqlalchemy import select, text

from app import clock
from app.access import visible
from app.db import new_id
from app.errors import Invalid, NotFound, StaleVersion, WrongState
from app.journey import resident_number
from app.models.audit import AuditEvent
from app.models.corrections import Correction, CorrectionField, CorrectionStatus
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import DocumentKind, FamilyType, HukouType, Membership, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.services import corrections, identity, moves
from app.services.corrections.changes import CHANGE
from app.services.documents import DocumentNotValid
from app.services.households import family_types
from app.services.idempotency import Key
from tests.explain import Explain
from tests.factories import appointments as made
from tests.factories import families
from tests.factories.families import EAST, WEST
from tests.residents import NEXT_COUNTY_TOWN

pytestmark = pytest.mark.usefixtures("connection")
F = CorrectionField
TOWN = made.REGION


def document(number, kind="resident_id"):
    return {"kind": kind, "number": number}


async def village(session, region=TOWN):
    return await made.worker(session, region, Role.VILLAGE_WORKER)


async def office(session, region=TOWN):
    return await made.worker(session, region, Role.TOWNSHIP_OFFICER)


async def ask(session, actor, subject, field, value, *, evidence="户口本"):
    return await corrections.request(
        session, actor, key=Key(new_id(), b"one"), subject_id=subject.id,
        change=CHANGE.validate_python({"field": field, "value": value}), evidence=evidence,
    )  # fmt: skip


async def approve(session, actor, asked):
    return await corrections.approve(session, actor, id=asked.id, version=asked.version)


@pytest.mark.parametrize(
    ("field", "value", "after"),
    [
        (F.NAME, "李秀瑛", "李秀瑛"),
        (F.BIRTH_DATE, "1995-06-11", date(1995, 6, 11)),
        (F.HUKOU_REGION_CODE, NEXT_COUNTY_TOWN, NEXT_COUNTY_TOWN),
        (F.HUKOU_TYPE, "urban", HukouType.URBAN),
        (F.RESIDENT_SINCE, "2021-02-03", date(2021, 2, 3)),
        (F.PHONE, "13900000009", "13900000009"),
    ],
)
async def test_an_approved_correction_changes_its_field(session, field, value, after):
    family = await made.couple(session)
    asked = await ask(session, await village(session), family.wife, field, value)
    before = getattr(family.wife, field)
    assert asked.status is CorrectionStatus.OPEN
    done = await approve(session, await office(session), asked)
    assert (done.status, done.version) == (CorrectionStatus.APPROVED, 2)
    await session.refresh(family.wife)
    assert before != after == getattr(family.wife, field)


async def test_a_corrected_name_sounds_as_it_is_written(session):
    family = await made.couple(session)
    await approve(
        session, await office(session), await ask(session, family.wife_actor, family.wife, F.NAME, "曾小乐")
    )
    await session.refresh(family.wife)
    assert (family.wife.pinyin, family.wife.initials) == ("zeng xiao le", "zxl")


async def test_a_corrected_document_brings_birth_date_and_sex_and_is_found_again(session):
    family = await made.couple(session)
    number = resident_number(date(1996, 7, 8), female=True)
    asked = await ask(session, family.wife_actor, family.wife, F.DOCUMENT, document(number.lower()))
    await approve(session, await office(session), asked)
    wife = family.wife
    await session.refresh(wife)
    assert (wife.document_number, wife.document_kind) == (number, DocumentKind.RESIDENT_ID)
    assert (wife.birth_date, wife.sex) == (date(1996, 7, 8), Sex.FEMALE)
    found, new = await identity.register_person(
        session, name=wife.name, document=corrections.changes.documents.read(wife.document_kind, number),
        birth_date=wife.birth_date, sex=wife.sex,
    )  # fmt: skip
    assert (found.id, new) == (wife.id, False)


async def test_the_handbook_keeps_old_and_new_sealed_and_no_text(session):
    family = await made.couple(session)
    number = resident_number(date(1996, 7, 8), female=True)
    old = family.wife.document_number
    asked = await ask(session, family.wife_actor, family.wife, F.DOCUMENT, document(number))
    await approve(session, await office(session), asked)
    step = await session.scalar(select(HouseholdEvent).where(HouseholdEvent.kind == "correction_approved"))
    assert (step.note, step.person_id, step.household_id) == (
        "document",
        family.wife.id,
        family.household.id,
    )
    content = (await session.get_one(HandbookDetail, step.detail_id)).content
    for part in (old, number, '"1995-06-01"', '"1996-07-08"', "户口本"):
        assert part in content
    row = await session.get_one(Correction, asked.id)
    for sealed in (row.old_sealed, row.new_sealed, row.evidence_sealed):
        assert number.encode() not in sealed


@pytest.mark.parametrize(
    ("field", "value"),
    [(F.BIRTH_DATE, "1996-07-09"), (F.SEX, "male"), (F.DOCUMENT, document("640104199607080021"))],
)
async def test_what_the_document_contradicts_is_refused_at_once(session, field, value):
    """GB 11643: the number carries birth date and sex, and checks itself."""
    family = await made.couple(session)
    worker, officer = await village(session), await office(session)
    number = resident_number(date(1996, 7, 8), female=True)
    await approve(session, officer, await ask(session, worker, family.wife, F.DOCUMENT, document(number)))
    await session.refresh(family.wife)
    with pytest.raises((Invalid, DocumentNotValid)) as refusal:
        await ask(session, worker, family.wife, field, value)
    assert refusal.value.errors[0]["pointer"].startswith("/change/value")


async def test_a_wife_does_not_become_a_man_by_her_document(session):
    family = await made.couple(session)
    worker = await village(session)
    with pytest.raises(corrections.SexContradictsMarriage):
        await ask(session, worker, family.wife, F.SEX, "male")
    number = resident_number(date(1996, 7, 8), female=False)
    with pytest.raises(corrections.SexContradictsMarriage):
        await ask(session, worker, family.wife, F.DOCUMENT, document(number))


async def test_a_document_of_somebody_else_shows_at_the_approval_only(session):
    """Whoever tries out numbers leaves a request of each: an answer that rolls back would leave nothing."""
    family, other = await made.couple(session), await made.couple(session)
    taken = document(other.wife.document_number, "passport")
    asked = await ask(session, await village(session), family.wife, F.DOCUMENT, taken)
    seen = select(AuditEvent.id).where(AuditEvent.person_id == family.wife.id)
    assert list(await session.scalars(seen.where(AuditEvent.action == "correction_requested")))
    with pytest.raises(corrections.DocumentRegistered) as refusal:
        await approve(session, await office(session), asked)
    assert refusal.value.extensions == {"office": "兴庆区凤凰北街街道"}


async def test_a_housemate_guesses_nothing_that_is_masked(session):
    family = await made.couple(session)
    identity.set_phone(family.husband, "13912345678")
    await session.flush()
    asked = await ask(session, family.wife_actor, family.husband, F.PHONE, "13912345678")
    assert asked.status is CorrectionStatus.OPEN
    with pytest.raises(Invalid):
        await ask(session, family.husband_actor, family.husband, F.PHONE, "13912345678")


async def test_the_type_of_the_family_follows_a_correction(session):
    family = await made.couple(session)
    await family_types.settle(session, [family.household.id])
    assert family.household.family_type is FamilyType.DEVELOPING
    for spouse in (family.wife, family.husband):
        asked = await ask(session, await village(session), spouse, F.BIRTH_DATE, "1940-01-02")
        await approve(session, await office(session), asked)
    await session.refresh(family.household)
    assert family.household.family_type is FamilyType.ELDERLY


async def test_who_has_left_sees_no_more_what_was_asked_for_a_housemate(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor, family.husband, F.PHONE, "13900000001")
    seen = await corrections.own(session, family.wife_actor, before=None, limit=9)
    assert [row.id for row in seen] == [asked.id]
    await identity.release(session, await village(session), family.wife)
    await session.flush()
    assert await corrections.own(session, family.wife_actor, before=None, limit=9) == []
    with pytest.raises(NotFound):
        await corrections.withdraw(session, family.wife_actor, id=asked.id, version=asked.version)


async def test_who_is_to_be_erased_is_in_no_list(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor, family.wife, F.NAME, "李秀瑛")
    family.wife.restricted_at = clock.now()
    await session.flush()
    county = await made.worker(session, made.COUNTY, Role.COUNTY_ADMINISTRATOR)
    for who, expected in ((await office(session), []), (county, [asked.id])):
        rows = await corrections.listing(session, who, status=CorrectionStatus.OPEN, after=None, limit=9)
        assert [row.id for row in rows] == expected


async def test_what_changed_meanwhile_is_shown_masked_and_not_overwritten(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor, family.wife, F.PHONE, "13900000001")
    identity.set_phone(family.wife, "13912345678")
    await session.flush()
    with pytest.raises(corrections.FieldChanged) as refusal:
        await approve(session, await office(session), asked)
    assert refusal.value.extensions == {"value_now": "139****5678"}
    assert family.wife.phone == "13912345678"


async def test_nobody_decides_on_the_own_request_and_a_village_about_a_phone_only(session):
    family = await made.couple(session)
    worker, officer = await village(session), await office(session)
    name = await ask(session, officer, family.wife, F.NAME, "李秀瑛")
    with pytest.raises(corrections.OwnRequest):
        await approve(session, officer, name)
    with pytest.raises(corrections.DecidedByOffice):
        await approve(session, worker, name)
    own = await ask(session, worker, family.wife, F.PHONE, "13900000001")
    with pytest.raises(corrections.OwnRequest):
        await approve(session, worker, own)
    resident = await ask(session, family.husband_actor, family.husband, F.PHONE, "13900000002")
    assert (await approve(session, worker, resident)).status is CorrectionStatus.APPROVED


async def bound_to(session, person):
    return await session.scalar(
        select(ResidentAccount.id)
        .where(ResidentAccount.person_id == person.id)
        .execution_options(populate_existing=True)
    )


async def test_a_phone_releases_the_account_unless_that_asked_for_it(session):
    """Who binds next does so with the new phone: as strict as when a worker sets it."""
    family = await made.couple(session)
    worker, officer = await village(session), await office(session)
    own = await ask(session, family.wife_actor, family.wife, F.PHONE, "13900000001")
    await approve(session, officer, own)
    assert await bound_to(session, family.wife) == family.wife_actor.id
    by_spouse = await ask(session, family.wife_actor, family.husband, F.PHONE, "13900000002")
    await approve(session, officer, by_spouse)
    assert await bound_to(session, family.husband) is None
    by_worker = await ask(session, worker, family.wife, F.PHONE, "13900000003")
    await approve(session, officer, by_worker)
    assert await bound_to(session, family.wife) is None


@pytest.mark.parametrize(
    ("field", "value"), [(F.NAME, "李秀瑛"), (F.DOCUMENT, document("E12345678", "passport"))]
)
async def test_a_corrected_name_or_document_leaves_the_binding(session, field, value):
    family = await made.couple(session)
    await approve(
        session, await office(session), await ask(session, family.wife_actor, family.wife, field, value)
    )
    assert await bound_to(session, family.wife) == family.wife_actor.id


async def test_a_field_has_one_open_request(session):
    family = await made.couple(session)
    worker = await village(session)
    first = await ask(session, worker, family.wife, F.NAME, "李秀瑛")
    await ask(session, worker, family.wife, F.HUKOU_TYPE, "urban")
    async with session.begin_nested() as attempt:
        with pytest.raises(Exception, match="uq_correction_person_id_field_open"):
            await ask(session, family.wife_actor, family.wife, F.NAME, "李秀英子")
        await attempt.rollback()
    await corrections.withdraw(session, worker, id=first.id, version=first.version)
    again = await ask(session, family.wife_actor, family.wife, F.NAME, "李秀英子")
    assert again.status is CorrectionStatus.OPEN


async def test_only_who_asked_takes_it_back_and_only_while_it_is_open(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor, family.wife, F.NAME, "李秀瑛")
    worker = await village(session)
    with pytest.raises(corrections.NotYours):
        await corrections.withdraw(session, worker, id=asked.id, version=1)
    with pytest.raises(StaleVersion):
        await corrections.withdraw(session, family.wife_actor, id=asked.id, version=2)
    gone = await corrections.withdraw(session, family.wife_actor, id=asked.id, version=1)
    with pytest.raises(WrongState):
        await approve(session, await office(session), gone)


async def test_a_rejection_says_why_to_who_asked_and_changes_nothing(session):
    family = await made.couple(session)
    asked = await ask(session, family.wife_actor, family.wife, F.NAME, "李秀瑛")
    officer = await office(session)
    told = await corrections.reject(session, officer, id=asked.id, version=1, reason="照片不清楚")
    assert (told.status, told.reason) == (CorrectionStatus.REJECTED, None)
    [mine] = await corrections.own(session, family.wife_actor, before=None, limit=10)
    assert mine.reason == "照片不清楚"
    await session.refresh(family.wife)
    assert family.wife.name == "李秀英"


async def test_a_list_is_masked_and_ends_at_the_region(session):
    family = await made.couple(session)
    await ask(session, family.wife_actor, family.wife, F.DOCUMENT, document("E12345678", "passport"))
    await ask(session, family.wife_actor, family.household, F.ADDRESS, "凤凰北街 8 号 3 单元 201")
    [first, second] = await corrections.listing(
        session, await village(session), status=CorrectionStatus.OPEN, after=None, limit=10
    )
    assert (first.name, first.new) == ("李*英", "E*******8")
    assert (second.name, second.new) == (None, "凤凰北街***")
    [later] = await corrections.listing(
        session,
        await office(session),
        status=CorrectionStatus.OPEN,
        after=(first.requested_at, first.id),
        limit=9,
    )
    assert later.id == second.id
    abroad = await office(session, NEXT_COUNTY_TOWN)
    assert not await corrections.listing(session, abroad, status=CorrectionStatus.OPEN, after=None, limit=10)
    with pytest.raises(NotFound):
        await corrections.unmask(session, abroad, id=first.id, purpose="complaint")
    shown = await corrections.unmask(session, await office(session), id=first.id, purpose="verification")
    assert (shown.name, shown.new, shown.evidence) == (
        "李秀英", {"kind": "passport", "number": "E12345678"}, "户口本",
    )  # fmt: skip


async def open_in(session, region):
    who = await village(session, region)
    rows = await corrections.listing(session, who, status=CorrectionStatus.OPEN, after=None, limit=10)
    return {row.field for row in rows}


async def two_requests(session):
    """One about a person, one about a household."""
    family = await families.family(session)
    await ask(session, family.wife_actor, family.wife, F.NAME, "李秀瑛")
    await ask(session, family.wife_actor, family.household, F.ADDRESS, "东村 8 号")
    return family


async def test_what_is_asked_for_goes_with_a_household_that_moves(session):
    family = await two_requests(session)
    assert await open_in(session, EAST) == {F.NAME, F.ADDRESS}
    plan = moves.ProposeMove(
        household_id=family.household.id, version=family.household.version, to_region_code=WEST,
        address="西村 5 号", moved_on=clock.today(),
    )  # fmt: skip
    await moves.propose(session, await office(session), key=Key(new_id(), b"move"), plan=plan)
    assert await open_in(session, EAST) == set()
    assert await open_in(session, WEST) == {F.NAME, F.ADDRESS}


async def test_what_is_asked_for_somebody_dead_stays_where_it_is_until_that_was_a_mistake(session):
    family = await two_requests(session)
    worker = await village(session, EAST)
    event = await families.happens(
        session, worker, family.household.id, "death", person_id=family.wife.id, on=str(clock.today())
    )
    assert await open_in(session, EAST) == {F.NAME, F.ADDRESS}
    plan = moves.ProposeMove(
        household_id=family.household.id, version=family.household.version, to_region_code=WEST,
        address="西村 5 号", moved_on=clock.today(),
    )  # fmt: skip
    await moves.propose(session, await office(session), key=Key(new_id(), b"move"), plan=plan)
    assert (await open_in(session, EAST), await open_in(session, WEST)) == ({F.NAME}, {F.ADDRESS})
    await families.annulled(session, await village(session, WEST), event)
    assert (await open_in(session, EAST), await open_in(session, WEST)) == (set(), {F.NAME, F.ADDRESS})


async def test_who_has_not_come_after_all_has_nothing_to_be_corrected(session):
    family, worker = await families.family(session), await village(session, EAST)
    event = await families.happens(
        session, worker, family.household.id, "birth", child=families.newcomer()
    )  # fmt: skip
    child = await session.get_one(Person, event.person_id)
    asked = await ask(session, worker, child, F.NAME, "王平安")
    await families.annulled(session, worker, event)
    row = await session.get_one(Correction, asked.id, populate_existing=True)
    assert (row.status, row.version) == (CorrectionStatus.WITHDRAWN, 2)


@pytest.mark.parametrize("status", [CorrectionStatus.OPEN, CorrectionStatus.APPROVED])
async def test_the_list_of_a_village_is_read_by_its_region(session, status):
    await session.execute(text("SET LOCAL enable_seqscan = off"))
    others = "ix_correction_status, uq_correction_person_id_field_open, uq_correction_household_id_field_open"
    await session.execute(text(f"DROP INDEX {others}"))
    worker = await village(session)
    query = select(Correction.id).where(visible(worker, Correction), Correction.status == status)
    plan = "\n".join(await session.scalars(Explain(query)))
    assert "ix_correction_region_code" in plan, plan
    assert "SubPlan" not in plan, plan


async def test_the_address_of_a_household_is_corrected(session):
    family = await made.couple(session)
    family.household.address = "凤凰北街 8 号"
    asked = await ask(session, family.husband_actor, family.household, F.ADDRESS, "凤凰北街 9 号")
    await approve(session, await office(session), asked)
    await session.refresh(family.household)
    assert (family.household.address, family.household.version) == ("凤凰北街 9 号", 3)


async def test_a_stranger_asks_nothing_and_nobody_about_somebody_who_left(session):
    family, stranger = await made.couple(session), await made.couple(session)
    with pytest.raises(NotFound):
        await ask(session, stranger.wife_actor, family.wife, F.NAME, "李秀瑛")
    asked = await ask(session, family.wife_actor, family.wife, F.NAME, "李秀瑛")
    membership = await session.scalar(select(Membership).where(Membership.person_id == family.wife.id))
    membership.valid_to = clock.today()
    await session.flush()
    with pytest.raises(WrongState):
        await approve(session, await office(session), asked)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (F.NAME, "李秀英"),
        (F.HUKOU_REGION_CODE, "999999999999"),
        (F.RESIDENT_SINCE, str(clock.today() + timedelta(days=1))),
        (F.BIRTH_DATE, "1889-12-31"),
        (F.DOCUMENT, document("E 1", "passport")),
    ],
)
async def test_what_cannot_be_is_refused_at_its_place(session, field, value):
    family = await made.couple(session)
    with pytest.raises(Invalid) as refusal:
        await ask(session, await village(session), family.wife, field, value)
    assert refusal.value.errors[0]["pointer"].startswith("/change/value")


async def test_the_same_request_twice_asks_once(session):
    family, worker = await made.couple(session), await village(session)
    key = Key(new_id(), b"one")
    change = CHANGE.validate_python({"field": "name", "value": "李秀瑛"})
    for _ in range(2):
        asked = await corrections.request(
            session, worker, key=key, subject_id=family.wife.id, change=change, evidence="户口本"
        )
        assert asked.id == key.id
    assert len(list(await session.scalars(select(Correction.id)))) == 1
