"""A worker signs in, enrols an authenticator, keeps the own sign-ins, password and recovery codes."""

import uuid
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from app.access import Actor, Permission
from app.api.deps import Body, Db, RegionCode, Text, View, example, staff_may
from app.errors import NotFound, problems
from app.models.identity import Role
from app.services import sign_ins, staff

router = APIRouter(tags=["身份 identity"])
Own = Annotated[Actor, staff_may(Permission.OWN_ACCOUNT)]
Username = Annotated[str, Text(50)]
Password = Annotated[str, Text(200)]
NewPassword = Annotated[str, Text(200, 12)]
TotpCode = Annotated[str, Field(pattern="^[0-9]{6}$")]


class Credentials(Body):
    model_config = example(username="village_worker", password="K7QM-2F9X-0R4T-8WZC")

    username: Username
    password: Password


class SignInWithPassword(Credentials):
    model_config = example(
        username="village_worker", password="nuanxin-demo-2026", totp="123456", device="办公室电脑"
    )

    totp: TotpCode | None = Field(None, description="Six digits; or give a recovery code")
    recovery_code: Annotated[str, Text(20)] | None = Field(
        None, description="One of the ten, for a lost authenticator"
    )
    device: Annotated[str, Text(100, 0)] = Field("", description="What the worker will know this sign-in by")


class ConfirmEnrolment(Credentials):
    model_config = example(
        username="village_worker", password="K7QM-2F9X-0R4T-8WZC", totp="123456",
        new_password="a long phrase of one's own",
    )  # fmt: skip

    totp: TotpCode
    new_password: NewPassword


class Refresh(Body):
    model_config = example(refresh_token="0198c5a47a307b1e9d553f0a6c2b1e01.0.k3")

    refresh_token: Annotated[str, Text(200)]


class ChangePassword(Body):
    model_config = example(current_password="a long phrase of one's own", new_password="another long phrase")

    current_password: Password
    new_password: NewPassword


class RenewRecoveryCodes(Body):
    model_config = example(totp="123456")

    totp: TotpCode


class Tokens(View):
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: Annotated[int, Field(description="seconds")]


class Secret(View):
    secret: str
    uri: str = Field(description="otpauth://…, to show as a QR code")


class Enrolment(View):
    enrolment: Secret


class RecoveryCodes(View):
    recovery_codes: list[str] = Field(description="Shown this once")


class OwnAccount(View):
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


@router.post(
    "/sign-in",
    summary="登录 Sign in",
    responses=problems(staff.CredentialsRefused, staff.AccountLocked, staff.TotpEnrolmentRequired),
)
async def sign_in(body: SignInWithPassword) -> Tokens:
    """Password, and a one-time code or a recovery code. Five failures lock the username for 15 minutes."""
    pair = await staff.sign_in(
        username=body.username,
        password=body.password,
        totp=body.totp or "",
        recovery_code=body.recovery_code or "",
        device=body.device,
    )
    return Tokens.model_validate(pair)


@router.post(
    "/enrolment/begin",
    summary="开始绑定验证器 Begin to enrol an authenticator",
    responses=problems(staff.CredentialsRefused, staff.AccountLocked),
)
async def begin_enrolment(body: Credentials) -> Enrolment:
    """The secret for the authenticator application. Asking again replaces it."""
    enrolment = await staff.begin_enrolment(username=body.username, password=body.password)
    return Enrolment(enrolment=Secret.model_validate(enrolment))


@router.post(
    "/enrolment/confirm",
    summary="确认绑定并设置密码 Confirm the authenticator and choose a password",
    responses=problems(staff.CredentialsRefused, staff.AccountLocked, staff.PasswordTooWeak),
)
async def confirm_enrolment(body: ConfirmEnrolment) -> RecoveryCodes:
    """The initial password is replaced by one that only the worker knows."""
    codes = await staff.confirm_enrolment(
        username=body.username, password=body.password, code=body.totp, new_password=body.new_password
    )
    return RecoveryCodes(recovery_codes=codes)


@router.post(
    "/refresh", summary="更换令牌 Exchange a refresh token", responses=problems(sign_ins.RefreshTokenRefused)
)
async def refresh_tokens(body: Refresh) -> Tokens:
    """Each refresh token is good once. Presenting an older one ends the sign-in on that device."""
    return Tokens.model_validate(await sign_ins.refresh(door=staff.DOOR, token=body.refresh_token))


@router.post("/sign-out", status_code=204, summary="退出登录 Sign out")
async def sign_out(db: Db, actor: Own) -> None:
    assert actor.sign_in_id is not None
    await sign_ins.revoke(db, actor, actor.sign_in_id)


@router.get("/me", summary="我的账号 My account")
async def me(db: Db, actor: Own) -> OwnAccount:
    return OwnAccount.model_validate(await staff.own(db, actor))


@router.post(
    "/me/password",
    status_code=204,
    summary="修改密码 Change the password",
    responses=problems(staff.CurrentPasswordWrong, staff.PasswordTooWeak, staff.AccountLocked),
)
async def change_password(actor: Own, body: ChangePassword) -> None:
    """Every other sign-in of the account ends."""
    await staff.change_password(actor, current=body.current_password, new=body.new_password)


@router.post(
    "/recovery-codes",
    summary="更换恢复码 Renew the recovery codes",
    responses=problems(staff.CodeWrong, staff.AccountLocked),
)
async def renew_recovery_codes(actor: Own, body: RenewRecoveryCodes) -> RecoveryCodes:
    """Ten new ones for the authenticator's code of now; the old ones are void."""
    return RecoveryCodes(recovery_codes=await staff.renew_recovery_codes(actor, code=body.totp))


@router.get("/sign-ins", summary="我的登录设备 My sign-ins")
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
    "/sign-ins/{id}", status_code=204, summary="下线设备 End a sign-in", responses=problems(NotFound)
)
async def revoke_sign_in(db: Db, actor: Own, id: uuid.UUID) -> None:
    await sign_ins.revoke(db, actor, id)
