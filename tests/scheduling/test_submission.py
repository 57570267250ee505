"""Each verdict on a submission leads to its state and to the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.job.flight import UNNAMED
from engine.job.states import State
from engine.ledger.claims import claims
from engine.ledger.flights import flights_in, pending_after
from engine.provider.verdict import (
    Accepted,
    Answered,
    Metrics,
    NotSent,
    OutOfMoney,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    UnknownOutcome,
    WrongContract,
)
from engine.scheduling.steps import (
    AtRest,
    Fetched,
    OutOfCredit,
    SetAside,
    SlowDown,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)
from tests.jobs import MODEL, add_jobs, state_of
from tests.scheduling.steps import NO_MEDIA, REFUSED, RESULT, attempt_rows, flight_at
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


@on_virtual_clock
async def test_a_model_that_is_not_offered_costs_its_own_jobs_while_others_are_taken(
    build: Callable[..., World],
) -> None:
    world = build()
    await add_jobs(world.ledger, 4)
    first, second, third, fourth = await world.ledger.read(pending_after, -1, 4)
    second.model = fourth.model = "klingon-v9"
    gone = WrongContract("the provider does not offer the model", 404)
    world.provider.submit_script.append(gone)
    assert isinstance(await world.life.submit(second), StopRun), "nothing says yet whose fault it is"
    world.provider.submit_script.append(Accepted("r1"))
    assert isinstance(await world.life.submit(first), Submitted)
    world.provider.submit_script.append(gone)
    assert isinstance(await world.life.submit(fourth), AtRest)
    assert fourth.error is not None
    assert (fourth.error.kind, fourth.error.paid, fourth.error.http_status) == ("rejected", False, 404)
    world.provider.submit_script.append(gone)
    assert isinstance(await world.life.submit(third), StopRun), "a model that worked is no model that does not exist"
    assert await state_of(world.ledger, third.job) == State.PENDING


@on_virtual_clock
async def test_a_file_that_came_as_the_reply_is_in_the_ledger_alone_until_it_is_stored(
    build: Callable[..., World],
) -> None:
    world = build()
    flight = await flight_at(world, State.PENDING)
    uri = "data:image/png;base64," + "QUJD" * 30_000
    reply = Result({"output": uri, "seed": 7}, (uri,), None, None, Metrics(cost_usd=0.04))
    world.provider.submit_script.append(Answered("r1", reply))
    step = await world.life.submit(flight)
    assert isinstance(step, Fetched)
    assert (step.cost_usd, step.lag_s) == (0.04, None)
    assert step.end is not None
    assert step.end.claimed_s == pytest.approx(world.provider.latency_s, abs=1e-3)
    assert (flight.request_id, flight.media, flight.params) == ("r1", None, b"")
    row = "SELECT output ->> 'output', output ->> 'seed', json_extract(media, '$.urls[0]') FROM attempt"
    recorded = await world.ledger.read(lambda db: db.execute(row).fetchone())
    assert recorded == ("data:image/png;base64,", 7, uri)
    # What another process would go on with: the same, and nothing of it in memory.
    (taken_up,) = await world.ledger.read(flights_in, State.READY)
    assert taken_up.media is None
    assert isinstance(await world.life.download(taken_up), AtRest)
    assert [task.url for task in world.fetcher.tasks] == [uri]
    assert await world.ledger.read(lambda db: db.execute(row).fetchone()) == (*recorded[:2], recorded[0])


@on_virtual_clock
async def test_an_answer_without_an_id_of_its_own_gets_one(build: Callable[..., World]) -> None:
    world = build()
    await add_jobs(world.ledger, 3)
    flights = await world.ledger.read(pending_after, -1, 3)
    world.provider.submit_script.extend([Answered("r", RESULT), Answered("r", RESULT), Answered("", RESULT)])
    assert [type(await world.life.submit(flight)) for flight in flights] == [Fetched] * 3
    first, second, third = (flight.request_id for flight in flights)
    assert first == "r"
    assert second.startswith(UNNAMED)  # another job has the id that its reply named
    assert third.startswith(UNNAMED)
    assert second != third
    # They stay among those that may claim a row of the history: theirs must not become another's.
    assert {flight.job for flight in (await world.ledger.read(claims, MODEL, ["r"])).claimants} == {1, 2}


@pytest.mark.parametrize(
    ("verdict", "step", "state", "attempts"),
    [
        (Accepted("r1"), Submitted, State.SUBMITTED, 1),
        (Answered("r1", RESULT), Fetched, State.READY, 1),
        (Answered("r1", NO_MEDIA), AtRest, State.FAILED, 1),
        (NotSent("refused"), Unreachable, State.PENDING, 0),
        (Throttled(7.0), SlowDown, State.PENDING, 0),
        (OutOfMoney("no credit", 402), OutOfCredit, State.PENDING, 0),
        (Unauthorized("bad key"), StopRun, State.PENDING, 0),
        (WrongContract("no such model", 404), StopRun, State.PENDING, 0),
        (REFUSED, AtRest, State.FAILED, 1),
        (ServerError("oops", 500), SubmitAgain, State.PENDING, 1),
        (UnknownOutcome("time-out"), SetAside, State.UNKNOWN, 1),
    ],
)
def test_each_verdict_on_a_submission_leads_to_its_state_and_step(
    build: Callable[..., World], verdict: Any, step: type, state: State, attempts: int
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build()
        flight = await flight_at(world, State.PENDING)
        world.provider.submit_script.append(verdict)
        assert isinstance(await world.life.submit(flight), step)
        assert await state_of(world.ledger) == state
        (stored,) = await world.ledger.read(lambda db: db.execute("SELECT attempts FROM job").fetchone())
        assert stored == flight.attempts == attempts

    check()


@on_virtual_clock
async def test_the_intent_is_durable_before_the_post(build: Callable[..., World]) -> None:
    world, seen = build(), list[object]()
    flight = await flight_at(world, State.PENDING)
    submit = world.provider.submit

    async def look(model: str, params: dict[str, Any]) -> Any:
        seen.append(await state_of(world.ledger))
        seen.append(await attempt_rows(world))
        return await submit(model, params)

    world.provider.submit = look  # type: ignore[method-assign]
    await world.life.submit(flight)
    assert seen == [State.SUBMITTING, [(1, None, 0)]]


@on_virtual_clock
async def test_exactly_the_params_are_submitted(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    assert world.provider.accepted == {"p1": 1}
    assert flight.params == b""  # the provider has it; memory need not


@on_virtual_clock
async def test_a_job_that_may_not_be_submitted_is_not_even_offered_to_the_provider(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.SUBMITTED)
    with pytest.raises(Exception, match="may not become submitting"):
        await world.life.submit(flight)
    assert world.provider.count("submit") == 1


@on_virtual_clock
async def test_the_last_attempt_that_fails_at_the_server_fails_the_job(build: Callable[..., World]) -> None:
    world = build(attempts_max=3)
    flight = await flight_at(world, State.PENDING, attempts=2)
    world.provider.submit_script.append(ServerError("oops", 500))
    assert await world.life.submit(flight) == AtRest(succeeded=False)
    assert flight.error is not None
    assert (flight.error.kind, flight.error.retryable, flight.attempts) == ("server_error", True, 3)


@on_virtual_clock
async def test_any_number_of_unsent_and_throttled_tries_spends_no_attempt(build: Callable[..., World]) -> None:
    world = build(attempts_max=1)
    flight = await flight_at(world, State.PENDING)
    world.provider.submit_script.extend([NotSent("refused"), Throttled(None), OutOfMoney("none", 402)] * 10)
    for _ in range(30):
        await world.life.submit(flight)
    assert isinstance(await world.life.submit(flight), Submitted)
    assert flight.attempts == 1
    assert await attempt_rows(world) == [(1, flight.request_id, 0)]


@on_virtual_clock
async def test_a_request_id_that_another_job_owns_holds_the_second(build: Callable[..., World]) -> None:
    world = build()
    await add_jobs(world.ledger, 2)
    first, second = await world.ledger.read(pending_after, -1, 2)
    world.provider.submit_script.extend([Accepted("r"), Accepted("r")])
    assert isinstance(await world.life.submit(first), Submitted)
    assert isinstance(await world.life.submit(second), SetAside)
    assert [await state_of(world.ledger, job) for job in (0, 1)] == [State.SUBMITTED, State.HELD]
    assert second.error is not None
    assert (second.error.kind, second.error.paid) == ("request_id_taken", True)


@on_virtual_clock
async def test_without_the_servers_word_the_wait_is_drawn_within_its_bounds(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.PENDING)
    for _ in range(30):
        world.provider.submit_script.append(Throttled(None))
        step = await world.life.submit(flight)
        assert isinstance(step, SlowDown)
        assert 1.0 <= step.wait_s <= 60.0
