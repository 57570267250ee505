"""A process takes up what an earlier one left."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING

import pytest

from engine.errors import ExitCode
from engine.job.states import State
from engine.provider.verdict import UnknownOutcome
from engine.scheduling.stop import Manner, Stop
from tests.jobs import add_jobs, bring_to, state_of
from tests.scheduling.conftest import places, stop_after
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.provider.history import HistoryRow
    from tests.scheduling.conftest import World
    from tests.virtual_clock import VirtualClock


@on_virtual_clock
async def test_what_an_earlier_process_left_is_finished_before_anything_new_is_submitted(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=600.0)
    scheduler = await world.with_jobs(60)
    stop_after(scheduler, 2.5, Stop("terminated", "SIGTERM", ExitCode.TERMINATED, Manner.NOW))
    await scheduler.run()
    before = world.provider.count("submit")
    await world.clock.sleep(1_500)
    world.provider.trace.clear()
    await (await world.resumed()).run()
    order = [what for _, what, _ in world.provider.trace]
    assert order[:before].count("submit") == 0
    assert await places(world) == {"succeeded": 60}
    assert set(world.provider.accepted.values()) == {1}


@on_virtual_clock
async def test_killed_again_and_again_every_job_is_paid_once(build: Callable[..., World], rng: random.Random) -> None:
    world = build(per_minute=600.0, max_in_flight=30)
    scheduler = await world.with_jobs(60)
    for _ in itertools.count():
        stop_after(scheduler, rng.uniform(50, 900), Stop("terminated", "x", ExitCode.TERMINATED, Manner.NOW))
        await scheduler.run()
        if await places(world) == {"succeeded": 60}:
            break
        scheduler = await world.resumed()
    assert set(world.provider.accepted.values()) == {1}
    assert await state_of(world.ledger) == State.STORED


@on_virtual_clock
async def test_an_unknown_outcome_of_an_earlier_process_does_not_keep_the_rest_from_being_submitted(
    build: Callable[..., World],
) -> None:
    world = build()
    await add_jobs(world.ledger, 5)
    await bring_to(world.ledger, State.UNKNOWN)
    async with asyncio.timeout(100_000):
        await (await world.resumed()).run()
    assert await places(world) == {"succeeded": 4, "unknown": 1}


class _Nothing:
    """A history that answers and has nothing."""

    async def row(self, _request_id: str) -> None:
        return None

    async def rows(self, _model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow]:
        return []


@on_virtual_clock
async def test_while_only_an_unknown_outcome_is_left_it_is_said_until_when_it_is_looked_up(
    build: Callable[..., World],
) -> None:
    world = build(overrides=["recovery.on_unknown=hold", "recovery.grace_s=900"])
    world.history = _Nothing()
    replies = iter([UnknownOutcome("time-out")])
    world.provider.draw_submit = lambda _: next(replies, None)
    scheduler = await world.with_jobs(2)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(1_500)
    said = re.fullmatch(
        r"1 unknown outcome is looked up in the provider's history, next at (\S+ )?(\S+) and until (\S+ )?(\S+)",
        scheduler.view().waits_for,
    )
    assert said, scheduler.view().waits_for
    assert said[2] < said[4] or said[1] != said[3]
    await running
    assert await places(world) == {"succeeded": 1, "unknown": 1}


@pytest.mark.parametrize("jump_s", [2 * 86_400.0, -2 * 86_400.0])
def test_a_clock_that_is_set_two_days_off_fails_no_job_and_loses_none(
    build: Callable[..., World], clock: VirtualClock, jump_s: float
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build(per_minute=600.0)
        scheduler = await world.with_jobs(20)
        asyncio.get_running_loop().call_later(200.0, setattr, clock, "jump_s", jump_s)
        await scheduler.run()
        found = await places(world)
        assert found == {"succeeded": 20}

    check()
