"""A number of things reads as people say it."""

from __future__ import annotations

import pytest

from engine.job.counted import agreeing, counted


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2, "copy", "2 copies"), (1234, "file", "1,234 files")],
)
def test_one_thing_is_singular(count: int, noun: str, words: str) -> None:
    assert counted(count, noun) == words


@pytest.mark.parametrize(("count", "words"), [(0, "are"), (1, "is"), (2, "are")])
def test_the_verb_agrees_with_the_number(count: int, words: str) -> None:
    assert agreeing(count, "is", "are") == words
