"""The four contracts: stable names, both languages, bounded input, documented refusals, nothing from elsewhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from typer.testing import CliRunner

from app import api
from app.api.deps import View
from app.cli import cli
from tests.clients import client
from tests.guards.cast import CITIZEN, PARTNER, PUBLIC, ROLES, STAFF, agree, endpoints

GOLDEN = Path(__file__).with_name("operations.txt")
DOORS = list(ROLES)
BOUNDS = {"maxLength", "pattern", "format", "enum", "const"}
CHARACTER_CLASS = re.compile(r"\[[^\]]*\]")
ENDLESS = re.compile(r"[*+]|\{\d+,\}")


def contract(door: str) -> dict[str, Any]:
    return api.create_door(door).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def test_operation_names_are_stable() -> None:
    """Clients are generated from them: a renamed function is a broken client."""
    lines = [
        f"{door:<14}{operation['operationId']:<26}{method:<7}{path}"
        for door in DOORS
        for method, path, operation in operations(contract(door))
    ]
    agree(GOLDEN, "\n".join(sorted(lines)) + "\n")


@pytest.mark.parametrize("door", DOORS)
def test_operation_names_are_unique_in_a_door(door: str) -> None:
    names = [operation["operationId"] for _, _, operation in operations(contract(door))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("door", DOORS)
def test_every_route_is_in_the_contract(door: str) -> None:
    documented = {(method, path) for method, path, _ in operations(contract(door))}
    assert documented == {(method, route.path) for method, route in endpoints(door)}


@pytest.mark.parametrize("door", DOORS)
def test_every_summary_is_chinese_and_english(door: str) -> None:
    for method, path, operation in operations(contract(door)):
        summary = operation["summary"]
        assert re.search(r"[\u4e00-\u9fff]", summary), f"{method} {path}: {summary}"
        assert re.search(r"[A-Za-z]{2}", summary), f"{method} {path}: {summary}"


@pytest.mark.parametrize("door", DOORS)
def test_every_operation_documents_its_refusals(door: str) -> None:
    for method, path, operation in operations(contract(door)):
        expected = {"400", "413", "422", "503"} | ({"401", "403"} if "x-permission" in operation else set())
        answers = operation["responses"]
        assert expected <= set(answers), f"{method} {path}"
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], f"{method} {path} {status}"
                assert answer["content"]["application/problem+json"]["examples"], f"{method} {path} {status}"


def strings(
    document: dict[str, Any], schema: dict[str, Any], at: str, seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every string that a schema lets in, with the way to it."""
    if reference := schema.get("$ref"):
        if reference not in seen:
            target = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
            yield from strings(document, target, at, (*seen, reference))
        return
    if schema.get("type") == "string":
        yield at, schema
    for name, child in schema.get("properties", {}).items():
        yield from strings(document, child, f"{at}/{name}", seen)
    if "items" in schema:
        yield from strings(document, schema["items"], f"{at}[]", seen)
    for word in ("anyOf", "oneOf", "allOf"):
        for child in schema.get(word, []):
            yield from strings(document, child, at, seen)


def inputs(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for parameter in operation.get("parameters", []):
        yield from strings(document, parameter["schema"], parameter["name"])
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from strings(document, content["schema"], "body")


@pytest.mark.parametrize("door", DOORS)
def test_every_string_that_comes_in_is_bounded(door: str) -> None:
    document = contract(door)
    for method, path, operation in operations(document):
        for place, schema in inputs(document, operation):
            bound = BOUNDS & set(schema)
            if bound == {"pattern"}:
                shape = CHARACTER_CLASS.sub("x", schema["pattern"])
                assert not ENDLESS.search(shape), f"{method} {path} {place}: {schema}"
            assert bound, f"{method} {path} {place}: {schema}"


def bodies(
    document: dict[str, Any], schema: dict[str, Any], at: str, seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that a schema lets in."""
    if reference := schema.get("$ref"):
        if reference not in seen:
            target = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
            yield from bodies(document, target, at, (*seen, reference))
        return
    if schema.get("type") == "object":
        yield at, schema
    children = [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]
    for child in children + [one for word in ("anyOf", "oneOf") for one in schema.get(word, [])]:
        yield from bodies(document, child, at, seen)


@pytest.mark.parametrize("door", DOORS)
def test_every_body_refuses_unknown_members_and_bounds_its_lists(door: str) -> None:
    document = contract(door)
    for method, path, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for at, schema in bodies(document, content["schema"], "body"):
                assert schema.get("additionalProperties") is False, f"{method} {path} {at}: {schema}"
                for name, child in schema["properties"].items():
                    assert child.get("type") != "array" or "maxItems" in child, f"{method} {path} {name}"


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return document["components"]["schemas"][reference.rsplit("/", 1)[1]] if reference else schema


@pytest.mark.parametrize("door", DOORS)
def test_every_body_has_an_example_that_is_accepted(door: str) -> None:
    document, missing = contract(door), []
    for method, route in endpoints(door):
        if route.body_field is None:
            continue
        content = document["paths"][route.path_format][method.lower()]["requestBody"]["content"]
        schema = content["application/json"]["schema"]
        schema = resolved(document, schema)
        examples = schema.get("examples", [])
        if not examples:
            missing.append(f"{method} {route.path}")
        for example in examples:
            TypeAdapter(route.body_field.field_info.annotation).validate_json(json.dumps(example))
    assert not missing, f"{door}: model_config = example(…) on the bodies of {missing}"


# What each door is about: its answers are shown, not only described.
SHOWN = {
    CITIZEN: {"SlotView", "AppointmentDetail", "HouseholdSummary"},
    STAFF: {"HouseholdRow", "FollowUpView", "ScheduledAppointment"},
    PARTNER: {"Arrival", "ScheduledAppointment"},
    PUBLIC: {"RegionView"},
}


def views(kind: type[View] = View) -> Iterator[type[View]]:
    for view in kind.__subclasses__():
        yield view
        yield from views(view)


@pytest.mark.parametrize("door", DOORS)
def test_the_main_answers_of_a_door_have_an_example(door: str) -> None:
    schemas = contract(door)["components"]["schemas"]
    assert {name for name in SHOWN[door] if not schemas[name].get("examples")} == set()


def test_every_example_of_an_answer_is_one() -> None:
    for view in views():
        for shown in view.model_config.get("json_schema_extra", {}).get("examples", []):
            assert view.model_validate(shown).model_dump(mode="json") == shown, view


@pytest.mark.parametrize("door", DOORS)
def test_headers_are_spelled_as_headers(door: str) -> None:
    for method, path, operation in operations(contract(door)):
        for parameter in operation.get("parameters", []):
            name = parameter["name"]
            assert parameter["in"] != "header" or name == name.title(), f"{method} {path} {name}"


def test_the_contracts_can_be_written_to_a_folder(tmp_path: Path) -> None:
    told = CliRunner().invoke(cli, ["openapi", "export", str(tmp_path)])
    assert told.exit_code == 0, told.output
    written = sorted(tmp_path.iterdir())
    assert [file.name for file in written] == [
        "citizen-v1.json", "partner-v1.json", "public-v1.json", "staff-v1.json",
    ]  # fmt: skip
    for file in written:
        document = json.loads(file.read_text(encoding="utf-8"))
        assert document["openapi"].startswith("3.1")
        references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
        assert references <= set(document["components"]["schemas"])


@pytest.mark.parametrize("door", DOORS)
async def test_the_documentation_pages_load_nothing_from_elsewhere(app: FastAPI, door: str) -> None:
    async with client(app) as browser:
        page = await browser.get(f"{door}/docs")
        assert page.status_code == 200
        assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.", page.text), "the page names another host"
        for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert (await browser.get(asset)).status_code == 200, asset
        assert (await browser.get(f"{door}/openapi.json")).json()["servers"] == [{"url": door}]
