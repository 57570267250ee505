"""Being home in time: a deadline ends submissions early enough, a target takes as many places as it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.scheduling.deadline import Deadline, Target
from tests.scheduling.conftest import places
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


def test_the_places_needed_follow_littles_law() -> None:
    need = Target(10_000.0, "07:00").need(0.0, waiting=930, job_s=700.0, last_s=700.0)
    assert need.per_minute == pytest.approx(60 * 930 / 9_300)
    assert need.places == pytest.approx(1.1 * 930 / 9_300 * 700, abs=1)


@pytest.mark.parametrize(
    ("job_s", "allowed", "per_minute", "said"),
    [
        (700.0, 100, 50.0, ""),
        (700.0, 10, 50.0, "by 07:00 about 132 of the 930 jobs that wait can be home: 78 in flight would be needed"),
        (700.0, 100, 3.0, "6 submissions a minute would be needed, 3 are allowed"),
        (10_001.0, 100, 50.0, "by 07:00 about 0 of the 930 jobs that wait can be home: there is less time left"),
    ],
)
def test_a_target_out_of_reach_says_how_far_it_gets_and_why(
    job_s: float, allowed: int, per_minute: float, said: str
) -> None:
    target = Target(10_000.0, "07:00")
    found = target.shortfall(0.0, waiting=930, job_s=job_s, last_s=job_s, places=allowed, per_minute=per_minute)
    assert said in found
    assert bool(found) == bool(said)


@on_virtual_clock
async def test_everything_submitted_before_a_deadline_is_home_by_then_and_the_rest_waits(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=50.0, max_in_flight=100, deadline=Deadline(3_600.0, "07:00"))
    scheduler = await world.with_jobs(2_000)
    await scheduler.run()
    assert scheduler.stop is not None
    assert scheduler.stop.kind == "deadline"
    counts = await places(world)
    assert counts["succeeded"] > 250
    assert counts["pending"] == 2_000 - counts["succeeded"]
    late = [moment for moment in world.provider.times("fetch") if moment > 3_600.0]
    assert len(late) <= 0.05 * counts["succeeded"]
    assert world.clock.now() > 3_000


@on_virtual_clock
async def test_a_batch_that_is_done_before_its_deadline_knows_nothing_of_it(build: Callable[..., World]) -> None:
    world = build(deadline=Deadline(7_200.0, "07:00"))
    scheduler = await world.with_jobs(20)
    await scheduler.run()
    assert scheduler.stop is None
    assert await places(world) == {"succeeded": 20}


@on_virtual_clock
async def test_a_target_takes_no_more_places_than_it_needs_and_is_met(build: Callable[..., World]) -> None:
    world = build(per_minute=120.0, max_in_flight=500, target=Target(6 * 3_600.0, "07:00"))
    await (await world.with_jobs(800)).run()
    assert await places(world) == {"succeeded": 800}
    assert world.tally.in_flight_peak < 60
    assert 4 * 3_600 < world.clock.now() < 6 * 3_600
    assert world.said == []


@on_virtual_clock
async def test_a_target_that_cannot_be_met_is_said_once_and_everything_allowed_is_used(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=50.0, max_in_flight=20, target=Target(3_600.0, "07:00"))
    scheduler = await world.with_jobs(200)
    await scheduler.run()
    assert await places(world) == {"succeeded": 200}
    assert world.tally.in_flight_peak == 20
    assert len(world.said) == 1
    assert "in flight would be needed, 20 are allowed" in world.said[0]
