"""Types of text that may enter: bounded, no control characters, no halves of surrogate pairs."""

import re
from dataclasses import dataclass
from datetime import UTC, date
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function, str_schema

from app import clock
from app.errors import Invalid, Unfit


def _ordinary(text: str) -> str:
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise Unfit("不得含有控制字符", "control characters are not allowed")
    return text


@dataclass(frozen=True, slots=True)
class Text:
    """`Annotated[str, Text(200)]`: ordinary characters, without blanks around. PostgreSQL cannot hold NUL."""

    longest: int
    shortest: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        bounded = str_schema(strip_whitespace=True, min_length=self.shortest, max_length=self.longest)
        return no_info_after_validator_function(_ordinary, bounded)


Line = Annotated[str, Text(100)]
Note = Annotated[str, Text(1000)]
RegionCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]


def _written(value: object) -> object:
    """Pydantic would read 7 and "7" as seconds of 1970."""
    if isinstance(value, date) or (isinstance(value, str) and re.match(r"\s*[0-9]{4}-", value)):
        return value
    raise Unfit(
        "日期写作 YYYY-MM-DD，时刻按 RFC 3339", "a date is written YYYY-MM-DD, a moment as in RFC 3339"
    )


def _in_range(value: date) -> date:
    """Far enough from the ends of the calendar that neither a time zone nor a period steps over them."""
    if not 1800 <= value.year <= 2200:
        raise Unfit("年份应在 1800 至 2200 之间", "the year must lie between 1800 and 2200")
    return value


Day = Annotated[date, BeforeValidator(_written), AfterValidator(_in_range)]
#: In UTC from the start, so that a request repeated is answered to the letter as the first time, from the table.
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written),
    AfterValidator(_in_range),
    AfterValidator(lambda moment: moment.astimezone(UTC)),
]


def require_past(pointer: str, day: date) -> None:
    """Today at the latest."""
    if day > clock.today():
        raise Invalid.at(pointer, "不能晚于今天", "lies in the future")


def _no_truth_values(schema: Any) -> None:
    """In every number of it, wherever it stands. What is noted beside the types is left alone."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            schema["strict"] = True
        parts = [
            part for name, part in schema.items() if name not in ("metadata", "default", "serialization")
        ]
    else:
        parts = list(schema) if isinstance(schema, list | tuple) else []
    for part in parts:
        _no_truth_values(part)


class Body(BaseModel):
    """Input: unknown members are refused, so that a misspelt one is noticed; a number is written as a number: neither
    `true` nor "1" counts as 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _no_truth_values(schema)
        return schema


def example(**members: Any) -> ConfigDict:
    """`model_config = example(…)`: the body that OpenAPI shows; a guard checks that it is accepted."""
    return ConfigDict(json_schema_extra={"examples": [members]})
