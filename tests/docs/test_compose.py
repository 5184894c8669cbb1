"""compose.yaml and the Dockerfile run what the code has, safely."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from app.settings import ROOT, Settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = ("migrate", "api", "worker")
PROPER = {
    "POSTGRES_PASSWORD": "letters0and1digits",
    "APPLICATION_PASSWORD": "other0letters1and2digits",
    "NUANXIN_REGION_CODE": "640100000000",
    "NUANXIN_ASSOCIATION_NAME": "银川市计划生育协会",
    "NUANXIN_ASSOCIATION_CONTACT": "0951-6888888",
    "NUANXIN_FIELD_KEYS": '{"1": "00112233445566778899aabbccddeeff"}',
    "NUANXIN_INDEX_KEY": "0123456789abcdef" * 4,
    "NUANXIN_TOKEN_KEY": "fedcba9876543210" * 4,
    "NUANXIN_SEAL_KEY": "0f1e2d3c4b5a6978" * 4,
    "NUANXIN_PUBLIC_URL": "https://nuanxin.example",
    "NUANXIN_WECHAT_APPID": "wx0123456789abcdef",
    "NUANXIN_WECHAT_SECRET": "0123456789abcdef0123456789abcdef",
    "NUANXIN_WECHAT_TEMPLATES": '{"appointment_reminder": "template"}',
}
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


class Missing(Exception):
    """What `docker compose` says of a required variable that is not set."""


def filled(text: str, given: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if given.get(name):
            return given[name]
        if kind == "-":
            return str(rest)
        raise Missing(name)

    return VARIABLE.sub(value, text)


def environment(service: str, given: dict[str, str]) -> dict[str, str]:
    return {name: filled(text, given) for name, text in COMPOSE["services"][service]["environment"].items()}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings of a service, read from an environment as Compose makes it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"NUANXIN_{name.upper()}", raising=False)

    def settings(service: str, given: dict[str, str]) -> Settings:
        for name, value in environment(service, given).items():
            monkeypatch.setenv(name, value)
        return Settings()

    return settings


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting(service: str) -> None:
    known = {f"NUANXIN_{name.upper()}" for name in Settings.model_fields}
    assert set(COMPOSE["services"][service]["environment"]) <= known


@pytest.mark.parametrize("service", OURS)
def test_with_proper_values_each_service_starts_in_production(service: str, start: Any) -> None:
    settings = start(service, PROPER)
    assert settings.environment == "production"
    assert settings.unsafe() == []


@pytest.mark.parametrize("name", PROPER)
def test_a_secret_that_is_missing_is_asked_for(name: str) -> None:
    with pytest.raises(Missing, match=name):
        environment("migrate", {key: value for key, value in PROPER.items() if key != name})


@pytest.mark.parametrize("name", ["NUANXIN_INDEX_KEY", "NUANXIN_TOKEN_KEY", "NUANXIN_WECHAT_SECRET"])
def test_a_short_secret_is_refused_by_name(name: str, start: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        start("api", PROPER | {name: "short"})


def test_the_env_file_that_operating_md_shows_names_what_compose_asks_for() -> None:
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    shown = re.search(r"```\n(POSTGRES_PASSWORD=.*?)```", text, re.DOTALL)
    assert shown
    names = {line.partition("=")[0] for line in shown[1].strip().splitlines()}
    required = {
        found[0] for found in VARIABLE.findall((ROOT / "compose.yaml").read_text()) if found[1] == "?"
    }
    assert names == required == set(PROPER)


def test_only_the_migration_knows_the_owner_s_password() -> None:
    for service in OURS:
        assert ("POSTGRES_PASSWORD" in str(COMPOSE["services"][service])) == (service == "migrate")


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_api_and_worker_wait_for_the_migration() -> None:
    for service in ("api", "worker"):
        condition = COMPOSE["services"][service]["depends_on"]["migrate"]["condition"]
        assert condition == "service_completed_successfully"


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["api"], "serve --host 0.0.0.0"),
        (["api", "--workers", "2"], "serve --host 0.0.0.0 --workers 2"),
        ([], "serve --host 0.0.0.0"),
        (["worker"], "worker"),
        (["migrate"], "migrate"),
        (["staff", "create"], "staff create"),
    ],
)
def test_the_first_word_chooses_what_the_image_runs(words: list[str], runs: str, tmp_path: Path) -> None:
    stub = tmp_path / "nuanxin"
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    entry = ["sh", str(ROOT / "docker-entrypoint.sh"), *words]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    ran = subprocess.run(entry, env=path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == runs


def test_the_image_gets_everything_it_copies() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= set(line.split()[1:-1])
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
