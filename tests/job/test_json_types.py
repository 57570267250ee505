"""What JSON can hold, and what a writer of JSON would only pretend that it can."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.json_types import json_problem


@dataclasses.dataclass
class Point:
    x: int = 1


class Colour(Enum):
    RED = "red"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone half of a surrogate pair is a Python text that is none in UTF-8.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(JSON)
def test_json_passes_and_comes_back_the_same(value: Any) -> None:
    assert json_problem(value, "params") == ""
    assert orjson.loads(orjson.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "params is nan, a number that JSON does not have"),
        ({"a": [1, float("-inf")]}, "params.a.1 is -inf"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "params.a is of the type datetime, which JSON does not have"),
        ({"a": uuid.UUID(int=1)}, "params.a is of the type UUID"),
        ({"a": Point()}, "params.a is of the type Point"),
        ({"a": Colour.RED}, "params.a is of the type Colour"),
        ({"a": (1, 2)}, "params.a is of the type tuple"),
        ({"a": b"x"}, "params.a is of the type bytes"),
        ({"a": 2**64}, "params.a is an integer of more than 64 bits"),
        ({"a": {1: "x"}}, "params.a has the key 1, which is no text"),
    ],
)
def test_what_json_does_not_have_is_named_with_its_place(value: object, words: str) -> None:
    assert json_problem(value, "params").startswith(words)


def test_what_holds_itself_does_not_end_the_program() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert json_problem(endless, "params").endswith(".0 is nested deeper than 64")
