"""Signing in with WeChat, binding one's identity, one's sign-ins."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import Body, Day, Db, Line, Text, View, example, resident_may
from app.crypto import mask_document, mask_name, mask_phone
from app.errors import NotFound, TooMany, Unauthenticated, Unavailable, problems
from app.models.households import DocumentKind, Person, Sex
from app.services import documents, identity, sign_ins

router = APIRouter(tags=["身份 identity"])
Own = Annotated[Actor, resident_may(Permission.OWN_ACCOUNT)]


class SignInWithWechat(Body):
    model_config = example(code="0a1B2c3D4e", device="iPhone")

    code: Annotated[str, Text(200), Field(description="wx.login 返回的 code", examples=["081aBc"])]
    device: Annotated[str, Text(100)] = "wechat"


class Refresh(Body):
    model_config = example(refresh_token="0198c5a47a307b1e9d553f0a6c2b1e01.k3")

    refresh_token: Annotated[str, Text(200)]


class Tokens(View):
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: Annotated[int, Field(description="seconds")]


class Bind(Body):
    model_config = example(
        name="王小芳", document_kind="resident_id", document_number="11010519491231002X", phone_code="e3f4"
    )

    name: Line
    document_kind: DocumentKind = DocumentKind.RESIDENT_ID
    document_number: Annotated[str, Text(30), Field(examples=["11010519491231002X"])]
    phone_code: Annotated[str, Text(200), Field(description="getPhoneNumber 返回的 code")]
    birth_date: Day | None = None
    sex: Sex | None = None


class OwnPerson(View):
    """Who the account is bound to, masked: the screen may be seen by others."""

    id: uuid.UUID
    name: str
    sex: Sex
    document_kind: DocumentKind
    document_number: str
    phone: str | None

    @classmethod
    def of(cls, person: Person) -> "OwnPerson":
        return cls(
            id=person.id, name=mask_name(person.name), sex=person.sex, document_kind=person.document_kind,
            document_number=mask_document(person.document_number),
            phone=mask_phone(person.phone) if person.phone else None,
        )  # fmt: skip


class SignInView(View):
    id: uuid.UUID
    device: str
    created_at: datetime
    used_at: datetime


@router.post(
    "/sign-in",
    summary="微信登录 Sign in with WeChat",
    responses=problems(Unauthenticated, TooMany, Unavailable),
)
async def sign_in(body: SignInWithWechat) -> Tokens:
    """`code` comes from `wx.login`, is good once and for five minutes."""
    return Tokens.model_validate(await identity.sign_in(code=body.code, device=body.device))


@router.post(
    "/refresh", summary="更换令牌 Exchange a refresh token", responses=problems(sign_ins.RefreshTokenRefused)
)
async def refresh(body: Refresh) -> Tokens:
    """Each refresh token is good once. Presenting an older one ends the sign-in on that device."""
    return Tokens.model_validate(await sign_ins.refresh(door=identity.DOOR, token=body.refresh_token))


@router.post("/sign-out", status_code=204, summary="退出登录 Sign out")
async def sign_out(db: Db, actor: Own) -> None:
    assert actor.sign_in_id is not None
    await sign_ins.revoke(db, actor, actor.sign_in_id)


@router.get("/sign-ins", summary="我的登录设备 My sign-ins")
async def list_sign_ins(db: Db, actor: Own) -> list[SignInView]:
    return [SignInView.model_validate(row) for row in await sign_ins.list_own(db, actor)]


@router.delete(
    "/sign-ins/{id}", status_code=204, summary="下线设备 End one sign-in", responses=problems(NotFound)
)
async def revoke_sign_in(db: Db, actor: Own, id: uuid.UUID) -> None:
    await sign_ins.revoke(db, actor, id)


@router.post(
    "/me/identity",
    status_code=201,
    summary="实名绑定 Bind one's identity",
    responses=problems(
        identity.BindingRefused, identity.AccountAlreadyBound, documents.DocumentNotValid, TooMany, Unavailable
    ),
)  # fmt: skip
async def bind(actor: Own, body: Bind) -> OwnPerson:
    """Name, document and the phone number that WeChat vouches for. A person already known is found again by the
    name and the phone on file. After five refusals in 24 hours: 429."""
    claimed = identity.Identity(**body.model_dump())
    return OwnPerson.of(await identity.bind(actor, claimed=claimed))


@router.get("/me", summary="我的身份 Who I am", responses=problems(identity.NotBound))
async def me(db: Db, actor: Own) -> OwnPerson:
    return OwnPerson.of(await identity.own(db, actor))
