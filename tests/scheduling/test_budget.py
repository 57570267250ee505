"""Whole runs on virtual time: the plan is kept and used, whatever the provider does, and nothing expires."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from engine.provider.verdict import Throttled, Unavailable, Working
from tests.scheduling.conftest import busiest_minute, places
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World

LIFE_S = 3_600.0


def all_requests(world: World) -> list[float]:
    return [moment for moment, _, _ in world.provider.trace]


@on_virtual_clock
async def test_a_tight_plan_and_far_too_many_places_lose_no_record(build: Callable[..., World]) -> None:
    world = build(per_minute=50.0, shared=True, max_in_flight=2_000)
    world.provider.record_life_s = LIFE_S
    await (await world.with_jobs(1_500)).run()
    assert await places(world) == {"succeeded": 1_500}
    assert world.tally.in_flight_peak <= 750
    assert busiest_minute(all_requests(world)) <= 50
    requests_per_job = len(world.provider.trace) / 1_500
    assert requests_per_job < 3.3


@on_virtual_clock
async def test_a_provider_with_a_long_queue_loses_no_record(build: Callable[..., World]) -> None:
    world = build(per_minute=50.0, max_in_flight=400)
    world.provider.workers, world.provider.record_life_s = 120, LIFE_S
    await (await world.with_jobs(600)).run()
    assert await places(world) == {"succeeded": 600}


@on_virtual_clock
async def test_durations_that_double_half_way_are_followed(build: Callable[..., World]) -> None:
    world = build(per_minute=120.0, shared=True)
    world.provider.duration_of = lambda number: 713.0 * (2 if number >= 400 else 1) * (0.9 + 0.2 * (number % 7) / 6)
    await (await world.with_jobs(800)).run()
    assert await places(world) == {"succeeded": 800}
    late = [rid for _, what, rid in world.provider.trace if what == "poll" and int(rid, 16) >= 700]
    assert len(late) / 100 < 25
    assert world.policies[next(iter(world.policies))].typical_s == pytest.approx(1_426, rel=0.15)


@on_virtual_clock
async def test_jobs_of_seconds_are_not_left_lying_for_the_minutes_that_somebody_expected(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=600.0, expected_s=732.0)
    world.provider.duration_s = 8.0
    await (await world.with_jobs(100)).run()
    assert await places(world) == {"succeeded": 100}
    assert world.clock.now() < 60
    assert len(world.provider.times("poll")) < 300


@on_virtual_clock
async def test_an_unknown_status_word_a_stuck_job_and_a_flood_of_429s_leave_the_others_unharmed(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=120.0, job_deadline_s=7_200.0)
    world.provider.duration_of = lambda number: 1e9 if number == 3 else 713.0

    def poll(dice: random.Random) -> Any:
        if 700 < world.clock.now() < 760:
            return Throttled(5.0)
        return Working("REARRANGING") if dice.random() < 0.2 else None

    world.provider.draw_poll = poll
    await (await world.with_jobs(300)).run()
    assert await places(world) == {"succeeded": 299, "unknown": 1}
    assert world.provider.times("fetch")[-1] < 3_600
    stuck = [moment for moment, what, rid in world.provider.trace if what == "poll" and int(rid, 16) == 3]
    assert len(stuck) < 200


@pytest.mark.parametrize("round_", range(6))
def test_random_plans_and_replies_keep_the_cap_the_rate_and_every_job(
    build: Callable[..., World], rng: random.Random, round_: int
) -> None:
    @on_virtual_clock
    async def check() -> None:
        rate, cap = rng.choice((30.0, 90.0, 400.0)), rng.choice((5, 60, 300))
        median_s, spread = rng.choice((5.0, 120.0, 713.0, 1_500.0)), rng.choice((0.05, 0.5, 1.0))
        world = build(per_minute=rate, shared=True, max_in_flight=cap, expected_s=rng.choice((10.0, 732.0)))
        provider = world.provider
        dice = random.Random(rng.random())
        provider.duration_of = lambda _: min(median_s * dice.lognormvariate(0, spread), 2_000.0)
        provider.latency_s = rng.choice((0.01, 2.0))
        trouble = rng.choice((0.0, 0.02, 0.05))

        def odd(dice: random.Random) -> Any:
            return dice.choice((Throttled(3.0), Throttled(None))) if dice.random() < trouble else None

        def odd_poll(dice: random.Random) -> Any:
            return Unavailable("502") if dice.random() < trouble else odd(dice)

        provider.draw_submit, provider.draw_poll, provider.draw_fetch = odd, odd_poll, odd
        await (await world.with_jobs(120)).run()
        drawn = (rate, cap, median_s, spread, world.expected_s, provider.latency_s, trouble)
        assert await places(world) == {"succeeded": 120}, drawn
        assert world.tally.in_flight_peak <= cap
        assert busiest_minute(all_requests(world)) <= rate

    check()
