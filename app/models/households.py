"""The registry: households, people, who belongs where, couples, dated categories. Nothing is deleted."""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from app import names
from app.crypto import Sealed, SealedList
from app.db import Base


class HouseholdStatus(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    RETURNED = "returned"
    ACTIVE = "active"
    MOVED_OUT = "moved_out"
    CLOSED = "closed"


ALIVE = ("died_on", "restricted_at")
PENDING = (HouseholdStatus.DRAFT, HouseholdStatus.SUBMITTED, HouseholdStatus.RETURNED)


class FamilyType(StrEnum):
    """发展型 / 稳定型 / 老年型 / 新市民."""

    DEVELOPING = "developing"
    STABLE = "stable"
    ELDERLY = "elderly"
    NEW_CITIZEN = "new_citizen"


class Sex(StrEnum):
    MALE = "male"
    FEMALE = "female"


class DocumentKind(StrEnum):
    """Document kinds of the national pre-pregnancy system, codes 1–5 and 99."""

    RESIDENT_ID = "resident_id"
    RESIDENCE_PERMIT = "residence_permit"
    PERMANENT_RESIDENT = "permanent_resident"
    PASSPORT = "passport"
    OFFICER = "officer"
    HOUSEHOLD_BOOK = "household_book"


class HukouType(StrEnum):
    RURAL = "rural"
    URBAN = "urban"


class Relation(StrEnum):
    """To the head of the household (GB/T 4761)."""

    HEAD = "head"
    SPOUSE = "spouse"
    CHILD = "child"
    PARENT = "parent"
    OTHER = "other"


class Household(Base):
    """Until it is verified a household is a form: one sealed document, replaced as a whole. Verification
    turns the form into people, memberships, a couple and categories, and empties it."""

    __tablename__ = "household"
    __table_args__ = (
        Index("ix_household_region_code_status", "region_code", "status", "id"),
        Index("ix_household_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("ix_household_family_type", "family_type", "region_code", "status", "id"),
        Index(
            "uq_household_account_id_pending",
            "account_id",
            unique=True,
            postgresql_where=text("status IN ('draft', 'submitted', 'returned')"),
        ),
        Index(
            # The number first: sought in a whole county it is one look, not one in each village.
            "uq_household_region_code_local_number_active",
            "local_number",
            "region_code",
            unique=True,
            postgresql_include=["id"],
            postgresql_where=text("local_number IS NOT NULL AND status = 'active'"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Identity(start=100001), unique=True)
    local_number: Mapped[str | None]  # the village's own 户编号
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    account_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("resident_account.id"))
    status: Mapped[HouseholdStatus]
    family_type: Mapped[FamilyType | None]
    # Whoever decided otherwise than the rule, and why; the rule leaves such a household alone.
    family_type_overridden_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    family_type_reason_sealed: Mapped[bytes | None]
    family_type_reason = Sealed()
    address_sealed: Mapped[bytes | None]
    address = Sealed()
    form_sealed: Mapped[bytes | None]
    form = Sealed()
    marks_sealed: Mapped[bytes | None]
    #: What to correct, each with its pointer and a note.
    marks = SealedList()
    submitted_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    verified_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("staff_account.id"))
    import_batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("import_batch.id"))
    merged_into: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}

    @property
    def by_rule(self) -> bool:
        """Whether its family type is the rule's."""
        return self.family_type_overridden_by is None


class Person(Base):
    """Two people never share a document: the blind index is unique per kind and number.

    `region_code` is where the person is counted and served: that of the household of the active membership, and
    null without one. It changes in the transaction that changes either, so that nobody is counted twice."""

    __tablename__ = "person"
    __table_args__ = (
        UniqueConstraint("document_index", name="uq_person_document_index"),
        Index("ix_person_phone_index", "phone_index"),
        # Included is what a count asks of each: counting a thousand reads no person.
        Index(
            "ix_person_region_code",
            "region_code",
            "id",
            postgresql_include=["name", "birth_date", "sex", *ALIVE],
        ),
        Index("ix_person_name_prefix", "name", "region_code", "id", postgresql_include=ALIVE),
        Index("ix_person_birth_date", "birth_date", "region_code", "id", postgresql_include=["sex", *ALIVE]),
        Index("ix_person_pinyin_birth_date", "pinyin", "birth_date"),
        Index("ix_person_created_at", "created_at", "id"),
        Index("ix_person_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("ix_person_sound_prefix", text("replace(pinyin, ' ', '')"), "region_code", "id"),
        Index("ix_person_initials_prefix", "initials", "region_code", "id"),
        Index(
            "ix_person_migrant",
            "region_code",
            "id",
            postgresql_where=text("left(hukou_region_code, 6) <> left(region_code, 6)"),
        ),
        Index("ix_person_restricted", "id", postgresql_where=text("restricted_at IS NOT NULL")),
        # Who follows when a division ends.
        Index("ix_person_hukou_region_code", "hukou_region_code"),
        # Who is registered in one county and lives in another.
        Index(
            "ix_person_hukou_region_code_away",
            "hukou_region_code",
            "id",
            postgresql_where=text('"left"(region_code, 6) <> "left"(hukou_region_code, 6)'),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    region_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    # By code point: an index in the database's own collation does not serve prefixes.
    name: Mapped[str] = mapped_column(Text(collation="C"))
    pinyin: Mapped[str] = mapped_column(Text(collation="C"))
    initials: Mapped[str] = mapped_column(Text(collation="C"))
    sex: Mapped[Sex]
    birth_date: Mapped[date]
    document_kind: Mapped[DocumentKind]
    document_number_sealed: Mapped[bytes]
    document_number = Sealed()
    document_index: Mapped[bytes]
    phone_sealed: Mapped[bytes | None]
    phone = Sealed()
    phone_index: Mapped[bytes | None]
    hukou_region_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"))
    hukou_type: Mapped[HukouType | None]
    resident_since: Mapped[date | None]
    died_on: Mapped[date | None]
    # The same person as that one, always in one step: see services/duplicates.
    merged_into: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    import_batch_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("import_batch.id"))
    # Since when nothing is done with the data but storing (PIPL art. 47); since when it is nobody's any more.
    restricted_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}

    @validates("name")
    def _sounds(self, _: str, name: str) -> str:
        self.pinyin = names.pinyin(name)
        self.initials = names.initials(self.pinyin)
        return name


class Membership(Base):
    """A person has one active membership at a time."""

    __tablename__ = "membership"
    __table_args__ = (
        Index(
            "uq_membership_person_id_active",
            "person_id",
            unique=True,
            postgresql_where=text("valid_to IS NULL"),
        ),
        Index("ix_membership_household_id", "household_id"),
        Index("ix_membership_person_id", "person_id"),
        CheckConstraint("valid_to >= valid_from", name="period"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    household_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("household.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    relation: Mapped[Relation]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]


class Couple(Base):
    """A marriage. Each spouse has one at a time."""

    __tablename__ = "couple"
    __table_args__ = (
        Index("uq_couple_wife_id_active", "wife_id", unique=True, postgresql_where=text("valid_to IS NULL")),
        Index(
            "uq_couple_husband_id_active",
            "husband_id",
            unique=True,
            postgresql_where=text("valid_to IS NULL"),
        ),
        Index("ix_couple_wife_id", "wife_id"),
        Index("ix_couple_husband_id", "husband_id"),
        CheckConstraint("wife_id <> husband_id", name="two_people"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    wife_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    husband_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    plans_pregnancy: Mapped[bool]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]


class Category(Base):
    """A dated category of a person or a household, as verified: 领证独生子女, 特扶, 低保, 流动 …"""

    __tablename__ = "category"
    __table_args__ = (
        CheckConstraint("num_nonnulls(person_id, household_id) = 1", name="one_holder"),
        CheckConstraint("grade BETWEEN 1 AND 4", name="grade"),
        Index("ix_category_code", "code", "valid_to"),
        Index("ix_category_person_id", "person_id"),
        Index("ix_category_code_person_id", "code", "person_id", postgresql_where=text("valid_to IS NULL")),
        Index(
            "ix_category_code_household_id", "code", "household_id", postgresql_where=text("valid_to IS NULL")
        ),
        Index("ix_category_household_id", "household_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("category_definition.code"))
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("person.id"))
    household_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("household.id"))
    grade: Mapped[int | None]
    evidence_sealed: Mapped[bytes]
    evidence = Sealed()
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    verified_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))


class CategoryDefinition(Base):
    """The catalogue of categories."""

    __tablename__ = "category_definition"

    code: Mapped[str] = mapped_column(primary_key=True)
    zh: Mapped[str]
    en: Mapped[str]
    holder: Mapped[str]
