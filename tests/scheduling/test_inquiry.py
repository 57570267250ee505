"""Each verdict on a poll or a fetch leads to its state and to the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.flights import flights_in, pending_after
from engine.provider.verdict import (
    Accepted,
    Completed,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    Result,
    Throttled,
    Unauthorized,
    Unavailable,
    Working,
    WrongContract,
)
from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    Fetched,
    Finished,
    SetAside,
    SlowDown,
    StillWorking,
    StopRun,
    Unreachable,
)
from engine.scheduling.stop import Manner
from tests.jobs import state_of
from tests.scheduling.steps import NO_MEDIA, RESULT, URL, OneRow, attempt_rows, flight_at, row
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


@pytest.mark.parametrize(
    ("verdict", "step", "state"),
    [
        (Working("PROCESSING"), StillWorking, State.SUBMITTED),
        (Completed(Metrics()), Finished, State.SUBMITTED),
        (Failed("face not found", 422, Metrics()), AtRest, State.FAILED),
        (NotFound("unknown id"), AskAgain, State.SUBMITTED),
        (Unavailable("502"), AskAgain, State.SUBMITTED),
        (Unavailable("refused", reached=False), Unreachable, State.SUBMITTED),
        (Throttled(7.0), SlowDown, State.SUBMITTED),
        (Unauthorized("bad key"), StopRun, State.SUBMITTED),
        (WrongContract("moved", 301), StopRun, State.SUBMITTED),
    ],
)
def test_each_verdict_on_a_poll_leads_to_its_state_and_step(
    build: Callable[..., World], verdict: Any, step: type, state: State
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build()
        flight = await flight_at(world, State.SUBMITTED)
        world.provider.poll_script.append(verdict)
        found = await world.life.poll(flight)
        assert isinstance(found, step)
        assert await state_of(world.ledger) == state
        if isinstance(found, StopRun):
            assert found.stop.manner is Manner.DOWNLOADS

    check()


@on_virtual_clock
async def test_a_failed_generation_is_retryable_and_not_paid(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    world.provider.poll_script.append(Failed("face not found", 422, Metrics()))
    await world.life.poll(flight)
    assert flight.error == JobError(
        kind="generation_failed", message="face not found", http_status=422, retryable=True, paid=False
    )


@on_virtual_clock
async def test_a_duration_is_the_providers_word_or_none(build: Callable[..., World], clock: Any) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    world.provider.poll_script.extend([Working("PROCESSING"), Completed(Metrics())])
    await clock.sleep(600)
    await world.life.poll(flight)
    await clock.sleep(100)
    step = await world.life.poll(flight)
    assert step == Finished(None)
    await clock.sleep(100)
    world.provider.poll_script.append(Completed(Metrics(inference_s=700.0, queue_s=13.0)))
    assert await world.life.poll(flight) == Finished(713.0)


@on_virtual_clock
async def test_an_outage_of_days_gives_no_request_up(build: Callable[..., World], clock: Any) -> None:
    world = build(job_deadline_s=10**9)
    flight = await flight_at(world, State.SUBMITTED)
    flight.submitted_utc = clock.utc()
    for _ in range(20):
        world.provider.poll_script.append(Unavailable("refused", reached=False))
        assert isinstance(await world.life.poll(flight), Unreachable)
    assert await state_of(world.ledger) == State.SUBMITTED


@on_virtual_clock
async def test_without_a_history_a_request_of_any_age_is_asked_about_before_it_is_given_up(
    build: Callable[..., World], clock: Any
) -> None:
    world = build(history=None, job_deadline_s=10**9)
    flight = await flight_at(world, State.SUBMITTED)
    await clock.sleep(100 * 3_600)
    world.provider.poll_script.append(Completed(Metrics()))
    assert isinstance(await world.life.poll(flight), Finished)
    world.provider.poll_script.append(NotFound("gone"))
    assert isinstance(await world.life.poll(flight), SetAside)


@on_virtual_clock
async def test_a_404_on_a_young_request_is_waited_for_whatever_came_before_it(build: Callable[..., World]) -> None:
    world = build(history=None)
    flight = await flight_at(world, State.SUBMITTED)
    for verdict in [*[Unavailable("502")] * 4, *[NotFound("not yet")] * 3]:
        world.provider.poll_script.append(verdict)
        assert isinstance(await world.life.poll(flight), AskAgain)
    assert await state_of(world.ledger) == State.SUBMITTED


@pytest.mark.parametrize(
    ("answer", "age_s", "step", "state"),
    [
        (None, 600, AskAgain, State.SUBMITTED),
        (None, 4_000, SetAside, State.UNKNOWN),
        (Unavailable("down"), 4_000, AskAgain, State.SUBMITTED),
        (row("completed"), 600, Fetched, State.READY),
        (row("completed", urls=()), 600, AskAgain, State.SUBMITTED),
        (row("failed"), 600, AtRest, State.FAILED),
        (row("running"), 600, AskAgain, State.SUBMITTED),
    ],
)
def test_an_old_request_that_is_not_found_ends_only_on_the_historys_word(
    build: Callable[..., World], clock: Any, *, answer: Any, age_s: float, step: type, state: State
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build(history=OneRow(answer))
        flight = await flight_at(world, State.SUBMITTED)
        await clock.sleep(age_s)
        world.provider.poll_script.append(NotFound("gone"))
        assert isinstance(await world.life.poll(flight), step)
        assert await state_of(world.ledger) == state

    check()


@pytest.mark.parametrize(("was_asked", "kind"), [(True, "cancelled"), (False, "generation_failed")])
def test_a_request_that_failed_in_the_history_after_it_was_cancelled_was_cancelled(
    build: Callable[..., World], *, was_asked: bool, kind: str
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build(history=OneRow(row("failed")))
        flight = await flight_at(world, State.SUBMITTED)
        flight.cancel_sent, flight.cancel_paid = was_asked, False
        world.provider.poll_script.extend([NotFound("gone")] * 4)
        while isinstance(await world.life.poll(flight), AskAgain):
            pass
        assert flight.error is not None
        assert (flight.error.kind, flight.error.paid) == (kind, False)
        assert "face not found" in flight.error.message

    check()


@on_virtual_clock
async def test_a_request_past_its_deadline_is_unknown_with_its_id_and_never_submitted_again(
    build: Callable[..., World], clock: Any
) -> None:
    world = build(job_deadline_s=1_000.0)
    flight = await flight_at(world, State.SUBMITTED)
    world.provider.poll_script.extend([Working("PROCESSING"), Working("PROCESSING")])
    assert isinstance(await world.life.poll(flight), StillWorking)
    await clock.sleep(1_001)
    assert isinstance(await world.life.poll(flight), SetAside)
    assert await attempt_rows(world) == [(1, flight.request_id, 1)]
    assert await world.ledger.read(pending_after, -1, 9) == []


@pytest.mark.parametrize(
    ("verdict", "step", "state"),
    [
        (RESULT, Fetched, State.READY),
        (NO_MEDIA, AtRest, State.FAILED),
        (Failed("late failure", 422, Metrics()), AtRest, State.FAILED),
        (NotReady("PROCESSING"), AskAgain, State.SUBMITTED),
        (NotFound("gone"), AskAgain, State.SUBMITTED),
        (Unavailable("502"), AskAgain, State.SUBMITTED),
        (Unavailable("refused", reached=False), Unreachable, State.SUBMITTED),
        (Throttled(7.0), SlowDown, State.SUBMITTED),
        (Unauthorized("bad key"), StopRun, State.SUBMITTED),
        (WrongContract("moved", 301), StopRun, State.SUBMITTED),
    ],
)
def test_each_verdict_on_a_fetch_leads_to_its_state_and_step(
    build: Callable[..., World], verdict: Any, step: type, state: State
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build()
        flight = await flight_at(world, State.SUBMITTED)
        world.provider.poll_script.append(Completed(Metrics()))
        await world.life.poll(flight)
        world.provider.fetch_script.append(verdict)
        assert isinstance(await world.life.fetch(flight), step)
        assert await state_of(world.ledger) == state

    check()


@on_virtual_clock
async def test_a_status_that_holds_its_result_needs_no_second_request(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    metrics = Metrics(cost_usd=4.5, inference_s=700.0)
    world.provider.poll_script.append(Result({"output": URL}, (URL,), None, None, metrics))
    step = await world.life.poll(flight)
    assert isinstance(step, Fetched)
    assert (step.cost_usd, step.end) == (4.5, Finished(700.0))
    assert await state_of(world.ledger) == State.READY
    assert world.provider.count("fetch") == 0


@on_virtual_clock
async def test_a_requests_addresses_are_kept_for_the_next_process(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.PENDING)
    world.provider.submit_script.append(Accepted("r1", {"status": "https://api.example.com/r1"}))
    await world.life.submit(flight)
    (found,) = await world.ledger.read(flights_in, State.SUBMITTED)
    assert found.addresses == flight.addresses == {"status": "https://api.example.com/r1"}


@on_virtual_clock
async def test_a_result_without_media_fails_as_paid_and_keeps_the_body(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    world.provider.fetch_script.append(NO_MEDIA)
    await world.life.fetch(flight)
    assert flight.error is not None
    assert (flight.error.kind, flight.error.paid) == ("no_media", True)
    kept = await world.ledger.read(lambda db: db.execute("SELECT output, cost_usd FROM attempt").fetchone())
    assert kept == (b'{"status":"COMPLETED"}', 4.5)


@on_virtual_clock
async def test_a_result_that_is_never_served_is_unknown_after_ten_minutes(
    build: Callable[..., World], clock: Any
) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    world.provider.poll_script.append(Completed(Metrics()))
    await world.life.poll(flight)
    await clock.sleep(601)  # the network was away; what counts is how long the provider refuses
    world.provider.fetch_script.extend([NotReady("PROCESSING"), NotReady("PROCESSING")])
    assert isinstance(await world.life.fetch(flight), AskAgain)
    await clock.sleep(601)
    assert isinstance(await world.life.fetch(flight), SetAside)
    assert await state_of(world.ledger) == State.UNKNOWN
