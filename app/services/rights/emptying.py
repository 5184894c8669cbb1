"""What is written about somebody in sealed and free text, and what becomes of it in an erasure (PIPL art. 47)."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.models.appointments import Qualification
from app.models.corrections import Correction, CorrectionStatus
from app.models.duplicates import Merge, Suspicion
from app.models.households import (
    Category,
    HandbookDetail,
    Household,
    HouseholdEvent,
    HouseholdStatus,
    Membership,
    Person,
)
from app.models.imports import ImportRow
from app.models.moves import Move
from app.models.rights import Erasure
from app.models.rosters import RosterMember
from app.models.surveys import SurveyResponse

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
    "household.address_sealed": "emptied with the last member of a household that is no longer active",
    "household.family_type_reason_sealed": "emptied with the last member",
    "household_move.address_sealed": "emptied with the last member",
    "household_move.reason_sealed": "emptied with the last member",
    "survey_response.texts_sealed": "emptied with the last member",
    "report_version.conclusion_sealed": "kept: append-only, names nobody, and refers to nobody any more",
    "partner_message.body_sealed": "kept: a report has no place for names, and refers to nobody any more",
    "stored_file.name_sealed": "kept until the file expires",
    "stored_file_chunk.data_sealed": "kept until the file expires",
    "saved_filter.criteria_sealed": "a worker's own note of a search",
    "registry_export.criteria_sealed": "what a worker searched for: of the trail",
    "staff_account.totp_secret_sealed": "of a worker",
    "partner_key.secret_sealed": "of a hospital",
    "wechat_token.token_sealed": "of the association",
}

#: What a line of an imported list says of somebody.
SAID_IN_A_LIST: Mapping[str, Any] = dict.fromkeys(
    (
        "address_sealed", "name", "pinyin", "initials", "birth_date", "document_number_sealed", "document_index",
        "phone_sealed", "phone_index", "before",
    )
)  # fmt: skip


async def empty(db: AsyncSession, person: Person) -> None:
    """Free text about this person; requests still open end."""
    mine = HandbookDetail.person_id == person.id
    await db.execute(update(HandbookDetail).where(mine).values(content_sealed=None))
    await db.execute(update(Qualification).where(Qualification.person_id == person.id).values(facts={}))
    for category in await db.scalars(select(Category).where(Category.person_id == person.id)):
        category.evidence = NAME
    lines = update(ImportRow).where(
        or_(ImportRow.person_id == person.id, ImportRow.document_index == person.document_index)
    )
    await db.execute(lines.values(**SAID_IN_A_LIST))
    for member in await db.scalars(select(RosterMember).where(RosterMember.person_id == person.id)):
        member.name, member.phone = NAME, None
    await _empty_duplicates(db, person)
    await _empty_requests(db, Correction.person_id == person.id)
    for asked in await db.scalars(select(Erasure).where(Erasure.person_id == person.id).with_for_update()):
        asked.why = asked.reason = None


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
    """Households that are no longer active, once nobody who ever belonged to them is left."""
    other, belonged = aliased(Person), aliased(Membership)
    left = (
        select(belonged.id)
        .join(other, other.id == belonged.person_id)
        .where(belonged.household_id == Household.id, other.erased_at.is_(None), other.id != person.id)
    )
    theirs = select(Membership.household_id).where(Membership.person_id == person.id)
    query = select(Household).where(
        Household.id.in_(theirs), Household.status != HouseholdStatus.ACTIVE, ~left.exists()
    )
    for household in await db.scalars(query.order_by(Household.id).with_for_update(of=Household)):
        household.address = household.family_type_reason = household.form = None
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
