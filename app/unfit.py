"""What is wrong with an input, and where: never the input itself, which may be anybody's data."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

# A body of nonsense is not worth more words than these.
MOST_PLACES, LONGEST_POINTER = 20, 200

#: One wrong place: pointer, zh, en. The answer shows one language.
Place = dict[str, str]


def place(pointer: str, zh: str, en: str) -> Place:
    """A wrong place, as a JSON pointer (RFC 6901) into the body, and what is wrong with it."""
    return {"pointer": pointer, "zh": zh, "en": en}


class Unfit(ValueError):
    """What a validator of ours has against a value, never naming the value."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


# What each kind of validation error means, with the bounds that pydantic gives; never the input itself.
EXPLAINED = {
    "missing": ("必填", "required"),
    "extra_forbidden": ("不认识的字段", "no such member"),
    "json_invalid": ("不是有效的 JSON", "not valid JSON"),
    "string_too_short": ("至少 {min_length} 个字符", "at least {min_length} characters"),
    "string_too_long": ("最多 {max_length} 个字符", "at most {max_length} characters"),
    "string_pattern_mismatch": ("格式不正确", "not of the expected form"),
    "string_unicode": ("含有无效字符", "contains invalid characters"),
    "too_short": ("至少 {min_length} 项", "at least {min_length} items"),
    "too_long": ("最多 {max_length} 项", "at most {max_length} items"),
    "greater_than_equal": ("不能小于 {ge}", "at least {ge}"),
    "less_than_equal": ("不能大于 {le}", "at most {le}"),
    "enum": ("应为 {choices_zh} 之一", "one of {choices_en}"),
    "literal_error": ("应为 {choices_zh} 之一", "one of {choices_en}"),
    "union_tag_invalid": ("应为 {choices_zh} 之一", "one of {choices_en}"),
    "union_tag_not_found": ("必填", "required"),
    "timezone_aware": ("须带时区", "needs a time zone"),
    "bool_parsing": ("应为 true 或 false", "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), ("应为整数", "a whole number")),
}
WRONG_TYPE = "类型或格式不正确", "of the wrong type or form"


def places(error: RequestValidationError) -> list[Place]:
    """Of a body, query or header that its model refuses."""
    return [_place(item, error.body) for item in error.errors()[:MOST_PLACES]]


def _place(item: Mapping[str, Any], body: Any) -> Place:
    origin, *path = item["loc"]
    steps = _way_into(body, path, item) if origin == "body" else path
    pointer = "" if origin == "body" else f"#{origin}"
    pointer += "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return place(pointer[:LONGEST_POINTER].encode("utf-8", "replace").decode(), *_explained(item))


def _way_into(body: Any, path: list[Any], item: Mapping[str, Any]) -> list[Any]:
    """Through what was sent: Pydantic's own way names the branches of unions too."""
    steps: list[Any] = []
    for step in path:
        inside = range(len(body)) if isinstance(body, list) else body if isinstance(body, dict) else ()
        if step in inside:
            body = body[step]
            steps.append(step)
    if item["type"] == "missing":
        steps += path[-1:]
    if item["type"].startswith("union_tag"):
        steps.append(item["ctx"]["discriminator"].strip("'"))
    return steps


def _explained(item: Mapping[str, Any]) -> tuple[str, str]:
    context = item.get("ctx", {})
    if isinstance(unfit := context.get("error"), Unfit):
        return unfit.zh, unfit.en
    zh, en = EXPLAINED.get(item["type"], WRONG_TYPE)
    choices = re.findall(r"'([^']*)'", context.get("expected") or context.get("expected_tags", ""))
    words = {**context, "choices_zh": "、".join(choices), "choices_en": ", ".join(choices)}
    return zh.format_map(words), en.format_map(words)
