"""Times and spans as people type them."""

from __future__ import annotations

from datetime import datetime

import click
import pytest

from engine.console.moments import Span, TimeOfDay

NOW = datetime(2026, 1, 31, 22, 0).astimezone()


def _time(text: str) -> float:
    return TimeOfDay(lambda: NOW).convert(text, None, None)


@pytest.mark.parametrize("text", ["22:30", "2026-01-31T22:30"])
def test_a_time_of_today_is_today(text: str) -> None:
    assert _time(text) - NOW.timestamp() == 1_800


def test_a_time_that_has_passed_today_is_tomorrow() -> None:
    assert _time("07:00") - NOW.timestamp() == 9 * 3_600


@pytest.mark.parametrize("text", ["7", "25:00", "07:60", "tomorrow", "", "2020-01-01T00:00", "\uff10\uff17:00"])
def test_what_is_no_time_or_has_passed_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"07:00|has passed"):
        _time(text)


@pytest.mark.parametrize(
    ("text", "span_s"), [("8h", 28_800), ("90m", 5_400), ("1h30m", 5_400), ("45s", 45), ("1d", 86_400), ("2H", 7_200)]
)
def test_a_span_is_read(text: str, span_s: float) -> None:
    assert Span().convert(text, None, None) == span_s


@pytest.mark.parametrize("text", ["8", "h", "", "0h", "-1h", "1.5h", "8 hours", "1m1h"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="1h30m"):
        Span().convert(text, None, None)
