"""The instrument the other tests measure with."""

from __future__ import annotations

import asyncio

import pytest
from aiolimiter import AsyncLimiter

from tests.virtual_clock import EPOCH_UTC, VirtualClock, on_virtual_clock, run_virtual


@on_virtual_clock
async def test_a_day_passes_at_once_and_exactly(clock: VirtualClock) -> None:
    await clock.sleep(86_400)
    assert clock.now() == pytest.approx(86_400, abs=1e-3)
    assert clock.utc() == pytest.approx(EPOCH_UTC + 86_400, abs=1e-3)


@on_virtual_clock
async def test_timers_fire_in_their_order(clock: VirtualClock) -> None:
    fired: list[int] = []

    async def fire(delay_s: int) -> None:
        await clock.sleep(delay_s)
        fired.append(delay_s)

    async with asyncio.TaskGroup() as tasks:
        for delay_s in (3, 1, 2):
            tasks.create_task(fire(delay_s))
    assert fired == [1, 2, 3]


@on_virtual_clock
async def test_a_limiter_does_not_wake_for_ever_at_the_same_instant(clock: VirtualClock) -> None:
    limiter = AsyncLimiter(1, 60 / 49.25)
    for _ in range(1_000):
        await limiter.acquire()
    assert clock.now() == pytest.approx(999 * 60 / 49.25, rel=1e-3)


def test_a_deadlock_is_an_error_and_a_leaked_task_too() -> None:
    async def leaving() -> None:
        asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="left-behind")

    with pytest.raises(AssertionError, match="left-behind"):
        run_virtual(leaving())


def test_a_delay_too_small_to_change_the_time_does_not_stop_it() -> None:
    async def wake_at_this_instant_until_it_has_passed() -> None:
        loop = asyncio.get_running_loop()
        began, passed = loop.time(), asyncio.Event()

        def again() -> None:
            if loop.time() > began:
                passed.set()
            else:
                loop.call_at(began, again)

        again()
        await passed.wait()

    run_virtual(wake_at_this_instant_until_it_has_passed())
