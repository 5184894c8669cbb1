"""Types of text that may enter: bounded, no control characters, no halves of surrogate pairs."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


def _ordinary(text: str) -> str:
    if any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise ValueError("control characters are not allowed")
    return text


def Text(longest: int, shortest: int = 1) -> Any:  # noqa: N802  reads as a type
    """A string of ordinary characters, without blanks around it. PostgreSQL cannot hold NUL."""
    bounds = StringConstraints(strip_whitespace=True, min_length=shortest, max_length=longest)
    return Annotated[str, bounds, AfterValidator(_ordinary)]


Line = Text(100)
Note = Text(1000)
RegionCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]


class Body(BaseModel):
    """Input: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def example(**members: Any) -> ConfigDict:
    """`model_config = example(…)`: the body that OpenAPI shows; a guard checks that it is accepted."""
    return ConfigDict(json_schema_extra={"examples": [members]})
