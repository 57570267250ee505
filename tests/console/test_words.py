"""Quantities read as people say them."""

from __future__ import annotations

import pytest

from engine.console.words import duration_words


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [(0, "0 s"), (8.4, "8 s"), (99, "99 s"), (99.6, "2 min"), (732, "12 min"), (5940, "99 min"), (6000, "1 h 40 min"),
     (25500, "7 h 05 min"), (172_700, "47 h 58 min"), (172_800, "2 days"), (604_800, "7 days"),
     (100 * 3600, "4 days 4 h")],
)  # fmt: skip
def test_durations_read_as_people_say_them(duration_s: float, words: str) -> None:
    assert duration_words(duration_s) == words
