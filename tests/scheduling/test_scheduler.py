"""Thousands of jobs on virtual time: within the plan, under the cap, and every one ends where it must."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ExitCode, StorageError
from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.counts import count_jobs
from engine.ledger.new_lines import add_lines
from engine.ledger.recovery import recover
from engine.media.failures import DownloadError
from engine.provider.verdict import (
    Accepted,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    NotSent,
    Rejected,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
)
from engine.scheduling.stop import Manner, Stop
from tests.jobs import add_jobs, bring_to, job_row, read_to, state_of
from tests.virtual_clock import on_virtual_clock, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.provider.history import HistoryRow
    from engine.scheduling.scheduler import Scheduler
    from tests.scheduling.conftest import World
    from tests.virtual_clock import VirtualClock

INTERRUPT = Stop("interrupted", "you pressed Ctrl-C", ExitCode.INTERRUPTED)
FORBIDDEN = Rejected(JobError(kind="forbidden", message="not yours", http_status=403))


def busiest_minute(times: list[float]) -> int:
    busiest, first = 0, 0
    for last, moment in enumerate(times):
        while times[first] <= moment - 60:
            first += 1
        busiest = max(busiest, last - first + 1)
    return busiest


async def places(world: World) -> dict[str, int]:
    return await world.ledger.read(count_jobs)


def stop_after(scheduler: Scheduler, delay_s: float, stop: Stop) -> None:
    asyncio.get_running_loop().call_later(delay_s, scheduler.request_stop, stop)


# --- the plan -------------------------------------------------------------------------------------


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


# --- what goes wrong ------------------------------------------------------------------------------


@on_virtual_clock
async def test_a_storm_of_everything_ends_with_every_job_somewhere_and_none_paid_twice(
    build: Callable[..., World], rng: random.Random
) -> None:
    world = build(per_minute=600.0, max_in_flight=300, overrides=["recovery.on_unknown=fail", "recovery.grace_s=60"])
    lost = Counter[str]()

    def submission(dice: random.Random) -> Any:
        if dice.random() > 0.2:
            return None
        kinds = [NotSent("refused"), Throttled(None), Throttled(3.0), ServerError("oops", 500)]
        return dice.choice([*kinds, UnknownOutcome("time-out"), ZeroDivisionError() if not lost else kinds[0]])

    def poll(dice: random.Random) -> Any:
        kinds = [Unavailable("502"), Unavailable("refused", reached=False), Throttled(None)]
        return dice.choice(kinds) if dice.random() < 0.1 else None

    def fetch(dice: random.Random) -> Any:
        return dice.choice([NotReady("x"), NotFound("x"), Throttled(1.0)]) if dice.random() < 0.1 else None

    world.provider.draw_submit, world.provider.draw_poll, world.provider.draw_fetch = submission, poll, fetch
    lost["no defects"] = 1
    world.fetcher.script.extend(DownloadError("unreachable", "reset") for _ in range(20))
    await (await world.with_jobs(300)).run()
    found = await places(world)
    assert sum(found.values()) == 300
    assert set(found) <= {"succeeded", "failed", "unknown"}
    assert set(world.provider.accepted.values()) == {1}
    assert busiest_minute(world.provider.times("submit")) <= 600
    assert (world.tally.in_flight, world.tally.pending) == (0, 0)
    assert world.tally.succeeded == found["succeeded"]


@on_virtual_clock
async def test_a_host_that_is_gone_for_good_does_not_keep_the_run_alive(build: Callable[..., World]) -> None:
    world = build(output_life_s=3_600.0)
    world.fetcher.script.extend(DownloadError("unreachable", "no such host") for _ in range(10_000))
    await (await world.with_jobs(3)).run()
    assert (await world.ledger.read(count_jobs)) == {"ready": 3}
    assert world.clock.now() < 4 * 3_600
    assert (world.tally.downloading, world.tally.in_flight) == (0, 0)


@on_virtual_clock
async def test_a_stop_that_ends_requests_does_not_wait_for_what_only_another_request_could_bring(
    build: Callable[..., World],
) -> None:
    world = build()
    gone_at = 713.0 * 3
    world.fetcher.script.extend(DownloadError("url_gone", "403", http_status=403) for _ in range(3))
    world.provider.draw_fetch = lambda _: Unauthorized("bad key") if world.clock.now() > gone_at else None
    world.fetcher.seconds = gone_at
    scheduler = await world.with_jobs(3)
    await scheduler.run()
    assert scheduler.stop is not None
    assert scheduler.stop.kind == "unauthorized"
    assert (await world.ledger.read(count_jobs)) == {"ready": 3}
    assert (world.tally.downloading, world.tally.in_flight) == (0, 0)


@on_virtual_clock
async def test_a_stop_gives_back_what_was_reserved_for_jobs_that_only_waited(build: Callable[..., World]) -> None:
    world = build(per_minute=1.0)
    scheduler = await world.with_jobs(50)
    world.provider.draw_submit = lambda _: Unauthorized("bad key")
    await scheduler.run()
    assert scheduler.under_way == 0
    assert not scheduler._given.rules.spend._submitted
    assert not scheduler._given.rules.spend._reserved


@on_virtual_clock
async def test_a_429_holds_every_submission_until_the_servers_word(build: Callable[..., World]) -> None:
    world = build()
    world.provider.submit_script.append(Throttled(90.0))
    await (await world.with_jobs(5)).run()
    first, second, *_ = world.provider.times("submit")
    assert second - first >= 90
    assert await places(world) == {"succeeded": 5}


@on_virtual_clock
async def test_a_provider_away_for_a_day_fails_nothing_and_is_only_probed(build: Callable[..., World]) -> None:
    world = build()
    back_at = 86_400.0
    world.provider.draw_submit = lambda _: NotSent("refused") if world.clock.now() < back_at else None
    await (await world.with_jobs(20)).run()
    assert await places(world) == {"succeeded": 20}
    assert len([moment for moment in world.provider.times("submit") if moment < back_at]) < 20_000


@on_virtual_clock
async def test_a_network_lost_while_jobs_run_fails_none_of_them(build: Callable[..., World]) -> None:
    world = build(per_minute=600.0)
    away = (300.0, 2_000.0)

    def lost(_: random.Random) -> Any:
        return Unavailable("refused", reached=False) if away[0] < world.clock.now() < away[1] else None

    world.provider.draw_poll = world.provider.draw_fetch = lost
    await (await world.with_jobs(50)).run()
    assert await places(world) == {"succeeded": 50}


@on_virtual_clock
async def test_withdrawn_jobs_come_back_and_keep_their_attempts(build: Callable[..., World]) -> None:
    world = build(attempts_max=2)
    world.provider.submit_script.extend([NotSent("a"), Throttled(1.0), ServerError("b", 500), NotSent("c")])
    await (await world.with_jobs(1)).run()
    assert await places(world) == {"succeeded": 1}
    attempts = await world.ledger.read(lambda db: db.execute("SELECT attempts FROM job").fetchone())
    assert attempts == (2,)


@on_virtual_clock
async def test_a_401_keeps_everything_and_asks_nothing_more(build: Callable[..., World]) -> None:
    world = build(per_minute=600.0)
    scheduler = await world.with_jobs(50)
    asyncio.get_running_loop().call_later(
        400.0, lambda: setattr(world.provider, "draw_poll", lambda _: Unauthorized("expired"))
    )
    await scheduler.run()
    assert scheduler.stop is not None
    assert (scheduler.stop.kind, scheduler.stop.exit_code) == ("unauthorized", ExitCode.ACCOUNT)
    found = await places(world)
    assert found.get("failed", 0) == found.get("unknown", 0) == found.get("held", 0) == 0
    refused_at = next(moment for moment in world.provider.times("poll") if moment >= 400)
    assert [moment for moment, _, _ in world.provider.trace if moment > refused_at + 1] == []
    world.provider.draw_poll = None
    await (await world.resumed()).run()
    assert await places(world) == {"succeeded": 50}
    assert set(world.provider.accepted.values()) == {1}


@on_virtual_clock
async def test_a_401_on_the_first_submission_leaves_every_job_pending(build: Callable[..., World]) -> None:
    world = build()
    world.provider.draw_submit = lambda _: Unauthorized("expired")
    scheduler = await world.with_jobs(50)
    await scheduler.run()
    assert await places(world) == {"pending": 50}
    assert world.provider.count("submit") <= 2


@on_virtual_clock
async def test_five_forbidden_in_a_row_stop_the_run_before_all_fail(build: Callable[..., World]) -> None:
    world = build()
    world.provider.draw_submit = lambda _: FORBIDDEN
    scheduler = await world.with_jobs(50)
    await scheduler.run()
    assert scheduler.stop is not None
    assert scheduler.stop.exit_code is ExitCode.ACCOUNT
    assert await places(world) == {"failed": 5, "pending": 45}


@on_virtual_clock
async def test_a_defect_sets_its_job_aside_and_the_others_go_on(build: Callable[..., World]) -> None:
    world = build()
    world.provider.submit_script.append(ZeroDivisionError())
    scheduler = await world.with_jobs(10)
    await scheduler.run()
    assert await places(world) == {"succeeded": 9, "held": 1}
    assert scheduler.stop is None


@on_virtual_clock
async def test_the_same_defect_five_times_stops_the_run(build: Callable[..., World]) -> None:
    world = build(per_minute=5.0)
    world.provider.draw_poll = lambda _: ZeroDivisionError()
    scheduler = await world.with_jobs(100)
    await scheduler.run()
    assert scheduler.stop is not None
    assert scheduler.stop.kind == "internal"
    found = await places(world)
    assert found["pending"] > 0
    assert found["held"] >= 5


@on_virtual_clock
async def test_two_jobs_with_one_request_id_are_both_kept_from_being_mixed_up(build: Callable[..., World]) -> None:
    world = build()
    world.provider.submit_script.extend([Accepted("same"), Accepted("same")])
    await (await world.with_jobs(3)).run()
    assert (await places(world)).get("held") == 1


@on_virtual_clock
async def test_a_disk_that_fails_ends_the_run_with_its_own_error(build: Callable[..., World]) -> None:
    world = build()
    scheduler = await world.with_jobs(20)

    async def broken(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    asyncio.get_running_loop().call_later(5.0, setattr, world.ledger, "accepted", broken)
    with pytest.raises(StorageError, match="disk is full"):
        await scheduler.run()


# --- stops ----------------------------------------------------------------------------------------


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


# --- taking up ------------------------------------------------------------------------------------


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
