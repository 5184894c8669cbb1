"""The documentation points only at what is there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from app import api, cli, errors
from app.settings import ROOT

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
# Addresses that are no one's registry: the demo, WeChat's API, and example names.
HOSTS = {"127.0.0.1:8000", "api.weixin.qq.com", "nuanxin.example", "nuanxin.example$path"}


def code(text: str) -> str:
    """Code blocks and code spans only."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_the_readme_leads_to_every_page() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"](docs/{page.name})" in text for page in PAGES[1:])


@pages
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pages
def test_every_host_is_one_that_we_mean(page: Path) -> None:
    named = re.findall(r"https?://([^/\s>`\"]+)", page.read_text(encoding="utf-8"))
    assert {host.rstrip(";") for host in named} <= HOSTS


@pages
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", code(page.read_text(encoding="utf-8")))) <= targets


def commands() -> dict[str, set[str]]:
    """Each with its flags."""
    known = {}
    for name, command in getattr(get_command(cli.cli), "commands", {}).items():
        inner = getattr(command, "commands", {})
        every = {f"{name} {sub}": one for sub, one in inner.items()} if inner else {name: command}
        known |= {
            words: {flag for given in one.params for flag in given.opts} for words, one in every.items()
        }
    return known


@pages
def test_every_nuanxin_command_and_flag_exists(page: Path) -> None:
    known = commands()
    groups = {words.split()[0] for words in known if " " in words}
    for first, second, rest in re.findall(
        r"\bnuanxin ([a-z]+)(?: ([a-z][a-z-]*))?([^`\n#]*)", code(page.read_text(encoding="utf-8"))
    ):
        words = f"{first} {second}" if first in groups else first
        assert words in known, words
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[words], f"{words} {rest}"


@pages
def test_every_operation_exists(page: Path) -> None:
    """Wherever a method stands before an address: `GET /citizen/v1/me`."""
    known = {
        (method, prefix + re.sub(r"\{\w+\}", "{}", route.path_format))
        for prefix in api.DOORS
        for route in api.routes_of(prefix)
        for method in route.methods or ()
    }
    found = re.findall(
        r"\b(GET|POST|PUT|DELETE) (/(?:citizen|staff|partner|public)/v1[^\s`?]*)",
        page.read_text(encoding="utf-8"),
    )
    for method, address in found:
        assert any(method == one and matches(address, path) for one, path in known), f"{method} {address}"


def matches(address: str, path: str) -> bool:
    return re.fullmatch(re.escape(path).replace(re.escape("{}"), "[^/]+"), address) is not None


@pages
def test_every_problem_type_that_follows_its_status_exists(page: Path) -> None:
    statuses: dict[str, int] = {}
    kinds = [errors.Problem]
    while kinds:
        kinds += (kind := kinds.pop()).__subclasses__()
        if hasattr(kind, "status"):
            statuses[kind.slug()] = kind.status
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\b(4\d\d|5\d\d)((?:,?\s`[a-z]+(?:-[a-z]+)*`)+)", text)
    for status, slugs in named:
        for slug in re.findall(r"`([a-z-]+)`", slugs):
            assert statuses.get(slug) == int(status), f"{status} {slug}"
