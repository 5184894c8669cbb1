"""A worker signs in, enrols an authenticator, keeps the own sign-ins and password."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from app import errors
from app.access import Actor, Permission
from app.api.deps import Body, Db, RegionCode, Text, View, example, staff_may
from app.models.identity import Role
from app.services import sign_ins, staff

router = APIRouter(tags=["身份 identity"])
Own = Annotated[Actor, staff_may(Permission.OWN_ACCOUNT)]
Username = Annotated[str, Text(50)]
Password = Annotated[str, Text(200)]
NewPassword = Annotated[str, Text(200, 12)]
Code = Annotated[str, Text(20)]
Device = Annotated[str, Text(100, 0)]
TotpCode = Annotated[str, Field(pattern="^[0-9]{6}$")]


class CredentialsBody(Body):
    model_config = example(username="village_worker", password="K7QM-2F9X-0R4T-8WZC")

    username: Username
    password: Password


class SignInBody(Body):
    model_config = example(
        username="village_worker", password="nuanxin-demo-2026", totp="123456", device="办公室电脑"
    )

    username: Username
    password: Password
    totp: TotpCode | None = Field(None, description="Six digits; or give a recovery code")
    recovery_code: Code | None = Field(None, description="One of the ten, for a lost authenticator")
    device: Device = Field("", description="What the worker will know this sign-in by")


class ConfirmBody(Body):
    model_config = example(
        username="village_worker",
        password="K7QM-2F9X-0R4T-8WZC",
        totp="123456",
        new_password="a long phrase of one's own",
    )

    username: Username
    password: Password
    totp: TotpCode
    new_password: NewPassword


class RefreshBody(Body):
    model_config = example(refresh_token="0198c5a47a307b1e9d553f0a6c2b1e01.k3")

    refresh_token: Password


class PasswordBody(Body):
    model_config = example(current_password="a long phrase of one's own", new_password="another long phrase")

    current_password: Password
    new_password: NewPassword


class TokensView(View):
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str


class SecretView(View):
    secret: str
    uri: str = Field(description="otpauth://…, to show as a QR code")


class EnrolmentView(View):
    enrolment: SecretView


class RecoveryCodesView(View):
    recovery_codes: list[str] = Field(description="Shown this once")


class ProfileView(View):
    id: uuid.UUID
    username: str
    name: str
    role: Role
    region_code: RegionCode
    totp_enrolled_at: datetime | None


class SignInView(View):
    id: uuid.UUID
    device: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool


REFUSALS = errors.problems(staff.CredentialsRefused, staff.AccountLocked)


@router.post(
    "/sign-in",
    summary="登录 Sign in",
    response_model=TokensView,
    responses=errors.problems(staff.CredentialsRefused, staff.AccountLocked, staff.TotpEnrolmentRequired),
)
async def sign_in(body: SignInBody) -> sign_ins.TokenPair:
    """Password, and a one-time code or a recovery code. Five failures lock the account for 15 minutes."""
    return await staff.sign_in(
        username=body.username,
        password=body.password,
        totp=body.totp or "",
        recovery_code=body.recovery_code or "",
        device=body.device,
    )


@router.post(
    "/enrolment/begin",
    summary="开始绑定验证器 Begin to enrol an authenticator",
    response_model=EnrolmentView,
    responses=REFUSALS,
)
async def begin_enrolment(body: CredentialsBody) -> dict[str, Any]:
    """The secret for the authenticator application. Asking again replaces it."""
    enrolment = await staff.begin_enrolment(username=body.username, password=body.password)
    return {"enrolment": enrolment}


@router.post(
    "/enrolment/confirm",
    summary="确认绑定并设置密码 Confirm the authenticator and choose a password",
    response_model=RecoveryCodesView,
    responses=errors.problems(staff.CredentialsRefused, staff.AccountLocked, staff.PasswordTooWeak),
)
async def confirm_enrolment(body: ConfirmBody) -> dict[str, Any]:
    """The initial password is replaced by one that only the worker knows."""
    codes = await staff.confirm_enrolment(
        username=body.username, password=body.password, code=body.totp, new_password=body.new_password
    )
    return {"recovery_codes": codes}


@router.post(
    "/refresh",
    summary="刷新令牌 Refresh the tokens",
    response_model=TokensView,
    responses=errors.problems(sign_ins.RefreshTokenRefused),
)
async def refresh_tokens(body: RefreshBody) -> sign_ins.TokenPair:
    """Each refresh token works once; using an old one again ends the sign-in."""
    return await sign_ins.refresh(door=staff.DOOR, token=body.refresh_token)


@router.post("/sign-out", summary="退出登录 Sign out", status_code=204)
async def sign_out(db: Db, actor: Own) -> None:
    if actor.sign_in_id is not None:
        await sign_ins.revoke(db, actor, actor.sign_in_id)


@router.get("/me", summary="我的账号 My account", response_model=ProfileView)
async def me(db: Db, actor: Own) -> Any:
    return await staff.own(db, actor)


@router.post(
    "/me/password",
    summary="修改密码 Change the password",
    status_code=204,
    responses=errors.problems(staff.CurrentPasswordWrong, staff.PasswordTooWeak, staff.AccountLocked),
)
async def change_password(body: PasswordBody, db: Db, actor: Own) -> None:
    """Every other sign-in of the account ends."""
    await staff.change_password(db, actor, current=body.current_password, new=body.new_password)


@router.get("/sign-ins", summary="我的登录设备 My sign-ins", response_model=list[SignInView])
async def my_sign_ins(db: Db, actor: Own) -> list[SignInView]:
    """The live ones, newest first; one hundred at most."""
    return [
        SignInView(
            id=row.id, device=row.device, created_at=row.created_at, used_at=row.used_at,
            expires_at=row.expires_at, current=row.id == actor.sign_in_id,
        )
        for row in await sign_ins.list_own(db, actor)
    ]  # fmt: skip


@router.delete(
    "/sign-ins/{sign_in_id}",
    summary="下线设备 End a sign-in",
    status_code=204,
    responses=errors.problems(errors.NotFound),
)
async def revoke_sign_in(sign_in_id: uuid.UUID, db: Db, actor: Own) -> None:
    await sign_ins.revoke(db, actor, sign_in_id)
