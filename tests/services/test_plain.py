"""What may enter: numbers are numbers."""

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from app.services.plain import Body


class Inner(Body):
    counts: list[Annotated[int, Field(ge=0)]] = []


class Outer(Body):
    count: Annotated[int, Field(ge=1, le=50)] = 1
    least: int | None = None
    measure: float | str | None = None
    yes: bool = False
    inner: Inner | None = None


@pytest.mark.parametrize(
    "given",
    [{"count": True}, {"count": "1"}, {"count": 1.0}, {"least": False}, {"inner": {"counts": [True]}}],
)
def test_a_count_is_written_as_a_whole_number(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate(given)


def test_numbers_and_truth_values_enter_as_what_they_are() -> None:
    given = {"count": 2, "measure": 3, "yes": True, "inner": {"counts": [0, 4]}}
    assert Outer.model_validate(given).model_dump(exclude_unset=True) == given
    with pytest.raises(ValidationError):
        Outer.model_validate({"measure": True})
