"""Quantities read as people say them."""

from __future__ import annotations

import pytest

from engine.console.words import counted, duration_words


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(0, "0 s"), (8.4, "8 s"), (99, "99 s"), (99.6, "2 min"), (732, "12 min"), (5940, "99 min"), (6000, "1 h 40 min"),
     (25500, "7 h 05 min"), (864000, "240 h 00 min")],
)  # fmt: skip
def test_durations_read_as_people_say_them(duration_s: float, words: str) -> None:
    assert duration_words(duration_s) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1234, "1,234 files")])
def test_one_thing_is_singular(count: int, words: str) -> None:
    assert counted(count, "file") == words
