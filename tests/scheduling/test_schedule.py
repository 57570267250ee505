"""The schedule is the best there is: no other choice of ages costs less."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from engine.scheduling.distribution import Distribution
from engine.scheduling.schedule import best_schedule

if TYPE_CHECKING:
    import random

TAIL_HAZARD = 2.0


def random_distribution(rng: random.Random, ages: int) -> Distribution:
    steps_s = [0.0]
    for _ in range(ages):
        steps_s.append(steps_s[-1] + rng.uniform(1.0, 30.0))
    masses = [rng.choice((0.0, rng.random(), 5 * rng.random())) for _ in range(ages)]
    whole, so_far, done = sum(masses) * 1.02 + 1e-3, 0.0, [0.0]
    for mass in masses:
        so_far += mass / whole
        done.append(so_far)
    return Distribution(steps_s, done, TAIL_HAZARD)


def cost_by_comparing_all_pairs(found: Distribution, price_s: float) -> float:
    ages_s, done, last = found.ages_s, found.done, len(found.ages_s) - 1
    gap_s = best_schedule(found, price_s).next_s[last] - ages_s[last]
    cost = [0.0] * last + [(1 - done[last]) * 2 * gap_s]

    def lag_s(young: int, old: int) -> float:
        return sum((ages_s[k + 1] - ages_s[k]) * ((done[k] + done[k + 1]) / 2 - done[young]) for k in range(young, old))

    for young in range(last - 1, -1, -1):
        cost[young] = min(
            price_s * (1 - done[young]) + lag_s(young, old) + cost[old] for old in range(young + 1, last + 1)
        )
    return cost[0]


def cost_of(found: Distribution, price_s: float) -> float:
    """Walk the schedule from age 0 to the end of the grid and add up what it costs."""
    made, ages_s = best_schedule(found, price_s), list(found.ages_s)
    place, cost, last = 0, 0.0, len(ages_s) - 1
    while place < last:
        then = ages_s.index(made.next_s[place])
        cost += price_s * (1 - found.done[place])
        cost += sum(
            (ages_s[k + 1] - ages_s[k]) * ((found.done[k] + found.done[k + 1]) / 2 - found.done[place])
            for k in range(place, then)
        )
        place = then
    return cost + (1 - found.done[last]) * 2 * (made.next_s[last] - ages_s[last])


def test_no_other_choice_costs_less(rng: random.Random) -> None:
    for _ in range(60):
        found = random_distribution(rng, rng.randint(1, 25))
        price_s = 10 ** rng.uniform(-1, 2.5)
        assert cost_of(found, price_s) == pytest.approx(cost_by_comparing_all_pairs(found, price_s), rel=1e-9)


def test_what_it_says_of_itself_is_what_happens(rng: random.Random) -> None:
    ages_s = [0.0, *(100.0 * math.exp(0.01 * step) for step in range(400))]
    done = [0.0, *(1 - math.exp(-((age_s / 700.0) ** 6)) for age_s in ages_s[1:])]
    found = Distribution(ages_s, [min(share, 1 - 1e-9) for share in done], TAIL_HAZARD)
    made = best_schedule(found, 5.0)
    polls, lags = 0, 0.0
    for _ in range(4_000):
        takes_s, age_s = 700.0 * (-math.log(rng.random())) ** (1 / 6), 0.0
        while age_s < takes_s:
            age_s = made.next_age_s(age_s)
            polls += 1
        lags += age_s - takes_s
    assert polls / 4_000 == pytest.approx(made.polls, rel=0.05)
    assert lags / 4_000 == pytest.approx(made.lag_s, rel=0.08)


def test_shares_and_ages_are_each_others_inverse(rng: random.Random) -> None:
    found = Distribution([0.0, 10.0, 20.0, 40.0], [0.0, 0.1, 0.7, 0.9], TAIL_HAZARD)
    for share in (0.05, 0.1, 0.5, 0.7, 0.89, 0.95, 0.999):
        assert found.share_done(found.age_at(share)) == pytest.approx(share)
    assert found.share_done(0.0) == found.share_done(-1.0) == 0.0
