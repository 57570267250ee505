"""What goes wrong in a night: every job ends somewhere, none is paid twice, no trouble is another job's."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import ExitCode, StorageError
from engine.job.records import JobError
from engine.ledger.counts import count_jobs
from engine.media.failures import DownloadError
from engine.provider.verdict import (
    Accepted,
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
from tests.scheduling.conftest import busiest_minute, places
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.scheduling.conftest import World

FORBIDDEN = Rejected(JobError(kind="forbidden", message="not yours", http_status=403))


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
