"""A run that is stopped, softly or at once, and one to which jobs come while it works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.errors import ExitCode
from engine.ledger.new_lines import add_lines
from engine.ledger.recovery import recover
from engine.scheduling.stop import Manner, Stop
from tests.jobs import job_row, read_to
from tests.scheduling.conftest import places, stop_after
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World
    from tests.virtual_clock import VirtualClock

INTERRUPT = Stop("interrupted", "you pressed Ctrl-C", ExitCode.INTERRUPTED)


@on_virtual_clock
async def test_a_first_stop_harvests_what_is_paid_for_and_submits_nothing_new(build: Callable[..., World]) -> None:
    world = build()
    scheduler = await world.with_jobs(100)
    stop_after(scheduler, 30.0, INTERRUPT)
    await scheduler.run()
    found = await places(world)
    assert set(found) == {"succeeded", "pending"}
    assert found["succeeded"] == sum(world.provider.accepted.values())
    assert max(world.provider.times("submit")) <= 30
    await (await world.resumed()).run()
    assert await places(world) == {"succeeded": 100}
    assert set(world.provider.accepted.values()) == {1}


@on_virtual_clock
async def test_a_hard_stop_ends_within_two_seconds_and_a_resume_loses_and_repeats_nothing(
    build: Callable[..., World], clock: VirtualClock
) -> None:
    world = build(per_minute=600.0)
    world.provider.latency_s = 0.4
    scheduler = await world.with_jobs(100)
    stop_after(scheduler, 5.0, INTERRUPT)
    stop_after(scheduler, 5.2, Stop("interrupted", "again", ExitCode.INTERRUPTED, Manner.NOW))
    await scheduler.run()
    assert clock.now() < 7.3
    assert scheduler.stop is not None
    assert scheduler.stop.message == INTERRUPT.message  # the first reason is kept
    found = await places(world)
    assert set(found) == {"submitted", "pending"}
    await (await world.resumed()).run()
    assert await places(world) == {"succeeded": 100}
    assert set(world.provider.accepted.values()) == {1}


@on_virtual_clock
async def test_a_hard_stop_does_not_wait_for_replies_that_do_not_come_and_calls_them_unknown(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=600.0, overrides=["recovery.on_unknown=hold"])
    world.provider.latency_s = 30.0
    scheduler = await world.with_jobs(5)
    stop_after(scheduler, 1.0, Stop("terminated", "SIGTERM", ExitCode.TERMINATED, Manner.NOW))
    await scheduler.run()
    sent = world.provider.count("submit")
    assert sent > 0
    assert await world.ledger.change(recover) == sent
    assert (await places(world))["unknown"] == sent


@on_virtual_clock
async def test_a_softer_stop_after_a_harder_one_changes_nothing(build: Callable[..., World]) -> None:
    world = build()
    scheduler = await world.with_jobs(10)
    harder = Stop("unauthorized", "bad key", ExitCode.ACCOUNT, Manner.DOWNLOADS)
    stop_after(scheduler, 5.0, harder)
    stop_after(scheduler, 6.0, INTERRUPT)
    await scheduler.run()
    assert scheduler.stop is harder


@on_virtual_clock
async def test_nothing_to_do_ends_at_once(build: Callable[..., World], clock: VirtualClock) -> None:
    world = build()
    await (await world.with_jobs(0)).run()
    assert clock.now() < 1


@on_virtual_clock
async def test_jobs_that_come_while_it_works_are_taken_in(build: Callable[..., World]) -> None:
    world = build(per_minute=600.0)
    scheduler = world.scheduler()
    running = asyncio.create_task(scheduler.run())
    for first in range(0, 30, 10):
        await world.clock.sleep(500)
        await add_block(world, first)
        scheduler.input_grew(10)
    world.tally.input_complete = True
    scheduler.input_grew(0)
    await running
    assert await places(world) == {"succeeded": 30}


async def add_block(world: World, first: int) -> None:
    rows = [job_row(line, id_=f"j{line}", prompt=f"p{line}") for line in range(first + 1, first + 11)]
    await world.ledger.change(add_lines, rows, read_to(first + 10, complete=False))
