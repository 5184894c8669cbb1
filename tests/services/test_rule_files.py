"""The rules that ship with the system fit the services that ship with it."""

from pathlib import Path
from typing import Any

import pytest

from app.models.catalogue import AppliesTo
from app.models.follow_ups import FollowUpKind, ReferralStep
from app.models.results import RiskClass
from app.services import reference_data
from app.services.follow_ups.rules import WAY, FollowUpRules, called_for
from app.services.results.risk import Assessed, Finding, RiskRule

FILES = sorted((reference_data.DATA / "rules").glob("*.json"))
CATALOGUES = sorted((reference_data.DATA / "catalogues").glob("*.json"))
RISK = [file for file in FILES if file.stem.startswith("risk_")]
FOLLOW_UP = [file for file in FILES if file.stem.startswith("follow_up_")]


def items_of(service_code: str) -> dict[str, dict[str, Any]]:
    """Also those that a province of ours adds."""
    (service,) = [one for one in reference_data.services() if one["code"] == service_code]
    added = [reference_data.read(f"catalogues/{file.name}") for file in CATALOGUES]
    items = [
        *service["items"],
        *(item for one in added if one["service"] == service_code for item in one["items"]),
    ]
    return {
        observation["code"]: {"applies_to": item["applies_to"], **observation}
        for item in items
        for observation in item["observations"]
    }


@pytest.mark.parametrize("file", RISK, ids=lambda file: file.stem)
def test_each_finding_is_of_an_item_of_its_service_and_can_be_met(file: Path) -> None:
    rule = reference_data.read(f"rules/{file.name}")
    items = items_of(rule["code"])
    for finding in RiskRule.model_validate(rule["body"]).findings:
        item = items[finding.code]
        assert item["applies_to"] in (AppliesTo.BOTH, finding.applies_to), finding.code
        if item["value_type"] == "code":
            wanted = finding.when.value if isinstance(finding.when.value, tuple) else (finding.when.value,)
            known = {one if isinstance(one, str) else one["code"] for one in item["codes"]}
            assert set(wanted) <= known, finding.code
        else:
            assert finding.when.op not in ("eq", "in"), finding.code


@pytest.mark.parametrize("file", FOLLOW_UP, ids=lambda file: file.stem)
def test_each_follow_up_rule_is_of_a_service_and_names_its_source(file: Path) -> None:
    rule = reference_data.read(f"rules/{file.name}")
    assert items_of(rule["code"])
    rules = FollowUpRules.model_validate(rule["body"]).follow_ups
    assert rules
    assert all(one.source for one in rules)
    assert len({(one.kind, one.topic) for one in rules}) == len(rules), "a topic tells two of a kind apart"
    assert {code for one in rules for code in one.findings} <= items_of(rule["code"]).keys()
    measured = {code for service in reference_data.services() for code in items_of(service["code"])}
    assert {code for one in rules for code in one.items} <= measured


@pytest.mark.parametrize("file", FOLLOW_UP, ids=lambda file: file.stem)
def test_from_every_step_of_a_referral_somebody_may_be_lost_or_decline(file: Path) -> None:
    """Once informed one may decline: also the diagnosis, or what would follow from it. Nothing stays open for good."""
    rules = FollowUpRules.model_validate(reference_data.read(f"rules/{file.name}")["body"]).follow_ups
    for one in rules:
        if one.kind is FollowUpKind.REFERRAL:
            assert all(one.may_step(at, ReferralStep.LOST) for at in WAY[:-1]), one.topic
            assert all(one.may_step(at, ReferralStep.DECLINED) for at in WAY[1:-1]), one.topic


@pytest.mark.parametrize("file", RISK, ids=lambda file: file.stem)
def test_nobody_in_whom_something_is_found_is_left_with_being_told(file: Path) -> None:
    """Alone, each finding above A calls for more: a talk, a referral or a recheck. What needs another examination is
    not left with a talk."""
    rule = reference_data.read(f"rules/{file.name}")
    rules = FollowUpRules.model_validate(
        reference_data.read(f"rules/follow_up_{rule['code']}.json")["body"]
    ).follow_ups
    talks = {FollowUpKind.RESULT_TOLD, FollowUpKind.EARLY_PREGNANCY, FollowUpKind.OUTCOME}
    for found in RiskRule.model_validate(rule["body"]).findings:
        if found.risk_class in (RiskClass.GENERAL, RiskClass.A):
            continue
        role = AppliesTo.WIFE if found.applies_to is AppliesTo.BOTH else found.applies_to
        finding = Finding(role, found.code, found.risk_class, found.zh, found.en)
        assessed = Assessed(found.risk_class, (finding,))
        kinds = {one.kind for one in rules if called_for(one, [role], assessed)}
        examined_again = any(word in found.zh for word in ("阴道镜", "影像学", "补充检查", "复查", "转诊"))
        left = kinds - talks - ({FollowUpKind.COUNSELLING} if examined_again else set())
        assert left, (rule["code"], found.zh)


def test_every_code_has_its_wording() -> None:
    codes = {
        code
        for service in reference_data.services()
        for item in service["items"]
        for observation in item["observations"]
        for code in observation.get("codes", [])
    }
    assert codes == set(reference_data.read("codes.json"))
