"""Residents: sign-in through WeChat, binding an account to a person, one's own file."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, exists, func, literal_column, or_, select, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app import clock, tokens
from app.access import Actor, fetch, own_person
from app.crypto import blind_index
from app.db import begin, new_id
from app.errors import Conflict, NotFound, TooMany, Unauthenticated
from app.integrations import wechat
from app.models.audit import AuditEvent
from app.models.consents import Consent
from app.models.households import DocumentKind, Membership, Person, Sex
from app.models.identity import CITIZEN_DOOR, ERASED, ResidentAccount, Role
from app.services import audit, documents, sign_ins, wechat_token

DOOR = CITIZEN_DOOR
REFUSALS, REFUSALS_WITHIN = 5, timedelta(hours=24)
BIND_REFUSED = literal_column("'bind_refused'", Text)  # in the statement itself: its index has this condition


class BindingRefused(Conflict, constraint="uq_resident_account_person_id"):
    """The document is bound to another account, or is known with another name, with another phone or with none.
    Which of these, and whose it is, stays unsaid: the answer must not help somebody who tries numbers."""

    zh, en = "无法绑定该证件", "This document cannot be bound here"
    do_zh = "请核对姓名、证件号码和登记的手机号；确属本人的，请携带证件到村（居）委会更正手机号；"
    do_zh += "尚未登记家庭的，可由家人登记并经核实"
    do_en = (
        "Check name, document and the phone on file. If it is yours, take it to your village office, which can set "
        "the phone; before your household is registered, a member of the family may register it"
    )


class AccountAlreadyBound(Conflict):
    zh, en = "您的微信已绑定身份", "This account is bound already"
    do_zh = "无需再次绑定；家庭经核实后，绑定有误的可请村（居）委会工作人员解除"
    do_en = (
        "No need to bind again; once the household is verified, a village worker can release a wrong binding"
    )


class NotBound(Conflict):
    zh, en = "请先完成实名绑定", "Bind your identity first"
    do_zh, do_en = "请填写姓名、证件号码并授权手机号", "Give name, document and phone first"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a resident says to be. Birth date and sex only where the document does not carry them."""

    name: str
    document_kind: DocumentKind
    document_number: str
    phone_code: str
    birth_date: date | None = None
    sex: Sex | None = None


def actor_of(token: str) -> Actor:
    """Without a look at the database: the booking rush is one round trip, and the token lives 15 minutes."""
    claims = tokens.read_access(DOOR, token)
    return Actor(Role.RESIDENT, id=claims.account_id, sign_in_id=claims.sign_in_id)


async def sign_in(*, code: str, device: str) -> sign_ins.TokenPair:
    """A `wx.login` code for a token pair. The first sign-in makes the account."""
    openid = await wechat.code_to_session(code)
    async with begin() as db:
        made = insert(ResidentAccount).values(id=new_id(), openid=openid, created_at=clock.now())
        await db.execute(made.on_conflict_do_nothing())
        account_id = await db.scalar(select(ResidentAccount.id).where(ResidentAccount.openid == openid))
        assert account_id is not None
        actor = Actor(Role.RESIDENT, id=account_id)
        return await sign_ins.start(db, actor, door=DOOR, account_id=account_id, device=device)


async def bind(actor: Actor, *, claimed: Identity) -> Person:
    """Bind the account to the person of this document: one already known by the blind index, or a new one. The
    phone number comes from WeChat, asked before any transaction is open. A refusal is recorded in the
    transaction that found it, which commits."""
    document = documents.read(claimed.document_kind, claimed.document_number)
    born, sex = documents.person_facts(document, birth_date=claimed.birth_date, sex=claimed.sex)
    phone = await wechat_token.call(lambda token: wechat.phone_number(token, claimed.phone_code))
    async with begin() as db:
        account = await _account(db, actor)
        if account.person_id is not None:
            raise AccountAlreadyBound
        await require_patience(db, actor, BIND_REFUSED)
        person, new = await register_person(
            db, name=claimed.name, document=document, birth_date=born, sex=sex
        )
        refused = not new and not await _may_bind(db, person, claimed.name, phone)
        if not refused:
            set_phone(person, phone)
            account.person_id, account.bound_at = person.id, clock.now()
        action = "bind_refused" if refused else "bind"
        await audit.record(db, actor, action, "person", person.id, people=[person.id])
    if refused:
        raise BindingRefused
    return person


async def _account(db: AsyncSession, actor: Actor) -> ResidentAccount:
    query = select(ResidentAccount).where(ResidentAccount.id == actor.account_id).with_for_update()
    account = await db.scalar(query)
    if account is None:
        raise NotFound
    if account.openid.startswith(ERASED):  # the token lives on for some minutes
        raise Unauthenticated
    return account


async def require_patience(db: AsyncSession, actor: Actor, missed: ColumnElement[str]) -> None:
    """Whoever tries out names and numbers may do so five times a day. The account is locked meanwhile."""
    refused = select(func.count()).where(
        AuditEvent.actor_id == actor.account_id,
        AuditEvent.action == missed,
        AuditEvent.at > clock.now() - REFUSALS_WITHIN,
    )
    if (await db.scalar(refused) or 0) >= REFUSALS:
        raise TooMany


async def _may_bind(db: AsyncSession, person: Person, name: str, phone: str) -> bool:
    """Who is known already is bound only with the name and the phone on file, since a file may hold health data.
    With no phone on file nobody is."""
    bound = await db.scalar(select(ResidentAccount.id).where(ResidentAccount.person_id == person.id))
    return bound is None and person.name == name and person.phone_index == phone_index(phone)


def phone_index(phone: str | None) -> bytes | None:
    return None if phone is None else blind_index("phone", phone)


def set_phone(person: Person, phone: str | None) -> None:
    person.phone, person.phone_index = phone, phone_index(phone)


async def release(db: AsyncSession, actor: Actor, person: Person, *, purpose: str | None = None) -> None:
    """The account bound to this person, if any, is bound no more. Its devices are signed out, and what it agreed
    to in the person's name ends: who binds next is asked again."""
    account = await db.scalar(
        select(ResidentAccount).where(ResidentAccount.person_id == person.id).with_for_update()
    )
    if account is None:
        return
    account.person_id = account.bound_at = None
    await sign_ins.revoke_all(db, actor, door=DOOR, account_id=account.id)
    given = update(Consent).where(
        Consent.person_id == person.id, Consent.guardian_id.is_(None), Consent.withdrawn_at.is_(None)
    )
    await db.execute(given.values(withdrawn_at=clock.now()))
    await audit.record(db, actor, "release_binding", "person", person.id, people=[person.id], purpose=purpose)


async def was_member(db: AsyncSession, person: Person) -> bool:
    """Whether a worker has seen this person's papers before."""
    return await db.scalar(select(exists().where(Membership.person_id == person.id))) or False


async def take_over(
    db: AsyncSession, actor: Actor, person: Person, *, name: str, birth_date: date, sex: Sex, phone: str | None,
    vouched: bool = False,
) -> None:  # fmt: skip
    """Nobody has seen the papers of who is known only from an account: what they say wins. An account that claimed
    another name or phone, or a phone that nobody confirms, is bound no more, unless its phone is vouched for."""
    bound_as = person.name, person.phone_index
    person.name, person.birth_date, person.sex = name, birth_date, sex
    if vouched:
        return
    set_phone(person, phone)
    if bound_as != (person.name, person.phone_index):
        await release(db, actor, person)


async def release_binding(
    db: AsyncSession, actor: Actor, *, person_id: uuid.UUID, phone: str, purpose: str
) -> None:
    """For a changed phone or a binding by somebody else: the worker has seen the document, and puts on file the
    phone with which the person can bind again."""
    await put_phone(db, actor, await fetch(db, actor, Person, person_id, lock=True), phone, purpose=purpose)


async def put_phone(db: AsyncSession, actor: Actor, person: Person, phone: str, *, purpose: str) -> None:
    set_phone(person, phone)
    await audit.record(db, actor, "set_phone", "person", person.id, people=[person.id], purpose=purpose)
    await release(db, actor, person, purpose=purpose)


async def register_person(
    db: AsyncSession, *, name: str, document: documents.Document, birth_date: date, sex: Sex
) -> tuple[Person, bool]:
    """The person of this document, and whether just made. Two registrations at once meet at the unique index."""
    person = Person(id=new_id(), name=name, sex=sex, birth_date=birth_date, document_kind=document.kind)
    person.document_number = document.number
    values = {
        "id": person.id, "name": name, "pinyin": person.pinyin, "initials": person.initials,
        "sex": sex, "birth_date": birth_date, "document_kind": document.kind,
        "document_number_sealed": person.document_number_sealed, "document_index": document.index,
        "created_at": clock.now(),
    }  # fmt: skip
    await db.execute(
        insert(Person).values(values).on_conflict_do_nothing(constraint="uq_person_document_index")
    )
    found = await db.scalars(select(Person).where(Person.document_index == document.index).with_for_update())
    known = found.one()
    if known.merged_into is not None:
        kept = await db.scalars(select(Person).where(Person.id == known.merged_into).with_for_update())
        known = kept.one()
    return known, known.id == person.id


async def hold(db: AsyncSession, held: Iterable[documents.Document]) -> None:
    """Locks those who are known by these documents, in the order of their ids like everybody who locks people."""
    await db.execute(known_by(held).order_by(Person.id).with_for_update())


def known_by(held: Iterable[documents.Document]) -> Select[uuid.UUID]:
    """Whoever was registered with one of these documents, and into whom they were merged."""
    written = aliased(Person)
    theirs = written.document_index.in_([document.index for document in held])
    ids: Any = union(select(written.id).where(theirs), select(written.merged_into).where(theirs))
    return select(Person.id).where(Person.id.in_(ids))


def bears(document: documents.Document) -> ColumnElement[bool]:
    """Whose document this is, as a condition on Person: of two who were merged the one who is kept."""
    written = aliased(Person)
    holder = select(func.coalesce(written.merged_into, written.id))
    return Person.id == holder.where(written.document_index == document.index).scalar_subquery()


async def holders(db: AsyncSession, indexes: Iterable[bytes]) -> dict[bytes, Person]:
    """Who is known by each document. The document of somebody who was merged into another is the other's."""
    written = aliased(Person)
    query = (
        select(written.document_index, Person)
        .join(Person, Person.id == func.coalesce(written.merged_into, written.id))
        .where(written.document_index.in_(set(indexes)))
    )
    return dict((await db.execute(query)).all())


def known_as(person_id: Any) -> Select[uuid.UUID]:
    """All ids under which somebody was ever registered: what is written once and never changed keeps the old one."""
    return select(Person.id).where(or_(Person.id == person_id, Person.merged_into == person_id))


async def former_ids(db: AsyncSession, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Who was merged into one of these, and into whom."""
    query = select(Person.id, Person.merged_into).where(Person.merged_into.in_(list(ids)))
    return {lost: kept for lost, kept in await db.execute(query) if kept is not None}


async def own(db: AsyncSession, actor: Actor) -> Person:
    """The resident's own person, or NotBound."""
    person = await db.scalar(select(Person).where(Person.id == own_person(actor)))
    if person is None:
        raise NotBound
    return person


async def own_id(db: AsyncSession, actor: Actor) -> uuid.UUID:
    return (await own(db, actor)).id
