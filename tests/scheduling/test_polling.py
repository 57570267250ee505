"""Where polls are placed, and what a strange duration does to that."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest

from engine.scheduling.polling import FixedPolling, LearnedPolling

if TYPE_CHECKING:
    import random

    from engine.scheduling.polling import PollingPolicy


def ages(policy: PollingPolicy, *, until_s: float) -> list[float]:
    found = [policy.next_age_s(0.0)]
    while found[-1] < until_s:
        found.append(policy.next_age_s(found[-1]))
    return found


def taught(rng: random.Random, *, median_s: float = 713.0, spread: float = 0.15, jobs: int = 300) -> LearnedPolling:
    policy = LearnedPolling(expected_s=732.0)
    for _ in range(jobs):
        policy.observe(median_s * rng.lognormvariate(0, spread))
    return policy


def test_fixed_polling_asks_at_its_interval_and_knows_nothing() -> None:
    policy = FixedPolling(15.0)
    policy.observe(713.0)
    assert [policy.next_age_s(age) for age in (0.0, 15.0, 100.0)] == [15.0, 30.0, 115.0]
    assert policy.typical_s is None


def test_before_anything_was_seen_the_expectation_counts() -> None:
    policy = LearnedPolling(expected_s=732.0)
    assert policy.typical_s == pytest.approx(732.0)
    assert policy.share_done(732.0) == pytest.approx(0.5)


def test_ages_always_grow_and_end_in_a_sparse_tail(rng: random.Random) -> None:
    found = ages(taught(rng), until_s=20_000)
    assert all(later > earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] - found[-2] > 0.1 * found[-2]


def test_the_share_done_grows_from_nothing_to_all(rng: random.Random) -> None:
    policy = taught(rng)
    shares = [policy.share_done(age) for age in (-5, 0, 100, 500, 713, 1_000, 5_000, 1e9)]
    assert shares == sorted(shares)
    assert (shares[0], shares[1], shares[-1]) == (0.0, 0.0, 1.0)


def test_it_learns_the_duration(rng: random.Random) -> None:
    assert taught(rng, median_s=300.0).typical_s == pytest.approx(300.0, rel=0.1)


def test_it_follows_a_drift_and_forgets(rng: random.Random) -> None:
    policy = taught(rng, median_s=300.0)
    for _ in range(300):
        policy.observe(900.0 * rng.lognormvariate(0, 0.15))
    assert policy.typical_s == pytest.approx(900.0, rel=0.1)


def test_a_few_polls_find_a_job_soon_after_it_is_done(rng: random.Random) -> None:
    policy = taught(rng)
    polls, lags = 0, []
    for _ in range(500):
        done_s = 713.0 * rng.lognormvariate(0, 0.15)
        asked = ages(policy, until_s=done_s)
        polls += len(asked)
        lags.append(asked[-1] - done_s)
    assert polls / 500 < 8
    assert sorted(lags)[474] < 0.25 * 713


@pytest.mark.parametrize("absurd", [1e-300, 1e-9, 1e9, 7.13e11, 1e18, 1e308])
def test_one_absurd_duration_does_not_keep_anybody_from_being_asked(rng: random.Random, absurd: float) -> None:
    for policy in (LearnedPolling(expected_s=732.0), taught(rng, jobs=20)):
        policy.observe(absurd)
        found = ages(policy, until_s=3_600)
        assert found[-1] < 2 * 3_600
        assert len(found) < 500


def test_absurd_durations_in_a_row_break_nothing() -> None:
    policy = LearnedPolling(expected_s=60.0, spread=1.0)
    for duration_s in [1e308, 1e-308] * 400:
        policy.observe(duration_s)
        assert math.isfinite(policy.next_age_s(100.0))


@pytest.mark.parametrize("nothing", [0.0, -1.0, math.nan])
def test_a_duration_that_is_none_is_ignored(nothing: float) -> None:
    policy = LearnedPolling(expected_s=732.0)
    policy.observe(nothing)
    assert policy.typical_s == pytest.approx(732.0)


def test_durations_that_never_vary_do_not_end_in_a_storm_of_polls() -> None:
    policy = LearnedPolling(expected_s=100.0)
    for _ in range(300):
        policy.observe(100.0)
    assert len(ages(policy, until_s=400.0)) < 40


def test_the_window_sums_stay_right_for_a_long_night(rng: random.Random) -> None:
    policy = LearnedPolling(expected_s=713.0)
    for _ in range(20_000):
        policy.observe(713.0 * rng.lognormvariate(0, 0.15))
    assert policy.typical_s == pytest.approx(math.exp(sum(policy._logs) / len(policy._logs)), rel=1e-3)
