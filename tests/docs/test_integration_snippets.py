"""What the pages for integrators show is what the doors take and give."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from app import api
from app.models.partners import Algorithm
from app.sandbox.wechat import create_wechat
from app.services.partners import signature
from tests.clients import client
from tests.docs.tables import DOCS
from tests.docs.test_readme import matches

HOSPITALS = (DOCS / "integrating-hospitals.md").read_text(encoding="utf-8")
MINI_PROGRAM = (DOCS / "integrating-mini-program.md").read_text(encoding="utf-8")
SECRET = "whsec_AP8KDQ8nIiQlAAECAwQFBgcICQoLDA0ODxAREhMUFRY="  # with NUL, newline and quotes inside
DIGESTS = {Algorithm.HMAC_SHA256: "sha256", Algorithm.HMAC_SM3: "sm3"}
REQUESTS = [
    ("GET", "/partner/v1/appointments?on=2026-11-24&note=%E6%9A%96%20a", b""),
    ("POST", "/partner/v1/reports", '{"conclusion": "暖心 100%\\n"}'.encode()),
]
algorithms = pytest.mark.parametrize("algorithm", list(Algorithm))
requests = pytest.mark.parametrize(("method", "path", "body"), REQUESTS)


def block(language: str) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", HOSPITALS, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_signature_takes_about_ten_lines(language: str) -> None:
    assert len(block(language).strip().splitlines()) <= 11


@algorithms
@requests
def test_the_python_of_the_page_signs(algorithm: Algorithm, method: str, path: str, body: bytes) -> None:
    page: dict[str, Any] = {}
    exec(block("python"), page)
    headers = page["sign"]("key", SECRET, DIGESTS[algorithm], method, path, body, "msg_1", 1790000000)
    expected = signature(algorithm, SECRET, "msg_1", 1790000000, method, path, body)
    assert headers["Webhook-Signature"] == expected


@pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl is not installed: the shell block is not tried"
)
@algorithms
@requests
def test_the_shell_of_the_page_signs(
    algorithm: Algorithm, method: str, path: str, body: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "body"
    file.write_bytes(body)
    given = {"id": "msg_1", "sent": "1790000000", "secret": SECRET, "digest": DIGESTS[algorithm]}
    given |= {"method": method, "path": path, "body": str(file), "PATH": os.environ["PATH"]}
    script = block("sh") + 'printf %s "$signature"'
    ran = subprocess.run(["sh", "-euc", script], env=given, capture_output=True, text=True, check=True)
    assert ran.stdout == signature(algorithm, SECRET, "msg_1", 1790000000, method, path, body)


def examples() -> list[tuple[str, str, str, int, str]]:
    """Method, address, body, status, answer of each example."""
    found = []
    for text in re.findall(r"^```http\n(.*?)^```", MINI_PROGRAM + HOSPITALS, re.DOTALL | re.MULTILINE):
        request, answer = re.split(r"^HTTP/1\.1 ", text, flags=re.MULTILINE)
        head, _, body = request.strip().partition("\n\n")
        method, address = head.splitlines()[0].split()
        found.append((method, address, body, int(answer[:3]), answer.partition("\n\n")[2]))
    return found


def operation(method: str, address: str) -> Any:
    path = address.partition("?")[0]
    for prefix in api.DOORS:
        for route in api.routes_of(prefix):
            template = prefix + re.sub(r"\{\w+\}", "{}", route.path_format)
            if method in (route.methods or ()) and matches(path, template):
                return prefix, route
    raise AssertionError(f"no such operation: {method} {address}")


@pytest.mark.parametrize("example", examples(), ids=lambda example: f"{example[0]} {example[1]} {example[3]}")
def test_an_example_is_what_the_operation_takes_and_gives(example: tuple[str, str, str, int, str]) -> None:
    method, address, body, status, answer = example
    prefix, route = operation(method, address)
    taken = route.body_field.field_info.annotation if route.body_field else None
    assert bool(taken) == bool(body)
    if taken:
        TypeAdapter(taken).validate_json(body)
    if status < 400:
        assert status in {route.status_code or 200}
        TypeAdapter(route.response_model).validate_json(answer)
        return
    shown = json.loads(answer)
    document = api.create_door(prefix).openapi()["paths"][route.path_format][method.lower()]
    offered = document["responses"][str(status)]["content"]["application/problem+json"]["examples"]
    wanted = offered[shown["type"].rpartition(":")[2]]["value"]
    varying = {"instance", "errors"}
    assert {k: v for k, v in shown.items() if k not in varying} == {
        k: v for k, v in wanted.items() if k not in varying
    }


async def test_the_stand_in_takes_what_the_page_shows() -> None:
    """Each curl of "Trying it without a phone", in order."""
    wechat = client(create_wechat("wx-appid", "secret"))
    shown = re.findall(
        r"curl (-X POST )?\"\$at/sandbox/wechat(/control/[a-z-]+)\"(?: -H \"\$json\"[ \\\n]*-d '(.*?)')?",
        MINI_PROGRAM,
    )
    assert len(shown) == MINI_PROGRAM.count("curl ")
    for post, path, body in shown:
        answer = await wechat.request(
            "POST" if post else "GET", path, json=json.loads(body) if body else None
        )
        assert answer.status_code == 200, path
