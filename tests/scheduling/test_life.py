"""A step that breaks holds its job; what was decided stays decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.records import JobError
from engine.job.states import State
from engine.scheduling.steps import SetAside
from tests.jobs import state_of
from tests.scheduling.steps import flight_at
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


@on_virtual_clock
async def test_a_job_whose_step_broke_is_held_and_one_that_was_decided_stays_decided(
    build: Callable[..., World],
) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    assert isinstance(await world.life.hold(flight, "a step broke"), SetAside)
    assert await state_of(world.ledger) == State.HELD
    await world.ledger.failed(0, 1, JobError(kind="rejected", message="x"))
    await world.life.hold(flight, "again")
    assert await state_of(world.ledger) == State.FAILED
