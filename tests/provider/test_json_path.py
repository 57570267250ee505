"""Paths into a reply lead where they say, and nowhere without harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.provider.json_path import path_problem, value_at, values_at

BODY = {"a": {"b": [1, {"c": 2}], "0": "zero"}, "list": [{"url": "x"}, {"url": "y"}, 3], "": 5}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b.0", 1), ("a.b.1.c", 2), ("a.0", "zero"), ("a.b.7", None), ("a.x", None), ("a.b.c", None), ("", None)],
)
def test_a_path_leads_to_its_value(path: str, value: object) -> None:
    assert value_at(BODY, path) == value


def test_a_star_is_every_item_of_a_list() -> None:
    assert values_at(BODY, "list.*.url") == ["x", "y"]
    assert values_at(BODY, "a.*") == []
    assert values_at([1, 2], "0") == [1]


@pytest.mark.parametrize("path", ["a", "a.b", "a.0.b-c", "a_b"])
def test_a_path_is_names_and_numbers(path: str) -> None:
    assert path_problem(path) == ""
    assert path_problem(f"{path}.*.x", many=True) == ""
    assert path_problem(f"{path}.*") != ""


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "*", "a b", "a.ä", "a\n"])
def test_what_is_no_path_is_refused(path: str) -> None:
    assert path_problem(path, many=True) != ""


@given(
    st.recursive(
        st.none() | st.text(max_size=3) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
    )
)
def test_no_reply_breaks_it(body: Any) -> None:
    for path in ("a", "a.b", "0", "a.*.b", "*.*"):
        assert isinstance(values_at(body, path), list)
