"""Jobs are cancelled wherever they are, at the provider too, and what is paid for comes home all the same; on virtual
time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.config import RunConfig
from engine.errors import ExitCode
from engine.job.records import JobError, decode_json
from engine.ledger.accounts import accounts
from engine.ledger.cancel_book import CancelBook
from engine.ledger.counts import count_jobs
from engine.ledger.reopening import Selection, reopen
from engine.provider.verdict import (
    CancelAsked,
    CancelRefused,
    Failed,
    Metrics,
    NotFound,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    WrongContract,
)
from engine.scheduling.canceller import TRIES_MAX
from engine.scheduling.halt import HaltRules
from engine.scheduling.stop import Manner, Stop
from tests.scheduling.conftest import places
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.ledger.cancel_book import Place
    from engine.scheduling.scheduler import Scheduler
    from tests.scheduling.conftest import World


async def asked(world: World, *ids: str, everything: bool = False) -> list[Place]:
    """Record a wish as the controls do."""
    book = CancelBook(world.ledger)
    return await book.ask(ids, everything=everything, utc=world.clock.utc(), control_bytes=1)


async def cancel(world: World, scheduler: Scheduler, *ids: str) -> None:
    await scheduler.cancel([place for place in await asked(world, *ids) if not place.at_rest])


async def errors(world: World) -> dict[str, JobError]:
    rows = await world.ledger.read(
        lambda db: db.execute("SELECT id, error FROM job JOIN input USING (job) WHERE error IS NOT NULL").fetchall()
    )
    return {id_: JobError(**decode_json(error)) for id_, error in rows}


@on_virtual_clock
async def test_a_job_in_flight_is_cancelled_at_once_and_only_it(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    scheduler = await world.with_jobs(20)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(62)
    before = len(world.provider.times("cancel"))
    await cancel(world, scheduler, "job-3")
    await world.clock.sleep(1)
    assert (before, world.provider.count("cancel")) == (0, 1)
    assert (await errors(world))["job-3"].kind == "cancelled"
    await running
    assert await places(world) == {"succeeded": 19, "failed": 1}
    assert sum(world.provider.accepted.values()) == 20


@on_virtual_clock
async def test_a_job_that_waits_is_never_submitted(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0, max_in_flight=5)
    scheduler = await world.with_jobs(600)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(30)
    # The next ones are at hand, the last one was not read from the ledger yet.
    await cancel(world, scheduler, "job-5", "job-6", "job-599")
    await world.clock.sleep(1)
    found = await errors(world)
    assert {(error.kind, error.paid) for error in found.values()} == {("cancelled", False)}
    assert set(found) == {"job-5", "job-6", "job-599"}
    scheduler.change_limits(RunConfig.load(None, ["limits.max_in_flight=200", "limits.submits_per_minute=600"]))
    await running
    assert await places(world) == {"succeeded": 597, "failed": 3}
    assert sum(world.provider.accepted.values()) == 597


@on_virtual_clock
async def test_a_job_that_is_being_submitted_is_cancelled_once_it_is_accepted(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable, world.provider.latency_s = True, 5.0
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(2)
    assert world.tally.submitting == 1
    await cancel(world, scheduler, "job-0")
    await running
    assert world.provider.count("cancel") == 1
    assert (await errors(world))["job-0"].kind == "cancelled"


@on_virtual_clock
async def test_a_submission_that_is_not_accepted_is_not_repeated(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable, world.provider.latency_s = True, 5.0
    world.provider.submit_script.append(ServerError("try again", 500))
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(2)
    await cancel(world, scheduler, "job-0")
    await running
    assert (world.provider.count("submit"), world.provider.count("cancel")) == (1, 0)
    assert (await errors(world))["job-0"] == JobError(
        kind="cancelled", message="cancelled before it was submitted", retryable=True
    )


@on_virtual_clock
async def test_a_job_whose_submission_is_unknown_is_not_submitted_again(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0, overrides=["recovery.on_unknown=resubmit", "recovery.grace_s=30"])
    world.provider.submit_script.append(UnknownOutcome("no answer in time"))
    world.provider.latency_s = 5.0
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(2)
    await cancel(world, scheduler, "job-0")
    await running
    assert world.provider.count("submit") == 1
    error = (await errors(world))["job-0"]
    assert (error.kind, error.paid) == ("cancelled", True)  # the lost submission may still be charged


@on_virtual_clock
async def test_what_finished_first_comes_home(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable, world.provider.duration_of = True, lambda _: 300.0
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(302)
    await cancel(world, scheduler, "job-0")
    await running
    assert await places(world) == {"succeeded": 1}
    assert world.provider.count("cancel") == 0
    assert any("job-0 is not cancelled" in said for said in world.said)


@pytest.mark.parametrize(
    ("verdicts", "sent"),
    [
        ([CancelRefused("too late")], 1),
        ([WrongContract("405", 405)], 1),
        ([NotFound("who?")], 1),
        ([Unavailable("sick")] * TRIES_MAX, TRIES_MAX),
        ([Unauthorized("you may not")] * TRIES_MAX, TRIES_MAX),
        ([Throttled(5.0), Unavailable("away", reached=False), CancelRefused("too late")], 3),
    ],
)
@on_virtual_clock
async def test_what_the_provider_does_not_cancel_goes_on(
    build: Callable[..., World], verdicts: list[Any], sent: int
) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    world.provider.cancel_script.extend(verdicts)
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    await cancel(world, scheduler, "job-0")
    await running
    assert await places(world) == {"succeeded": 1}
    assert world.provider.count("cancel") == sent
    assert any("job-0 is not cancelled" in said for said in world.said)


@on_virtual_clock
async def test_a_second_wish_to_cancel_has_all_its_tries(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable, world.provider.duration_of = True, lambda _: 3000.0
    world.provider.cancel_script.extend([Unavailable("sick")] * (2 * TRIES_MAX - 1))
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    await cancel(world, scheduler, "job-0")
    await world.clock.sleep(600)
    assert world.provider.count("cancel") == TRIES_MAX
    await cancel(world, scheduler, "job-0")
    await running
    assert world.provider.count("cancel") == 2 * TRIES_MAX
    assert (await errors(world))["job-0"].kind == "cancelled"


@on_virtual_clock
async def test_a_provider_that_cannot_cancel_is_not_asked_to(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    scheduler = await world.with_jobs(2)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    await cancel(world, scheduler, "job-0")
    assert not scheduler.remainder().can_cancel
    assert world.said == ["job-0 is not cancelled (the provider offers no cancelling); its result is brought home"]
    await running
    assert await places(world) == {"succeeded": 2}


@on_virtual_clock
async def test_where_cancelling_is_only_asked_for_the_status_tells(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    world.provider.cancel_script.append(CancelAsked(paid=True))
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    await cancel(world, scheduler, "job-0")
    await world.clock.sleep(2)
    assert world.provider.count("cancel") == 1
    assert await errors(world) == {}
    world.provider.poll_script.append(Failed("canceled", 200, Metrics()))
    await running
    error = (await errors(world))["job-0"]
    assert (error.kind, error.paid) == ("cancelled", True)


@on_virtual_clock
async def test_a_lost_answer_to_a_cancellation_is_settled_by_the_status(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    world.provider.cancel_script.append(Unavailable("the connection was reset"))
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(30)  # so young that a 404 would else be waited out
    await cancel(world, scheduler, "job-0")
    while not world.provider.count("cancel"):
        await world.clock.sleep(0.01)
    world.provider.forget(f"{0:032x}")  # it was cancelled; only the answer is lost
    await running
    error = (await errors(world))["job-0"]
    assert (error.kind, error.retryable, error.paid) == ("cancelled", True, True)
    assert world.provider.count("cancel") == 1


@on_virtual_clock
async def test_everything_in_flight_is_cancelled_and_the_rest_waits(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0, max_in_flight=30)
    world.provider.cancellable = True
    scheduler = await world.with_jobs(100)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    scheduler.request_stop(Stop("cancelled", "all", ExitCode.STOPPED, Manner.HARVEST))
    scheduler.cancel_in_flight()
    await running
    found = await errors(world)
    assert {error.kind for error in found.values()} == {"cancelled"}
    assert len(found) == 30 == world.provider.count("cancel")
    assert (await world.ledger.read(count_jobs))["pending"] == 70
    scheduler = await world.resumed()
    await scheduler.run()
    assert await places(world) == {"succeeded": 70, "failed": 30}


@on_virtual_clock
async def test_cancelled_jobs_do_not_halt_a_batch(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    scheduler = await world.with_jobs(30)
    scheduler._parts.landing._rules = type(scheduler._parts.landing._rules)(
        scheduler._given.rules.spend, scheduler._parts.landing._rules.canary, HaltRules(0.1, 2, 3)
    )
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(40)
    await cancel(world, scheduler, *(f"job-{number}" for number in range(10)))
    await running
    assert scheduler.stop is None
    assert await places(world) == {"succeeded": 20, "failed": 10}


# --- another process ------------------------------------------------------------------------------


async def _killed_with_jobs_in_flight(world: World, count: int = 3) -> None:
    """Leave a ledger as a process that was killed does, with every job in flight."""
    scheduler = await world.with_jobs(count)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@on_virtual_clock
async def test_a_wish_outlives_the_process_that_took_it(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    await _killed_with_jobs_in_flight(world)
    await asked(world, "job-1")
    await (await world.resumed()).run()
    assert (await errors(world))["job-1"].kind == "cancelled"
    assert await places(world) == {"succeeded": 2, "failed": 1}


@on_virtual_clock
async def test_a_kill_between_a_cancellation_and_its_record_ends_the_job_as_cancelled(
    build: Callable[..., World],
) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    await _killed_with_jobs_in_flight(world)
    await asked(world, "job-1")
    await CancelBook(world.ledger).sent(1, utc=world.clock.utc())
    world.provider.forget(f"{1:032x}")
    await (await world.resumed()).run()
    error = (await errors(world))["job-1"]
    assert (error.kind, error.retryable, error.paid) == ("cancelled", True, True)
    assert world.provider.count("cancel") == 0
    assert await places(world) == {"succeeded": 2, "failed": 1}


@on_virtual_clock
async def test_so_does_a_start_after_its_record_has_expired(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    await _killed_with_jobs_in_flight(world, 1)
    await asked(world, "job-0")
    await CancelBook(world.ledger).sent(0, utc=world.clock.utc())
    await world.clock.sleep(2 * 86_400)
    world.provider.cancellable = True
    world.provider.forget(f"{0:032x}")
    await (await world.resumed()).run()
    assert (await errors(world))["job-0"].kind == "cancelled"


@on_virtual_clock
async def test_a_job_that_is_tried_again_is_rid_of_the_wish(build: Callable[..., World]) -> None:
    world = build(per_minute=60.0)
    world.provider.cancellable = True
    world.provider.cancel_script.append(CancelAsked(paid=True))
    scheduler = await world.with_jobs(1)
    running = asyncio.create_task(scheduler.run())
    await world.clock.sleep(60)
    await cancel(world, scheduler, "job-0")
    await world.clock.sleep(2)
    world.provider.poll_script.append(Failed("canceled", 200, Metrics()))
    await running
    chosen = Selection(kinds=("cancelled",))
    assert (await world.ledger.change(reopen, chosen)).submit == 1  # although something of it may be charged
    assert (await world.ledger.read(accounts)).written_off_usd == 0.0  # no price was known
    await (await world.resumed()).run()
    assert await places(world) == {"succeeded": 1}
    assert world.provider.count("cancel") == 1
