"""A run is steered while it works: paused, given other limits and another budget, on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.config import RunConfig
from engine.ledger.counts import count_jobs
from tests.scheduling.conftest import places
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


@on_virtual_clock
async def test_a_paused_run_submits_nothing_harvests_what_is_in_flight_and_goes_on(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    scheduler = await world.with_jobs(200)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    scheduler.pause("paused by hand")
    await world.clock.sleep(3)
    before = len(world.provider.times("submit"))
    await world.clock.sleep(3_600)
    assert len(world.provider.times("submit")) == before
    assert (await world.ledger.read(count_jobs))["succeeded"] == before
    assert "paused by hand" in scheduler.view().waits_for
    scheduler.pause("")
    await running
    assert await places(world) == {"succeeded": 200}


@on_virtual_clock
async def test_limits_that_are_changed_hold_from_then_on(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0, max_in_flight=500)
    scheduler = await world.with_jobs(300)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(62)
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=6", "limits.max_in_flight=500"]))
    await world.clock.sleep(600)
    submits = world.provider.times("submit")
    assert len([moment for moment in submits if 62 < moment < 662]) <= 61
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=600", "limits.max_in_flight=500"]))
    await world.clock.sleep(60)
    assert len([moment for moment in world.provider.times("submit") if moment > 662]) > 100
    await running
    assert await places(world) == {"succeeded": 300}


@on_virtual_clock
async def test_fewer_places_in_flight_are_reached_by_not_submitting(build: Callable[..., World]) -> None:
    world = build(per_minute=600.0, max_in_flight=100)
    scheduler = await world.with_jobs(300)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=600", "limits.max_in_flight=5"]))
    await world.clock.sleep(1_800)
    assert world.tally.in_flight <= 5
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=600", "limits.max_in_flight=100"]))
    await running
    assert await places(world) == {"succeeded": 300}


@on_virtual_clock
async def test_a_budget_that_is_raised_in_time_lets_the_run_finish(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    scheduler = await world.with_jobs(20)
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=60", "budget.cost_usd_max=45"]))
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(300)
    scheduler.change_limits(RunConfig.load(None, ["limits.submits_per_minute=60"]))
    await running
    assert await places(world) == {"succeeded": 20}
