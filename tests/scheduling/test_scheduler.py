"""Thousands of jobs on virtual time: within the plan, under the cap, and every one ends where it must."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from engine.job.records import JobError
from engine.ledger.counts import count_jobs
from engine.provider.verdict import Failed, Metrics, NotSent, Rejected, ServerError, Throttled, Unavailable
from tests.scheduling.conftest import busiest_minute, places
from tests.virtual_clock import on_virtual_clock, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scheduling.conftest import World

FORBIDDEN = Rejected(JobError(kind="forbidden", message="not yours", http_status=403))


@on_virtual_clock
async def test_every_job_ends_at_rest_within_the_plan_and_under_the_cap(build: Callable[..., World]) -> None:
    world = build(per_minute=120.0, max_in_flight=100)
    scheduler = await world.with_jobs(300)
    await scheduler.run()
    assert await places(world) == {"succeeded": 300}
    assert set(world.provider.accepted.values()) == {1}
    assert world.provider.running_peak <= world.tally.in_flight_peak <= 100
    assert busiest_minute(world.provider.times("submit")) <= 120
    assert busiest_minute(sorted(world.provider.times("poll") + world.provider.times("fetch"))) <= 600
    assert world.decided == world.tally.succeeded == 300
    assert (world.tally.pending, world.tally.in_flight) == (0, 0)


@on_virtual_clock
async def test_one_shared_budget_counts_every_request(build: Callable[..., World]) -> None:
    world = build(per_minute=120.0, shared=True)
    await (await world.with_jobs(100)).run()
    assert busiest_minute([moment for moment, _, _ in world.provider.trace]) <= 120
    assert await places(world) == {"succeeded": 100}


@on_virtual_clock
async def test_no_result_is_left_until_its_record_expires(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0, polls_per_minute=60.0, max_in_flight=2_000)
    await (await world.with_jobs(400)).run()
    submitted = dict(zip(range(400), world.provider.times("submit"), strict=True))
    fetched = {int(request_id, 16): moment for moment, what, request_id in world.provider.trace if what == "fetch"}
    assert max(fetched[number] - submitted[number] for number in range(400)) < 3_600
    assert await places(world) == {"succeeded": 400}


@on_virtual_clock
async def test_a_few_polls_a_job_are_enough(build: Callable[..., World]) -> None:
    world = build(per_minute=600.0, max_in_flight=1_000)
    await (await world.with_jobs(500)).run()
    assert world.tally.polls / 500 < 14  # 600 reads a minute are more than they need: the cheapest poll decides


def simulate(path: Path, seed: int, jobs: int) -> list[tuple[float, str, str]]:
    from tests.scheduling.conftest import World  # noqa: PLC0415 (a fixture's module, here used as a library)
    from tests.virtual_clock import VirtualClock  # noqa: PLC0415 (as above)

    trace: list[tuple[float, str, str]] = []

    async def night() -> None:
        world = World(path, VirtualClock(), random.Random(seed), per_minute=1_000.0, max_in_flight=1_000)
        world.provider.draw_submit = odd_submission
        world.provider.draw_poll = odd_poll
        await (await world.with_jobs(jobs)).run()
        counts = await world.ledger.read(count_jobs)
        assert sum(counts.values()) == jobs
        assert counts["succeeded"] > 0.7 * jobs
        trace.extend(world.provider.trace)
        world.ledger.close()

    run_virtual(night())
    return trace


NIGHT_JOBS = 700
"""So many that the longest of them lasts into the night that is asserted, whatever the seed."""


def odd_submission(rng: random.Random) -> Any:
    odd = [NotSent("refused"), Throttled(5.0), ServerError("oops", 500), FORBIDDEN]
    return rng.choice(odd[:3]) if rng.random() < 0.02 else None


def odd_poll(rng: random.Random) -> Any:
    odd = [Unavailable("502"), Throttled(2.0), Failed("face not found", 422, Metrics())]
    return rng.choice(odd) if rng.random() < 0.01 else None


def test_a_night_leaves_the_same_trace_for_the_same_seed(tmp_path: Path, seed: int) -> None:
    first = simulate(tmp_path / "a.db", seed, NIGHT_JOBS)
    assert first[-1][0] > 1_000  # seconds of a virtual night
    assert first == simulate(tmp_path / "b.db", seed, NIGHT_JOBS)
    assert first != simulate(tmp_path / "c.db", seed + 1, NIGHT_JOBS)
