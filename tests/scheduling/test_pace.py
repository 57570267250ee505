"""The pace: halved once per burst, grown by use, and soon back under the ceiling that it remembers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from engine.scheduling.pace import PACE_SHARE_MIN, WINDOW_S, Pace, Permit
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    import random

    from tests.virtual_clock import VirtualClock


def pace_of(clock: VirtualClock, per_minute: float = 60.0, *, discover: bool = False, adaptive: bool = True) -> Pace:
    return Pace(per_minute, adaptive=adaptive, discover=discover, clock=clock)


async def use(pace: Pace, clock: VirtualClock, *, minutes: float, limit_per_minute: float) -> tuple[int, int]:
    """Send requests at the pace to a server that counts a sliding minute; return (accepted, refused)."""
    taken: deque[float] = deque()
    accepted = refused = 0
    end = clock.now() + 60 * minutes
    while clock.now() < end:
        permit = pace.permit(pressed=True)
        while taken and taken[0] <= clock.now() - 60:
            taken.popleft()
        if len(taken) < limit_per_minute:
            taken.append(clock.now())
            accepted += 1
            pace.accepted(permit)
        else:
            refused += 1
            pace.throttled(permit)
            await clock.sleep(taken[0] + 60 - clock.now())
        await clock.sleep(60 / pace.per_minute)
    return accepted, refused


@on_virtual_clock
async def test_a_burst_of_429s_halves_the_pace_once(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    for _ in range(20):
        pace.throttled(Permit(0))
    assert pace.per_minute == 30.0
    pace.throttled(Permit(1))
    assert pace.per_minute == 15.0


@on_virtual_clock
async def test_it_has_a_floor(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    for epoch in range(50):
        pace.throttled(Permit(epoch))
    assert pace.per_minute == 60.0 * PACE_SHARE_MIN


@on_virtual_clock
async def test_it_never_grows_above_a_known_limit(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    for _ in range(1_000):
        pace.accepted(pace.permit(pressed=True))
    assert pace.per_minute == 60.0


@on_virtual_clock
async def test_what_was_not_waited_for_or_sent_under_an_older_pace_grows_nothing(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    old = pace.permit(pressed=True)
    pace.throttled(old)
    for _ in range(100):
        pace.accepted(old)
        pace.accepted(pace.permit(pressed=False))
    assert pace.per_minute == 30.0


@on_virtual_clock
async def test_an_unknown_limit_is_found_within_a_minute_and_nearly_all_of_it_used(clock: VirtualClock) -> None:
    for limit in (120.0, 1_000.0):
        pace = pace_of(clock, 50.0, discover=True)
        await use(pace, clock, minutes=1, limit_per_minute=limit)
        await clock.sleep(60)
        accepted, refused = await use(pace, clock, minutes=120, limit_per_minute=limit)
        assert accepted > 0.95 * 120 * limit
        assert refused < 0.01 * accepted


@on_virtual_clock
async def test_429s_that_come_at_random_do_not_bring_it_to_its_knees(clock: VirtualClock, rng: random.Random) -> None:
    pace = pace_of(clock)
    sent = 0
    while clock.now() < 7_200:
        permit = pace.permit(pressed=True)
        sent += 1
        (pace.throttled if rng.random() < 0.05 else pace.accepted)(permit)
        await clock.sleep(60 / pace.per_minute)
    assert sent > 0.2 * 120 * 60


@on_virtual_clock
async def test_a_limit_below_the_plans_is_found_by_two_429s_at_the_same_place(clock: VirtualClock) -> None:
    for limit in (20, 40, 55):
        pace = pace_of(clock)
        await use(pace, clock, minutes=3, limit_per_minute=limit)
        accepted, refused = await use(pace, clock, minutes=120, limit_per_minute=limit)
        assert accepted > 0.95 * 120 * limit
        assert refused < 0.01 * accepted


@on_virtual_clock
async def test_one_429_below_the_plans_limit_shows_no_ceiling(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    pace.restore(30.0)
    await clock.sleep(WINDOW_S)
    pace.throttled(pace.permit(pressed=True))
    for _ in range(40):
        pace.accepted(pace.permit(pressed=True))
    assert pace.per_minute > 50.0


@on_virtual_clock
async def test_a_limit_that_rises_is_found_again(clock: VirtualClock) -> None:
    pace = pace_of(clock, 50.0, discover=True)
    await use(pace, clock, minutes=10, limit_per_minute=60)
    await use(pace, clock, minutes=60, limit_per_minute=240)
    assert pace.per_minute > 0.9 * 240


@on_virtual_clock
async def test_a_pace_that_an_earlier_process_found_is_kept_within_the_limit(clock: VirtualClock) -> None:
    pace = pace_of(clock)
    pace.restore(20.0)
    assert pace.per_minute == 20.0
    pace.restore(600.0)
    assert pace.per_minute == 60.0


@on_virtual_clock
async def test_a_pace_that_does_not_adapt_stays(clock: VirtualClock) -> None:
    pace = pace_of(clock, adaptive=False)
    pace.throttled(Permit(0))
    assert pace.per_minute == 60.0
