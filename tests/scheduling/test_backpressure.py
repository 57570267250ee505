"""How many jobs may be in flight: never more than come home before their records expire, never none."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from engine.scheduling.backlog import Backlog
from engine.scheduling.backpressure import Backpressure
from engine.scheduling.lane import Lane
from engine.scheduling.pace import Pace, Permit
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from tests.virtual_clock import VirtualClock

LIFE_S = 3_600.0


def pressure(
    clock: VirtualClock,
    *,
    per_minute: float = 6_000.0,
    typical_s: float | None = 700.0,
    max_in_flight: int = 1_000,
    backlog: Backlog | None = None,
) -> tuple[Backpressure, Lane]:
    pace = Pace(per_minute, adaptive=True, discover=False, clock=clock)
    lane = Lane("read", pace=pace, concurrency=64, clock=clock, rng=random.Random(1))
    return (
        Backpressure(
            max_in_flight=max_in_flight,
            reads=lane,
            typical_s=lambda: typical_s,
            record_life_s=LIFE_S,
            backlog=backlog or Backlog(waiting=int, places=lambda: 8, life_s=LIFE_S, clock=clock),
            clock=clock,
        ),
        lane,
    )


async def finish(found: Backpressure, clock: VirtualClock, *, per_minute: float, minutes: float) -> None:
    for _ in range(int(per_minute * minutes)):
        found.finished()
        await clock.sleep(60 / per_minute)


@on_virtual_clock
async def test_the_pace_of_reading_bounds_it_from_the_first_second_on(clock: VirtualClock) -> None:
    found, lane = pressure(clock, per_minute=50.0)
    assert found.bound == 50 * 60 / 4
    assert "50 requests/min bring home" in found.reason(750)
    lane.throttled(Permit(), 0.0)
    assert found.bound == 25 * 60 / 4


@on_virtual_clock
async def test_what_the_user_allows_is_never_exceeded_and_needs_no_words(clock: VirtualClock) -> None:
    found, _ = pressure(clock, max_in_flight=10)
    assert found.bound == 10
    assert found.reason(10) == ""


@on_virtual_clock
async def test_a_provider_that_works_off_little_gets_little(clock: VirtualClock) -> None:
    found, _ = pressure(clock)
    await finish(found, clock, per_minute=10, minutes=40)
    assert 300 < found.bound <= 10 * 60 * 0.6 + 1
    assert "the provider finishes in 36 min" in found.reason(500)


@on_virtual_clock
async def test_jobs_as_long_as_their_records_do_not_starve_the_run(clock: VirtualClock) -> None:
    found, _ = pressure(clock, typical_s=3_300.0)
    await finish(found, clock, per_minute=1, minutes=110)
    assert found.bound >= 55
    assert "the provider finishes in 82 min" in found.reason(500)  # half as much again as a job takes


@on_virtual_clock
async def test_it_never_bounds_to_none(clock: VirtualClock) -> None:
    found, lane = pressure(clock, per_minute=1.0)
    for epoch in range(20):
        lane.throttled(Permit(epoch), 0.0)
    assert found.bound == 1
