"""Every setting, read once from `NUANXIN_*`. Outside development the unsafe defaults are refused."""

import re
from datetime import time
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent

# Known to everyone, so that `make demo` needs no set-up; refused in production by `unsafe()`.
DEVELOPMENT_KEY = "6465762d6f6e6c792d6b65792d303031"
DEVELOPMENT_SECRET = "development-only-secret-not-for-production"  # noqa: S105
DEVELOPMENT_APPID = "wx0000000000000000"
DEVELOPMENT_TEMPLATE = "reminder-template"
DEVELOPMENT_SEAL_KEY = "64" * 32
DEVELOPMENT_MCHID = "1900000001"
DEVELOPMENT_APIV3_KEY = "development-only-apiv3-key-00000"
PAY_KEYS = ROOT / "app" / "sandbox" / "wechat_pay" / "keys"
DEVELOPMENT_PAY_KEY = str(PAY_KEYS / "merchant_private.pem")
DEVELOPMENT_PAY_PUBLIC_KEY_ID = "PUB_KEY_ID_0000000000000000000000000001"
DEVELOPMENT_PAY_PUBLIC_KEY = str(PAY_KEYS / "wechat_pay_public.pem")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="NUANXIN_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    environment: Literal["development", "production"] = Field(
        "development", description="Production refuses defaults that are unsafe"
    )
    sandbox: bool = Field(True, description="Serve the local stand-in for WeChat; development only")
    database_url: str | None = Field(None, description="postgresql://…; unset: the embedded PostgreSQL")
    migration_database_url: str | None = Field(
        None,
        description="The same database as its owner, for `nuanxin migrate`; unset: as NUANXIN_DATABASE_URL",
    )
    database_pool: int = Field(10, ge=1, le=200, description="Connections per process")
    data_dir: Path = Field(ROOT / ".nuanxin", description="Where the embedded PostgreSQL keeps its data")

    region_code: str = Field(
        "640100000000",
        pattern="^[0-9]{12}$",
        description="The association's own region: what its services call local",
    )
    association_name: str = Field(
        "演示计划生育协会", min_length=1, description="Who handles the data, as named in the consent notices"
    )
    association_contact: str = Field(
        "0951-0000000（演示）", min_length=1, description="Phone and address for exercising one's rights"
    )

    field_keys: dict[int, SecretStr] = Field(
        {1: SecretStr(DEVELOPMENT_KEY)},
        description='SM4 keys as JSON, version → 32 hex digits: {"1": "…", "2": "…"}',
    )
    field_key_version: int | None = Field(
        None, description="The key that encrypts; unset: the highest. Set it while a new key is rolled out"
    )
    index_key: SecretStr = Field(SecretStr(DEVELOPMENT_SECRET), description="HMAC-SM3 key of blind indexes")
    token_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET), description="HMAC key of access and refresh tokens"
    )

    seal_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SEAL_KEY),
        description="ed25519 key that signs the public log of the ledger: 64 hex digits",
    )

    wechat_base_url: str = Field("http://127.0.0.1:8000/sandbox/wechat", description="WeChat's API host")
    wechat_appid: str = Field(DEVELOPMENT_APPID, description="The mini-program's app id")
    wechat_secret: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET), description="The mini-program's app secret"
    )
    wechat_templates: dict[str, str] = Field(
        {"appointment_reminder": DEVELOPMENT_TEMPLATE},
        description="Subscription message templates as JSON, kind of notice → template id; other kinds are in the "
        "inbox only",
    )
    wechat_miniprogram_state: Literal["developer", "trial", "formal"] = Field(
        "developer", description="Which version of the mini-program a reminder opens"
    )
    wechat_push_token: SecretStr | None = Field(
        None,
        description="Token of WeChat's message push, which tells what residents agreed to; unset: not taken",
    )
    wechat_push_key: SecretStr | None = Field(
        None,
        description="Its EncodingAESKey (43 characters), where the push is sealed; unset: it is plain",
    )
    public_url: str = Field(
        "http://127.0.0.1:8000",
        pattern=r"^https?://[^?#]*[^/?#]$",
        description="Where the outside reaches this server; printed on certificates",
    )
    in_app_payment: bool = Field(
        default_factory=lambda read: read.get("environment") == "development",
        description="Gifts through WeChat Pay; on only where the association holds what the Charity Law asks for",
    )
    wechat_pay_base_url: str = Field(
        "http://127.0.0.1:8000/sandbox/wechat_pay", description="WeChat Pay's API host"
    )
    wechat_pay_spare_url: str | None = Field(
        None, description="Its spare host, asked when the first does not answer; unset: there is none"
    )
    wechat_pay_mchid: str = Field(
        DEVELOPMENT_MCHID, pattern="^[0-9]{8,12}$", description="The merchant's number"
    )
    wechat_pay_serial: str = Field(
        "0" * 40, pattern="^[0-9A-Fa-f]{8,64}$", description="Serial number of the merchant's certificate"
    )
    wechat_pay_private_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_PAY_KEY),
        description="The merchant's private key as PEM, or the path of its file",
    )
    wechat_pay_apiv3_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_APIV3_KEY),
        min_length=32,
        max_length=32,
        description="APIv3 key, which opens notices",
    )
    wechat_pay_public_keys: dict[str, str] = Field(
        {DEVELOPMENT_PAY_PUBLIC_KEY_ID: DEVELOPMENT_PAY_PUBLIC_KEY},
        description='WeChat Pay\'s public keys as JSON, id → PEM or the path of its file: {"PUB_KEY_ID_…": "…"}',
    )
    wechat_pay_certificates: bool = Field(
        False, description="Also fetch the platform certificates: for merchants of before 2024-09"
    )
    quiet_from: time = Field(time(21), description="No message by WeChat from then on, in China's time")
    quiet_to: time = Field(time(8), description="Until then; the same as `quiet_from`: at any time")

    max_body_bytes: int = Field(
        1_000_000,
        ge=1_000,
        description="The largest report taken; any other body may have 256 KiB. More gets 413",
    )

    attachment_limit: int = Field(
        5_000_000, ge=1_000, description="The largest PDF of a report taken, in bytes. More gets 413"
    )

    upload_limit: int = Field(
        200_000_000, ge=1_000, description="The largest list of households taken, in bytes. More gets 413"
    )

    @field_validator("seal_key")
    @classmethod
    def _is_a_key(cls, key: SecretStr) -> SecretStr:
        if not re.fullmatch("[0-9A-Fa-f]{64}", key.get_secret_value()):
            raise ValueError("NUANXIN_SEAL_KEY must be 64 hex digits")
        return key

    @field_validator("wechat_push_key")
    @classmethod
    def _is_a_push_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch("[0-9A-Za-z]{43}", key.get_secret_value()):
            raise ValueError("NUANXIN_WECHAT_PUSH_KEY must be 43 letters and digits")
        return key

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if self.environment == "production" and (problems := self.unsafe()):
            raise ValueError("; ".join(problems))
        return self

    def unsafe(self) -> list[str]:
        """What production must not run with, each with the variable that mends it."""
        secrets = {
            "NUANXIN_INDEX_KEY": self.index_key,
            "NUANXIN_TOKEN_KEY": self.token_key,
            "NUANXIN_WECHAT_SECRET": self.wechat_secret,
        }
        problems = [
            f"{name} is the development default or shorter than 32 characters"
            for name, secret in secrets.items()
            if secret.get_secret_value() == DEVELOPMENT_SECRET or len(secret.get_secret_value()) < 32
        ]
        if any(key.get_secret_value().lower() == DEVELOPMENT_KEY for key in self.field_keys.values()):
            problems.append("NUANXIN_FIELD_KEYS holds the development default")
        if len({key.get_secret_value().lower() for key in self.field_keys.values()}) < len(self.field_keys):
            problems.append("NUANXIN_FIELD_KEYS holds the same key under two versions")
        if self.index_key == self.token_key:
            problems.append("NUANXIN_TOKEN_KEY must not be NUANXIN_INDEX_KEY")
        if self.seal_key.get_secret_value() == DEVELOPMENT_SEAL_KEY:
            problems.append("NUANXIN_SEAL_KEY is the development default")
        if self.wechat_appid == DEVELOPMENT_APPID:
            problems.append("NUANXIN_WECHAT_APPID is not set")
        if DEVELOPMENT_TEMPLATE in self.wechat_templates.values():
            problems.append("NUANXIN_WECHAT_TEMPLATES is not set")
        if self.sandbox:
            problems.append("NUANXIN_SANDBOX must be false")
        if self.database_url is None:
            problems.append("NUANXIN_DATABASE_URL is not set")
        for name in ("region_code", "association_name", "association_contact"):
            if name not in self.model_fields_set:
                problems.append(f"NUANXIN_{name.upper()} is not set")
        problems += _not_https(WECHAT_BASE=self.wechat_base_url, PUBLIC=self.public_url)
        if self.in_app_payment:
            problems += self._unsafe_payment()
        return problems

    def _unsafe_payment(self) -> list[str]:
        problems = [
            f"{name} is not set"
            for name, unset in {
                "NUANXIN_WECHAT_PAY_MCHID": self.wechat_pay_mchid == DEVELOPMENT_MCHID,
                "NUANXIN_WECHAT_PAY_SERIAL": not self.wechat_pay_serial.strip("0"),
                "NUANXIN_WECHAT_PAY_PRIVATE_KEY": self.wechat_pay_private_key.get_secret_value()
                == DEVELOPMENT_PAY_KEY,
                "NUANXIN_WECHAT_PAY_APIV3_KEY": self.wechat_pay_apiv3_key.get_secret_value()
                == DEVELOPMENT_APIV3_KEY,
                "NUANXIN_WECHAT_PAY_PUBLIC_KEYS": DEVELOPMENT_PAY_PUBLIC_KEY_ID in self.wechat_pay_public_keys
                or DEVELOPMENT_PAY_PUBLIC_KEY in self.wechat_pay_public_keys.values()
                or not (self.wechat_pay_public_keys or self.wechat_pay_certificates),
            }.items()
            if unset
        ]
        spare = self.wechat_pay_spare_url or "https://"
        return problems + _not_https(WECHAT_PAY_BASE=self.wechat_pay_base_url, WECHAT_PAY_SPARE=spare)

    @property
    def wechat_pay_ready(self) -> bool:
        """Nobody can sign for WeChat Pay with keys that everybody knows, unless this is development."""
        return self.environment == "development" or not self._unsafe_payment()


def _not_https(**urls: str) -> list[str]:
    return [
        f"NUANXIN_{name}_URL must be https" for name, url in urls.items() if not url.startswith("https://")
    ]


@cache
def settings() -> Settings:
    return Settings()


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with the settings, one line each, without their values."""
    return [
        line
        for item in error.errors(include_input=False)
        for line in f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip().split(
            "; "
        )
    ]
