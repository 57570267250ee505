"""Where polls are placed, and what a strange duration does to that."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest

from engine.scheduling.durations import Durations
from engine.scheduling.polling import FixedPolling, LearnedPolling

if TYPE_CHECKING:
    import random

    from engine.scheduling.polling import PollingPolicy

PRICE_S = 5.0


def ages(policy: PollingPolicy, *, until_s: float) -> list[float]:
    found = [policy.due_age_s(0.0)]
    while found[-1] < until_s:
        found.append(policy.due_age_s(found[-1]))
    return found


def learner(*, expected_s: float = 732.0, spread: float = 0.35) -> LearnedPolling:
    policy = LearnedPolling(Durations(expected_s=expected_s, spread=spread), itertools.count().__next__)
    policy.charge(PRICE_S * expected_s / 732.0)
    return policy


def follow(policy: PollingPolicy, done_s: float, *, claimed_s: float | None = None) -> list[float]:
    """Ask about one job as the policy says until it is done, showing it what was seen; return the ages asked at."""
    asked = [0.0]
    while asked[-1] < done_s:
        age_s = policy.due_age_s(asked[-1])
        if age_s < done_s:
            policy.still_running(asked[-1], age_s)
        else:
            policy.finished(asked[-1], age_s, claimed_s=claimed_s)
        asked.append(age_s)
    return asked[1:]


def taught(rng: random.Random, *, median_s: float = 713.0, spread: float = 0.15, jobs: int = 300) -> LearnedPolling:
    policy = learner()
    for _ in range(jobs):
        follow(policy, median_s * rng.lognormvariate(0, spread))
    return policy


def test_fixed_polling_asks_at_its_interval_and_knows_nothing() -> None:
    policy = FixedPolling(15.0)
    policy.finished(700.0, 713.0, claimed_s=None)
    policy.still_running(0.0, 100.0)
    assert [policy.due_age_s(age) for age in (0.0, 15.0, 100.0)] == [15.0, 30.0, 115.0]
    assert policy.typical_s is None
    assert policy.chance(20.0, since_s=10.0) == 0.5
    assert math.isinf(policy.age_at(0.9, since_s=10.0))


def test_before_anything_was_seen_the_expectation_counts() -> None:
    policy = learner()
    assert policy.typical_s == pytest.approx(732.0, rel=0.03)
    assert policy.chance(732.0, since_s=0.0) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("expected_s", [2.0, 60.0, 713.0, 3_600.0])
def test_it_works_at_any_scale_of_time(rng: random.Random, expected_s: float) -> None:
    policy = learner(expected_s=expected_s)
    asked = [follow(policy, expected_s * rng.lognormvariate(0, 0.15)) for _ in range(300)]
    assert policy.typical_s == pytest.approx(expected_s, rel=0.1)
    assert sum(map(len, asked[200:])) / 100 < 7


def test_ages_always_grow_and_end_in_a_sparse_tail(rng: random.Random) -> None:
    found = ages(taught(rng), until_s=20_000)
    assert all(later > earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] - found[-2] > 0.01 * found[-2]


def test_a_dearer_poll_is_asked_later_and_seldomer(rng: random.Random) -> None:
    policy = taught(rng)
    counts = []
    for price_s in (2.0, 20.0, 200.0):
        policy.charge(price_s)
        counts.append(policy.schedule.polls)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 2


def test_chance_and_age_belong_together(rng: random.Random) -> None:
    policy = taught(rng)
    for since_s in (0.0, 600.0, 800.0):
        for chance in (0.1, 0.5, 0.9):
            age_s = policy.age_at(chance, since_s=since_s)
            assert policy.chance(age_s, since_s=since_s) == pytest.approx(chance, abs=1e-6)


def test_a_stuck_job_is_not_believed_to_be_done(rng: random.Random) -> None:
    policy = taught(rng)
    assert policy.chance(3_700.0, since_s=3_600.0) < 0.2


@pytest.mark.parametrize("claims", [True, False])
def test_it_learns_the_duration_from_polls_alone_and_from_the_providers_word(
    rng: random.Random, *, claims: bool
) -> None:
    policy = learner()
    for _ in range(100):
        done_s = 300.0 * rng.lognormvariate(0, 0.1)
        follow(policy, done_s, claimed_s=done_s if claims else None)
    assert policy.typical_s == pytest.approx(300.0, rel=0.1)


def test_it_follows_a_drift_and_forgets(rng: random.Random) -> None:
    policy = taught(rng, median_s=300.0)
    asked = [follow(policy, 900.0 * rng.lognormvariate(0, 0.15)) for _ in range(600)]
    assert policy.typical_s == pytest.approx(900.0, rel=0.1)
    assert sum(map(len, asked[500:])) / 100 < 10


def test_quick_failures_beside_slow_successes_break_nothing(rng: random.Random) -> None:
    policy = learner()
    asked = []
    for _ in range(500):
        quick = rng.random() < 0.2
        done_s = 20.0 * rng.lognormvariate(0, 0.3) if quick else 713.0 * rng.lognormvariate(0, 0.1)
        asked.append((follow(policy, done_s), done_s))
    late = asked[300:]
    assert sum(len(found) for found, _ in late) / 200 < 8
    assert sum(found[-1] - done_s for found, done_s in late) / 200 < 0.08 * 713


@pytest.mark.parametrize("absurd", [1e-300, 1e-9, 1e9, 7.13e11, 1e18, 1e308, -1.0, 0.0, math.nan, math.inf])
def test_an_absurd_claim_changes_nothing_that_was_seen(rng: random.Random, absurd: float) -> None:
    policy = learner()
    for _ in range(100):
        follow(policy, 713.0 * rng.lognormvariate(0, 0.15), claimed_s=absurd)
    assert policy.typical_s == pytest.approx(713.0, rel=0.1)
    assert len(ages(policy, until_s=3_600)) < 200


@pytest.mark.parametrize("expected_s", [1e-3, 1e6])
def test_an_absurd_expectation_is_survived(rng: random.Random, expected_s: float) -> None:
    policy = learner(expected_s=expected_s)
    for _ in range(300):
        follow(policy, 713.0 * rng.lognormvariate(0, 0.15))
    assert policy.typical_s == pytest.approx(713.0, rel=0.3)


def test_durations_that_never_vary_do_not_end_in_a_storm_of_polls() -> None:
    policy = learner(expected_s=100.0)
    for _ in range(300):
        follow(policy, 100.0)
    assert len(ages(policy, until_s=400.0)) < 60


def test_the_weights_stay_finite_for_a_long_night(rng: random.Random) -> None:
    policy = learner()
    for _ in range(20_000):
        policy.finished(600.0, 720.0, claimed_s=None)
    assert policy.durations.jobs == pytest.approx(301, rel=0.02)


def test_a_few_scouts_look_early_until_the_first_request_is_found_finished() -> None:
    policy = learner()
    asked = [policy.idle_age_s(0.0) for _ in range(4)]
    assert asked[:2] == [1.0, 1.0]
    assert min(asked[2:]) > 100
    assert policy.idle_age_s(1.05) == 2.0
    policy.finished(1.05, 2.1, claimed_s=None)
    assert policy.idle_age_s(2.05) > 4.0
