"""What is written about somebody in sealed and free text, and what becomes of it in an erasure (PIPL art. 47)."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, case, literal, null, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.models.appointments import Appointment, AppointmentNote, Qualification
from app.models.corrections import Correction, CorrectionStatus
from app.models.duplicates import Merge, Suspicion
from app.models.follow_ups import FollowUp, FollowUpNote
from app.models.handbook import HandbookDetail, HouseholdEvent
from app.models.households import PENDING, Category, Household, HouseholdStatus, Membership, Person, Relation
from app.models.identity import ResidentAccount
from app.models.imports import ImportBatch, ImportRow, ImportStatus, Verdict
from app.models.messages import InboxMessage
from app.models.moves import Move
from app.models.rights import Erasure
from app.models.rosters import RosterMember, TrainingCertificate
from app.models.surveys import SurveyResponse
from app.services.households import belonging
from app.services.results.erasure import erase_attachments

NAME = "已注销"

#: Every sealed column of the schema that may speak of a person, and what becomes of it. A guard test compares.
SEALED: Mapping[str, str] = {
    "person.document_number_sealed": "replaced at random, and so is its index",
    "person.phone_sealed": "emptied",
    "category.evidence_sealed": "replaced by the word erased",
    "handbook_detail.content_sealed": "emptied",
    "correction.old_sealed": "emptied",
    "correction.new_sealed": "emptied",
    "correction.evidence_sealed": "emptied",
    "correction.reason_sealed": "emptied",
    "appointment_note.note_sealed": "emptied",
    "follow_up_note.place_sealed": "emptied",
    "follow_up_note.note_sealed": "emptied",
    "erasure.why_sealed": "emptied",
    "erasure.reason_sealed": "emptied",
    "suspicion.reason_sealed": "emptied",
    "merge.reason_sealed": "emptied",
    "merge.undo_reason_sealed": "emptied",
    "merge.changes_sealed": "kept: ids, dates and states of rows",
    "import_row.address_sealed": "emptied, like all that the line says",
    "import_row.document_number_sealed": "emptied, like all that the line says",
    "import_row.phone_sealed": "emptied, like all that the line says",
    "roster_member.phone_sealed": "emptied; who is still on a roster leaves it first",
    "household.form_sealed": "emptied, of one's own unverified registration",
    "household.marks_sealed": "emptied with it, and with the last member",
    "household.address_sealed": "emptied with the last member of a household that is no longer active",
    "household.family_type_reason_sealed": "emptied with the last member",
    "household_move.address_sealed": "emptied with the last member",
    "household_move.reason_sealed": "emptied with the last member",
    "survey_response.texts_sealed": "emptied with the last member",
    "report_version.conclusion_sealed": "kept: append-only, names nobody, and refers to nobody any more",
    "donation.donor_name_sealed": "emptied, and so are the name shown and the salt",
    "receipt_request.payer_sealed": "kept when the receipt was issued: of the books, as below; else emptied",
    "receipt_request.payer_number_sealed": "kept when the receipt was issued: of the books, as below; else emptied",
    "receipt_request.reason_sealed": "kept when the receipt was issued: of the books, as below; else emptied",
    "goods_delivery.purpose_sealed": "kept: append-only, of the books; what for, not to whom",
    "organization_donor.contact_sealed": "of a body, which names another",
    "organization_donor.phone_sealed": "of a body, which names another",
    "disbursement.payee_sealed": "kept when it was paid: of the books for 30 years（会计档案管理办法）; else emptied",
    "disbursement.bank_account_sealed": "the same; and no payment leads to the person any more",
    "disbursement_event.reason_sealed": "kept: append-only, of the books",
    "reconciliation_difference.note_sealed": "kept: of the books",
    "settlement.reason_sealed": "kept: of the books",
    "partner_message.body_sealed": "kept: a report has no place for names, and refers to nobody any more",
    "stored_file.name_sealed": "kept until the file expires",
    "stored_file_chunk.data_sealed": "kept until the file expires",
    "saved_filter.criteria_sealed": "a worker's own note of a search",
    "registry_export.criteria_sealed": "what a worker searched for: of the trail",
    "staff_account.totp_secret_sealed": "of a worker",
    "partner_key.secret_sealed": "of a hospital",
    "wechat_token.token_sealed": "of the association",
}

#: Every column of JSON, where a sealed value or a fact may hide, and what becomes of it. The same guard compares.
JSON: Mapping[str, str] = {
    "import_row.categories": "emptied: the evidence in it is sealed",
    "import_row.before": "emptied: the phone in it is sealed",
    "import_row.wrong": "kept: what was wrong with a cell, never what it said",
    "qualification.facts": "emptied",
    "inbox_message.values": "emptied",
    "erasure.holds": "kept: codes of duties and days",
    "follow_up.outcome": "kept: dates and codes, counted, and nobody's any more",
    "follow_up.recheck_items": "about nobody: codes of items",
    "risk_assessment.findings": "kept: codes, counted, and nobody's any more",
    "life_event.changes": "kept: append-only; ids, dates and states",
    "household_move.members": "kept: ids and relations",
    "suspicion.reasons": "kept: which facts agreed, not what they are",
    "survey_response.answers": "kept: choices and numbers of a household, counted",
    "survey_template.questions": "about nobody",
    "donation.goods": "kept: what was given and its value",
    "payment_notice.content": "kept: append-only, without the payer",
    "observation_definition.codes": "about nobody",
    "import_batch.counts": "about nobody",
    "import_batch.problem": "about nobody: numbers of households",
    "rule_version.body": "about nobody",
    "rotation_capacity.monthly": "about nobody",
    "region_statistic.figures": "about nobody",
    "station.rooms": "about nobody",
    "station.devices": "about nobody",
    "station.hours": "about nobody",
    "station.closed_days": "about nobody",
}

#: What a line of an imported list says of somebody.
SAID_IN_A_LIST: Mapping[str, Any] = dict.fromkeys(
    (
        "local_number", "address_sealed", "name", "pinyin", "initials", "birth_date", "document_number_sealed",
        "document_index", "phone_sealed", "phone_index", "hukou_region_code", "hukou_type", "resident_since",
        "married_since", "before",
    ),
    null(),
) | {"categories": []}  # fmt: skip
ERASED = {
    "column": "", "code": "erased", "zh": "已办理注销，请从名册中删除", "en": "erased: take this out of the list",
}  # fmt: skip
#: Of a list that is not in the registry yet.
WAITING = (ImportStatus.CHECKING, ImportStatus.CHECKED, ImportStatus.COMMITTING)


async def hold_homes(db: AsyncSession, person_id: uuid.UUID) -> None:
    """Every household that somebody belonged to, and the form under way, until the transaction ends: households are
    locked before people, and of two members who are erased at once the second finds the first gone."""
    belonged = select(Membership.household_id).where(Membership.person_id == person_id)
    form = select(Household.id).join(ResidentAccount, ResidentAccount.id == Household.account_id)
    form = form.where(ResidentAccount.person_id == person_id, Household.status.in_(PENDING))
    await belonging.lock(db, await db.scalars(belonged.union(form)))


async def empty(db: AsyncSession, person: Person) -> None:
    """Free text about this person; requests still open end."""
    mine = HandbookDetail.person_id == person.id
    await db.execute(update(HandbookDetail).where(mine).values(content_sealed=None))
    await db.execute(update(Qualification).where(Qualification.person_id == person.id).values(facts={}))
    await db.execute(update(InboxMessage).where(InboxMessage.person_id == person.id).values({"values": {}}))
    own = or_(Appointment.person_id == person.id, Appointment.spouse_id == person.id)
    noted = AppointmentNote.appointment_id.in_(select(Appointment.id).where(own))
    await db.execute(update(AppointmentNote).where(noted).values(note_sealed=None))
    tasks = select(FollowUp.id).where(FollowUp.person_id == person.id)
    written = update(FollowUpNote).where(FollowUpNote.follow_up_id.in_(tasks))
    await db.execute(written.values(place_sealed=None, note_sealed=None))
    for category in await db.scalars(select(Category).where(Category.person_id == person.id)):
        category.evidence = NAME
    await _empty_lists(db, person)
    await erase_attachments(db, person.id)
    for member in await db.scalars(select(RosterMember).where(RosterMember.person_id == person.id)):
        member.name, member.phone, member.post, member.staff_account_id = NAME, None, None, None
    roster = select(RosterMember.id).where(RosterMember.person_id == person.id)
    earned = update(TrainingCertificate).where(TrainingCertificate.member_id.in_(roster))
    await db.execute(earned.values(number=None))
    await _empty_duplicates(db, person)
    await _empty_requests(db, Correction.person_id == person.id)
    for asked in await db.scalars(select(Erasure).where(Erasure.person_id == person.id).with_for_update()):
        asked.why = asked.reason = None


def said_of(person: Person) -> ColumnElement[bool]:
    """By what a line made, whom it found known, or the document in it: an index each."""
    known = and_(ImportRow.person_id == person.id, ImportRow.person_id != ImportRow.id)
    return or_(ImportRow.id == person.id, known, ImportRow.document_index == person.document_index)


async def _empty_lists(db: AsyncSession, person: Person) -> None:
    """What is not in the registry yet does not come in; nor does a household that was to come in under this head."""
    said = said_of(person)
    waiting = ImportRow.batch_id.in_(select(ImportBatch.id).where(ImportBatch.status.in_(WAITING)))
    open_line = and_(ImportRow.verdict.in_([Verdict.READY, Verdict.WARNING]), waiting)
    headed = select(ImportRow.batch_id, ImportRow.household_id).where(
        said, ImportRow.relation == Relation.HEAD, ImportRow.joins.is_(None)
    )
    families = [tuple(row) for row in await db.execute(headed)]
    family = tuple_(ImportRow.batch_id, ImportRow.household_id).in_(families)
    wrong = ImportRow.wrong + literal([ERASED], JSONB)
    refused = update(ImportRow).where(family, ~said, open_line)
    await db.execute(refused.values(verdict=Verdict.REFUSED, wrong=wrong))
    verdict = case((open_line, literal(Verdict.REFUSED, ImportRow.verdict.type)), else_=ImportRow.verdict)
    told = case((open_line, wrong), else_=ImportRow.wrong)
    await db.execute(update(ImportRow).where(said).values(verdict=verdict, wrong=told, **SAID_IN_A_LIST))


async def _empty_duplicates(db: AsyncSession, person: Person) -> None:
    pair = or_(Suspicion.person_a == person.id, Suspicion.person_b == person.id)
    await db.execute(update(Suspicion).where(pair).values(reason_sealed=None))
    merged = or_(Merge.kept_person_id == person.id, Merge.lost_person_id == person.id)
    await db.execute(update(Merge).where(merged).values(reason_sealed=None, undo_reason_sealed=None))


async def _empty_requests(db: AsyncSession, about: Any) -> None:
    mine = update(Correction).where(about)
    emptied = dict.fromkeys(("old_sealed", "new_sealed", "evidence_sealed", "reason_sealed"))
    await db.execute(mine.values(version=Correction.version + 1, **emptied))
    open_ones = mine.where(Correction.status == CorrectionStatus.OPEN)
    await db.execute(open_ones.values(status=CorrectionStatus.WITHDRAWN))


async def empty_households(db: AsyncSession, person: Person) -> None:
    """Households that are no longer active, once nobody who ever belonged to them, or to the one into which they were
    merged, is left. The caller has locked them in an earlier statement: this one sees who has been erased
    meanwhile."""
    other, belonged, merged = aliased(Person), aliased(Membership), aliased(Household)
    left = (
        select(belonged.id)
        .join(other, other.id == belonged.person_id)
        .where(belonged.household_id.in_([Household.id, Household.merged_into]))
        .where(other.erased_at.is_(None), other.id != person.id)
    )
    homes = select(Membership.household_id).where(Membership.person_id == person.id)
    theirs = homes.union(select(merged.id).where(merged.merged_into.in_(homes)))
    query = select(Household).where(
        Household.id.in_(theirs), Household.status != HouseholdStatus.ACTIVE, ~left.exists()
    )
    for household in await db.scalars(query.order_by(Household.id)):
        household.address = household.family_type_reason = household.form = None
        household.marks = []
        await _empty_household(db, household)


async def _empty_household(db: AsyncSession, row: Household) -> None:
    details = select(HouseholdEvent.detail_id).where(HouseholdEvent.household_id == row.id)
    await db.execute(update(HandbookDetail).where(HandbookDetail.id.in_(details)).values(content_sealed=None))
    moves = update(Move).where(Move.household_id == row.id)
    await db.execute(moves.values(address_sealed=None, reason_sealed=None))
    answers = update(SurveyResponse).where(SurveyResponse.household_id == row.id)
    await db.execute(answers.values(texts_sealed=None))
    for category in await db.scalars(select(Category).where(Category.household_id == row.id)):
        category.evidence = NAME
    await _empty_requests(db, Correction.household_id == row.id)
