"""The price of a poll settles where polls use what the budget has left, whatever it began with."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from engine.scheduling.durations import Durations
from engine.scheduling.lane import Lane
from engine.scheduling.pace import Pace
from engine.scheduling.poll_price import USED_SHARE, PollPrice
from engine.scheduling.polling import FixedPolling, LearnedPolling
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from engine.scheduling.polling import PollingPolicy
    from tests.virtual_clock import VirtualClock


def settled(
    clock: VirtualClock, policy: PollingPolicy, *, per_minute: float, places: int, waiting: int, under_way: int
) -> PollPrice:
    pace = Pace(per_minute, adaptive=True, discover=False, clock=clock)
    lane = Lane("submit", pace=pace, concurrency=64, clock=clock, rng=random.Random(1))
    price = PollPrice(
        submits=lane,
        reads=lane,
        polling_for=lambda _: policy,
        under_way=lambda: {"a": under_way, "gone": 0},
        places=lambda: places,
        waiting=lambda: waiting,
    )
    for _ in range(60):
        price.look()
    return price


def learner() -> LearnedPolling:
    return LearnedPolling(Durations(expected_s=713.0, spread=0.15), itertools.count().__next__)


@on_virtual_clock
async def test_polls_use_what_submissions_and_fetches_leave(clock: VirtualClock) -> None:
    policy = learner()
    settled(clock, policy, per_minute=120.0, places=200, waiting=1_000, under_way=200)
    made = policy.schedule
    jobs_per_minute = 200 * 60 / (policy.mean_s + made.lag_s)
    assert jobs_per_minute * (2 + made.polls) == pytest.approx(USED_SHARE * 120.0, rel=0.05)


@on_virtual_clock
async def test_a_tight_budget_makes_polls_dear_and_a_rich_one_cheap(clock: VirtualClock) -> None:
    prices = [
        settled(clock, learner(), per_minute=rate, places=200, waiting=1_000, under_way=200).price_s
        for rate in (50.0, 120.0, 1_000.0)
    ]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > 20 * prices[2]


@on_virtual_clock
async def test_when_nothing_more_is_submitted_the_rest_goes_to_polls(clock: VirtualClock) -> None:
    busy = settled(clock, learner(), per_minute=60.0, places=200, waiting=1_000, under_way=200)
    last = settled(clock, learner(), per_minute=60.0, places=200, waiting=0, under_way=200)
    assert last.price_s < busy.price_s


@on_virtual_clock
async def test_a_policy_without_a_price_is_left_alone(clock: VirtualClock) -> None:
    price = settled(clock, FixedPolling(10.0), per_minute=60.0, places=10, waiting=5, under_way=5)
    assert price.price_s == 0.0
