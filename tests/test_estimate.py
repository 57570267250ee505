"""Estimates are honest about how little they rest on."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import pytest

from engine.estimate import eta

if TYPE_CHECKING:
    import random


def test_nothing_left_takes_no_time() -> None:
    assert eta(left=0, finished=0, window_s=0.0) == (0.0, 0.0)


@pytest.mark.parametrize(("finished", "window_s"), [(0, 600.0), (2, 600.0), (10, 0.0)])
def test_too_little_to_go_by_gives_no_estimate(finished: int, window_s: float) -> None:
    assert eta(left=10, finished=finished, window_s=window_s) is None


def test_the_spread_shrinks_with_what_it_rests_on() -> None:
    few, many = eta(left=100, finished=9, window_s=90.0), eta(left=100, finished=900, window_s=9_000.0)
    assert few is not None
    assert many is not None
    assert few.likely_s == many.likely_s == pytest.approx(1_000)
    assert few.spread_s > 5 * many.spread_s


def test_the_truth_lies_within_the_spread_nearly_always(rng: random.Random) -> None:
    hits = 0
    for _ in range(400):
        arrivals = list(accumulate(rng.expovariate(1 / 10) for _ in range(200)))
        finished = sum(moment <= 600 for moment in arrivals)
        foretold = eta(left=200 - finished, finished=finished, window_s=600.0)
        assert foretold is not None
        hits += abs(foretold.likely_s - (arrivals[-1] - 600)) <= 1.5 * foretold.spread_s
    assert hits > 0.9 * 400
