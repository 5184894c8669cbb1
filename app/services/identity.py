"""Residents: sign-in through WeChat, binding an account to a person, one's own file."""

import uuid
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, tokens
from app.access import Actor, own_person
from app.crypto import blind_index
from app.db import begin, new_id
from app.errors import Conflict, NotFound
from app.integrations import wechat
from app.models.households import DocumentKind, Person, Sex
from app.models.identity import ResidentAccount, Role
from app.services import audit, documents, sign_ins, wechat_token

DOOR = "/citizen/v1"


class BindingRefused(Conflict, constraint="uq_resident_account_person_id"):
    """The document is bound to another account, or is known with another name or phone. Which of these, and
    whose it is, stays unsaid: the answer must not help somebody who tries numbers."""

    zh, en = "无法绑定该证件", "This document cannot be bound here"
    do_zh, do_en = (
        "如您确认是本人证件,请携带证件到村(居)委会办理",
        "If it is yours, take it to your village office",
    )


class AccountAlreadyBound(Conflict):
    zh, en = "您的微信已绑定身份", "This account is bound already"
    do_zh, do_en = "如需更换,请联系村(居)委会工作人员", "Ask your village worker to change it"


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
    """Bind the account to the person of this document: one already known by the blind index, or a new one. Who
    is known already is bound only with the name and the phone on file, since a file may hold health data. The
    phone number comes from WeChat, asked before any transaction is open."""
    document = documents.read(claimed.document_kind, claimed.document_number)
    born, sex = documents.person_facts(document, birth_date=claimed.birth_date, sex=claimed.sex)
    phone = await wechat_token.call(lambda token: wechat.phone_number(token, claimed.phone_code))
    async with begin() as db:
        account = await _account(db, actor)
        if account.person_id is not None:
            raise AccountAlreadyBound
        person = await register_person(db, name=claimed.name, document=document, birth_date=born, sex=sex)
        index = blind_index("phone", phone)
        if person.name != claimed.name or person.phone_index not in {None, index}:
            raise BindingRefused
        person.phone, person.phone_index = phone, index
        account.person_id, account.bound_at = person.id, clock.now()
        await audit.record(db, actor, "bind", "person", person.id, people=[person.id])
        return person


async def _account(db: AsyncSession, actor: Actor) -> ResidentAccount:
    query = select(ResidentAccount).where(ResidentAccount.id == actor.account_id).with_for_update()
    account = await db.scalar(query)
    if account is None:
        raise NotFound
    return account


async def register_person(
    db: AsyncSession, *, name: str, document: documents.Document, birth_date: date, sex: Sex
) -> Person:
    """The person of this document, made if unknown. Two registrations at once meet at the unique index."""
    person = Person(id=new_id(), name=name, sex=sex, birth_date=birth_date, document_kind=document.kind)
    person.document_number = document.number
    values = {
        "id": person.id, "name": name, "sex": sex, "birth_date": birth_date, "document_kind": document.kind,
        "document_number_sealed": person.document_number_sealed, "document_index": document.index,
        "created_at": clock.now(),
    }  # fmt: skip
    await db.execute(
        insert(Person).values(values).on_conflict_do_nothing(constraint="uq_person_document_index")
    )
    found = await db.scalars(select(Person).where(Person.document_index == document.index).with_for_update())
    return found.one()


async def own(db: AsyncSession, actor: Actor) -> Person:
    """The resident's own person, or NotBound."""
    person = await db.scalar(select(Person).where(Person.id == own_person(actor)))
    if person is None:
        raise NotBound
    return person


async def own_id(db: AsyncSession, actor: Actor) -> uuid.UUID:
    return (await own(db, actor)).id
