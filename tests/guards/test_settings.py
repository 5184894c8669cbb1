"""Production starts only with settings made for it, on a schema that this code knows."""

import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app import db, schema
from app.main import create_app, lifespan
from app.settings import (
    DEVELOPMENT_APIV3_KEY,
    DEVELOPMENT_APPID,
    DEVELOPMENT_KEY,
    DEVELOPMENT_MCHID,
    DEVELOPMENT_PAY_KEY,
    DEVELOPMENT_PAY_PUBLIC_KEY,
    DEVELOPMENT_PAY_PUBLIC_KEY_ID,
    DEVELOPMENT_SEAL_KEY,
    DEVELOPMENT_SECRET,
    DEVELOPMENT_TEMPLATE,
    Settings,
    settings,
)
from tests.database import clone, execute

GOOD = {
    "NUANXIN_ENVIRONMENT": "production",
    "NUANXIN_SANDBOX": "false",
    "NUANXIN_DATABASE_URL": "postgresql://nuanxin@db.internal/nuanxin",
    "NUANXIN_REGION_CODE": "640100000000",
    "NUANXIN_ASSOCIATION_NAME": "银川市计划生育协会",
    "NUANXIN_ASSOCIATION_CONTACT": "0951-6888888",
    "NUANXIN_FIELD_KEYS": '{"1": "00112233445566778899aabbccddeeff"}',
    "NUANXIN_INDEX_KEY": "an-index-key-of-32-characters-or-more",
    "NUANXIN_TOKEN_KEY": "a-token-key-of-32-characters-or-more!",
    "NUANXIN_SEAL_KEY": "0f" * 32,
    "NUANXIN_WECHAT_APPID": "wx0123456789abcdef",
    "NUANXIN_WECHAT_TEMPLATES": '{"appointment_reminder": "template-of-our-own"}',
    "NUANXIN_WECHAT_SECRET": "a-wechat-secret-of-32-characters-too!",
    "NUANXIN_WECHAT_BASE_URL": "https://wechat.example",
    "NUANXIN_PUBLIC_URL": "https://nuanxin.example",
}

# Wanted as well where gifts come through WeChat Pay.
PAYMENT = {
    "NUANXIN_WECHAT_PAY_BASE_URL": "https://pay.example",
    "NUANXIN_WECHAT_PAY_MCHID": "1601959334",
    "NUANXIN_WECHAT_PAY_SERIAL": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
    "NUANXIN_WECHAT_PAY_PRIVATE_KEY": "/run/secrets/merchant.pem",
    "NUANXIN_WECHAT_PAY_APIV3_KEY": "an-apiv3-key-of-just-32-letters!",
    "NUANXIN_WECHAT_PAY_PUBLIC_KEYS": '{"PUB_KEY_ID_0116": "/run/secrets/wechat_pay.pem"}',
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set up for production."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_production_starts_when_everything_is_set(environment: pytest.MonkeyPatch) -> None:
    assert Settings().environment == "production"


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"NUANXIN_ENVIRONMENT"}))
def test_production_refuses_each_default(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUANXIN_SANDBOX", "true"),
        ("NUANXIN_FIELD_KEYS", f'{{"1": "{DEVELOPMENT_KEY}"}}'),
        ("NUANXIN_FIELD_KEYS", f'{{"1": "{DEVELOPMENT_KEY}", "2": "00112233445566778899aabbccddeeff"}}'),
        ("NUANXIN_FIELD_KEYS", f'{{"1": "{DEVELOPMENT_KEY.upper()}"}}'),
        ("NUANXIN_FIELD_KEYS", f'{{"1": "{"ab" * 16}", "2": "{"AB" * 16}"}}'),
        ("NUANXIN_INDEX_KEY", DEVELOPMENT_SECRET),
        ("NUANXIN_INDEX_KEY", "short"),
        ("NUANXIN_TOKEN_KEY", DEVELOPMENT_SECRET),
        ("NUANXIN_TOKEN_KEY", "x" * 31),
        ("NUANXIN_TOKEN_KEY", GOOD["NUANXIN_INDEX_KEY"]),
        ("NUANXIN_SEAL_KEY", DEVELOPMENT_SEAL_KEY),
        ("NUANXIN_SEAL_KEY", "0f" * 31),
        ("NUANXIN_WECHAT_APPID", DEVELOPMENT_APPID),
        ("NUANXIN_WECHAT_TEMPLATES", f'{{"invitation": "{DEVELOPMENT_TEMPLATE}"}}'),
        ("NUANXIN_WECHAT_SECRET", DEVELOPMENT_SECRET),
        ("NUANXIN_WECHAT_BASE_URL", "http://wechat.example"),
    ],
)
def test_production_refuses_what_is_unsafe(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.fixture
def with_payment(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in (PAYMENT | {"NUANXIN_IN_APP_PAYMENT": "true"}).items():
        environment.setenv(name, value)
    return environment


def test_production_takes_gifts_only_when_told_to(environment: pytest.MonkeyPatch) -> None:
    config = Settings()
    assert (config.in_app_payment, config.wechat_pay_ready) == (False, False)
    environment.setenv("NUANXIN_IN_APP_PAYMENT", "")
    assert not Settings().in_app_payment
    environment.setenv("NUANXIN_ENVIRONMENT", "development")
    assert Settings().in_app_payment


def test_production_takes_gifts_when_everything_is_set(with_payment: pytest.MonkeyPatch) -> None:
    config = Settings()
    assert (config.in_app_payment, config.wechat_pay_ready) == (True, True)
    with_payment.setenv("NUANXIN_IN_APP_PAYMENT", "false")
    assert Settings().wechat_pay_ready  # refunds of earlier gifts go on


@pytest.mark.parametrize("name", sorted(PAYMENT))
def test_gifts_need_each_of_these(with_payment: pytest.MonkeyPatch, name: str) -> None:
    with_payment.delenv(name)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUANXIN_PUBLIC_URL", "http://nuanxin.example"),
        ("NUANXIN_WECHAT_PAY_BASE_URL", "http://pay.example"),
        ("NUANXIN_WECHAT_PAY_SPARE_URL", "http://pay2.example"),
        ("NUANXIN_WECHAT_PAY_MCHID", DEVELOPMENT_MCHID),
        ("NUANXIN_WECHAT_PAY_SERIAL", "0" * 40),
        ("NUANXIN_WECHAT_PAY_PRIVATE_KEY", DEVELOPMENT_PAY_KEY),
        ("NUANXIN_WECHAT_PAY_APIV3_KEY", DEVELOPMENT_APIV3_KEY),
        ("NUANXIN_WECHAT_PAY_PUBLIC_KEYS", f'{{"{DEVELOPMENT_PAY_PUBLIC_KEY_ID}": "/run/secrets/own.pem"}}'),
        ("NUANXIN_WECHAT_PAY_PUBLIC_KEYS", f'{{"PUB_KEY_ID_2": "{DEVELOPMENT_PAY_PUBLIC_KEY}"}}'),
        ("NUANXIN_WECHAT_PAY_PUBLIC_KEYS", "{}"),
    ],
)
def test_gifts_do_not_go_with_what_is_unsafe(with_payment: pytest.MonkeyPatch, name: str, value: str) -> None:
    with_payment.setenv(name, value)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(
    ("field", "value"),
    [("public_url", "https://a.example/"), ("wechat_pay_apiv3_key", "short"), ("wechat_pay_mchid", "m1")],
)
def test_what_wechat_pay_could_not_use_is_refused_everywhere(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str
) -> None:
    monkeypatch.setenv(f"NUANXIN_{field.upper()}", value)
    with pytest.raises(ValidationError, match=field):
        Settings()


def test_a_refusal_names_every_problem_at_once_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUANXIN_ENVIRONMENT", "production")
    monkeypatch.setenv("NUANXIN_TOKEN_KEY", "too-short-a-secret")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    told = str(refusal.value)
    for name in set(GOOD) - {"NUANXIN_ENVIRONMENT"}:
        assert name in told
    assert "too-short-a-secret" not in told


def test_the_sandbox_does_not_exist_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("sandbox" in getattr(route, "path", "") for route in create_app().routes)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        app = create_app()
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        create_app()  # the keys of the tests again
    assert not any("sandbox" in getattr(route, "path", "") for route in app.routes)


@pytest.fixture
async def stale(server: str, worker_id: str) -> str:
    """A database one migration behind."""
    url = await clone(server, f"stale_{worker_id}")
    await execute(url, "UPDATE alembic_version SET version_num = '0000'")
    return url


async def test_a_stale_schema_refuses_to_start(stale: str, server: str, worker_id: str) -> None:
    engine = create_async_engine(db.driver(stale), poolclass=NullPool)
    with pytest.raises(schema.StaleSchema, match="nuanxin migrate"):
        await schema.require_current(engine)
    await engine.dispose()


async def test_an_empty_database_refuses_to_start(server: str) -> None:
    engine = create_async_engine(db.driver(server), poolclass=NullPool)
    with pytest.raises(schema.StaleSchema, match="None"):
        await schema.require_current(engine)
    await engine.dispose()


async def test_the_application_itself_does_not_start_on_it(
    stale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FastAPI()
    monkeypatch.setenv("NUANXIN_DATABASE_URL", stale)
    settings.cache_clear()
    try:
        with pytest.raises(schema.StaleSchema):
            async with lifespan(app):
                pass
    finally:
        monkeypatch.undo()
        settings.cache_clear()
