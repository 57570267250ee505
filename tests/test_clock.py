"""Two times: one that only grows, and one that means the same after a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from engine.clock import SystemClock, iso_utc


async def test_monotonic_time_is_that_of_the_loop() -> None:
    clock = SystemClock()
    assert clock.now() == pytest.approx(asyncio.get_running_loop().time(), abs=0.5)
    before = clock.now()
    await clock.sleep(0.01)
    assert clock.now() >= before + 0.009


def test_utc_is_the_systems() -> None:
    assert abs(SystemClock().utc() - datetime.now(UTC).timestamp()) < 5


@pytest.mark.parametrize(
    ("epoch_s", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600.0, "2026-01-01T00:00:00.000Z"),
        (1_767_225_600.6789, "2026-01-01T00:00:00.678Z"),
        (1_767_225_599.9999, "2025-12-31T23:59:59.999Z"),
    ],
)
def test_stored_times_are_written_one_way(epoch_s: float, text: str) -> None:
    assert iso_utc(epoch_s) == text


def test_stored_times_sort_as_text_and_can_be_read_back() -> None:
    moments = [1_767_225_600.0 + step * 86_399.123 for step in range(400)]
    texts = [iso_utc(moment) for moment in moments]
    assert texts == sorted(texts)
    for moment, text in zip(moments, texts, strict=True):
        assert abs(datetime.fromisoformat(text) - datetime.fromtimestamp(moment, UTC)) < timedelta(milliseconds=1)
