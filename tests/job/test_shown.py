"""Whatever came from outside stands in a message harmlessly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.shown import SHOWN_CHARS_MAX, shown

KEY = "SG_0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", "'a'"),
        ("\x1b[2Jé", r"'\x1b[2J\xe9'"),
        (True, "true"),
        (5, "5"),
        (f"my {KEY}", "'my SG_…'"),
        ({"a": KEY}, "{'a': 'SG_…'}"),
    ],
)
def test_a_value_is_shown_escaped_and_without_a_key(value: object, words: str) -> None:
    assert shown(value) == words


@given(st.text())
def test_no_text_is_longer_than_a_line_or_unprintable(text: str) -> None:
    assert len(shown(text)) <= SHOWN_CHARS_MAX
    assert shown(text).isprintable()
