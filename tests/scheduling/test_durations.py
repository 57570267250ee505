"""What is known of durations: from polls that bracket an end, and kept for those who come later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import pytest

from engine.scheduling.durations import BINS, GRID, Durations, DurationsState

if TYPE_CHECKING:
    import random


def seen(rng: random.Random, *, median_s: float = 300.0, jobs: int = 200) -> Durations:
    durations = Durations(expected_s=732.0, spread=0.35)
    for _ in range(jobs):
        takes_s = median_s * rng.lognormvariate(0, 0.1)
        durations.still_running(0.0, 0.9 * takes_s)
        durations.finished(0.9 * takes_s, 1.05 * takes_s)
    durations.refresh()
    return durations


def median_s(durations: Durations) -> float:
    return durations.distribution.age_at(0.5)


def test_requests_that_still_run_move_the_estimate_before_any_has_ended() -> None:
    durations = Durations(expected_s=100.0, spread=0.35)
    for _ in range(20):
        durations.still_running(0.0, 400.0)
    durations.refresh()
    assert median_s(durations) > 300.0


def test_what_is_kept_comes_back(rng: random.Random) -> None:
    durations = seen(rng)
    kept = msgspec.json.decode(msgspec.json.encode(durations.state()), type=DurationsState)
    again = Durations(expected_s=732.0, spread=0.35)
    again.recall(kept, jobs_max=math.inf)
    assert median_s(again) == pytest.approx(median_s(durations), rel=0.01)
    assert again.jobs == pytest.approx(durations.jobs, rel=0.01)


def test_what_another_run_knew_is_soon_outweighed(rng: random.Random) -> None:
    durations = Durations(expected_s=732.0, spread=0.35)
    durations.recall(seen(rng, median_s=300.0).state(), jobs_max=30.0)
    assert durations.jobs == pytest.approx(30.0)
    assert median_s(durations) == pytest.approx(300.0, rel=0.1)
    for _ in range(150):
        durations.still_running(0.0, 850.0)
        durations.finished(850.0, 950.0)
    durations.refresh()
    assert median_s(durations) == pytest.approx(900.0, rel=0.1)


@pytest.mark.parametrize(
    "nonsense",
    [
        DurationsState(GRID + 1, {5: 1.0}, {}, {}),
        DurationsState(GRID, {}, {}, {}),
        DurationsState(GRID, {-1: 1.0}, {}, {}),
        DurationsState(GRID, {BINS + 5: 1.0}, {}, {}),
        DurationsState(GRID, {5: -1.0, 6: 2.0}, {}, {}),
        DurationsState(GRID, {5: 1.0}, {7: math.inf}, {}),
        DurationsState(GRID, {5: math.nan}, {}, {}),
    ],
)
def test_nonsense_is_not_recalled(nonsense: DurationsState) -> None:
    durations = Durations(expected_s=732.0, spread=0.35)
    before = median_s(durations)
    durations.recall(nonsense, jobs_max=30.0)
    assert median_s(durations) == before
