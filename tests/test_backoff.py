"""Waits grow, are spread over their whole range, and have an end."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

import pytest

from engine.backoff import backoff_s

if TYPE_CHECKING:
    import random


@pytest.mark.parametrize(("failures", "bound"), [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (1_000_000, 60.0)])
def test_a_wait_is_drawn_from_zero_to_its_bound(rng: random.Random, failures: int, bound: float) -> None:
    drawn = [backoff_s(failures, first_s=1.0, max_s=60.0, rng=rng) for _ in range(2_000)]
    assert 0 <= min(drawn) < 0.05 * bound
    assert 0.95 * bound < max(drawn) <= bound
    assert mean(drawn) == pytest.approx(bound / 2, rel=0.1)
