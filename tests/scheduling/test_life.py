"""Each verdict leads to the right state in the ledger and to the right next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.job.flight import UNNAMED
from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.claims import claims
from engine.ledger.flights import flights_in, pending_after
from engine.media.failures import DiskFullError, DownloadError
from engine.provider.history import HistoryRow
from engine.provider.verdict import (
    Accepted,
    Answered,
    Completed,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    NotSent,
    OutOfMoney,
    Rejected,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    Working,
    WrongContract,
)
from engine.scheduling.steps import (
    AskAgain,
    AskWhere,
    AtRest,
    Fetched,
    Finished,
    LeftReady,
    Located,
    OutOfCredit,
    SetAside,
    SlowDown,
    StillWorking,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)
from engine.scheduling.stop import Manner
from tests.jobs import MODEL, add_jobs, state_of
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.job.flight import Flight
    from engine.provider.verdict import Unavailable as NoAnswer
    from tests.scheduling.conftest import World

URL = "https://images.example.com/a.mp4"
RESULT = Result({"output": URL}, (URL,), 4, "video/mp4", Metrics(cost_usd=4.5))
REFUSED = Rejected(JobError(kind="rejected", message="no such voice", http_status=400))
NO_MEDIA = Result({"status": "COMPLETED"}, (), None, None, Metrics(cost_usd=4.5))


async def flight_at(world: World, state: State, *, attempts: int = 0) -> Flight:
    """Return a flight whose last step left it in ``state``."""
    await add_jobs(world.ledger, 1)
    (flight,) = await world.ledger.read(pending_after, -1, 1)
    for _ in range(attempts):
        world.provider.submit_script.append(ServerError("oops", 500))
        assert isinstance(await world.life.submit(flight), SubmitAgain)
    if state is not State.PENDING:
        assert isinstance(await world.life.submit(flight), Submitted)
    if state is State.READY:
        world.provider.fetch_script.append(RESULT)
        assert isinstance(await world.life.fetch(flight), Fetched)
    return flight


async def attempt_rows(world: World) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = await world.ledger.read(
        lambda db: db.execute("SELECT attempt, request_id, error IS NOT NULL FROM attempt").fetchall()
    )
    return found


# --- submit ---------------------------------------------------------------------------------------


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


@on_virtual_clock
async def test_a_download_whose_key_is_refused_stops_the_run_and_fails_no_job(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.READY)
    world.fetcher.script.append(DownloadError("unauthorized", "the provider refuses the key", http_status=401))
    step = await world.life.download(flight)
    assert isinstance(step, StopRun)
    assert (step.stop.kind, step.stop.manner) == ("unauthorized", Manner.DOWNLOADS)
    assert await state_of(world.ledger) == State.READY


@on_virtual_clock
async def test_a_file_that_came_broken_is_looked_for_in_the_history(build: Callable[..., World]) -> None:
    world = build(history=OneRow(HistoryRow("r1", "", "completed", None, (URL,), 4.5, 700.0, None, "", {})))
    flight = await flight_at(world, State.PENDING)
    uri = "data:video/mp4;base64,AAAA"
    world.provider.submit_script.append(Answered("r1", Result(None, (uri,), 3, "video/mp4", Metrics())))
    await world.life.submit(flight)
    world.provider.fetch_script.append(NotFound("never"))
    world.fetcher.script.append(DownloadError("bad_media", "cut short"))
    assert isinstance(await world.life.download(flight), AskWhere)
    assert isinstance(await world.life.locate(flight), Located)
    assert flight.media == {"urls": [URL], "bytes_expected": None, "content_type": None}
    assert isinstance(await world.life.download(flight), AtRest)
    assert await state_of(world.ledger) == State.STORED


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


# --- poll -----------------------------------------------------------------------------------------


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


class OneRow:
    """A history that gives one answer to everything."""

    def __init__(self, answer: HistoryRow | NoAnswer | None) -> None:
        self.answer = answer

    async def row(self, request_id: str) -> HistoryRow | NoAnswer | None:
        return self.answer

    async def rows(self, model: str, *, since_utc: float, until_utc: float) -> list[HistoryRow] | NoAnswer:
        return []


def row(state: Any, *, urls: tuple[str, ...] = (URL,)) -> HistoryRow:
    return HistoryRow("r", "kling-2.6", state, None, urls, 4.5, 700.0, None, "face not found", {"id": "r"})


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


# --- fetch ----------------------------------------------------------------------------------------


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


# --- download -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "step", "state", "kind"),
    [
        (DownloadError("unreachable", "reset"), AskAgain, State.READY, ""),
        (DownloadError("bad_media", "not an mp4", first_bytes="<html>"), AtRest, State.FAILED, "bad_media"),
        (DownloadError("too_large", "endless"), AtRest, State.FAILED, "too_large"),
        (DownloadError("blocked_address", "10.0.0.1"), AtRest, State.FAILED, "blocked_address"),
        (DownloadError("url_gone", "403", http_status=403), AskWhere, State.READY, ""),
        (DiskFullError("no room"), StopRun, State.READY, ""),
    ],
)
def test_each_failure_of_a_download_leads_to_its_state_and_step(
    build: Callable[..., World], error: Exception, step: type, state: State, kind: str
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build()
        flight = await flight_at(world, State.READY)
        world.fetcher.script.append(error)
        assert isinstance(await world.life.download(flight), step)
        assert await state_of(world.ledger) == state
        assert (flight.error.kind if flight.error else "") == kind
        assert flight.error is None or flight.error.paid

    check()


@on_virtual_clock
async def test_a_download_is_stored_with_its_length_and_type_expected(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.READY)
    assert await world.life.download(flight) == AtRest(succeeded=True, stored_bytes=4)
    assert await state_of(world.ledger) == State.STORED
    (task,) = world.fetcher.tasks
    assert (task.url, task.bytes_expected, task.content_type) == (URL, 4, "video/mp4")


@on_virtual_clock
async def test_a_url_that_is_gone_is_asked_for_again_and_then_given_up_as_expired(build: Callable[..., World]) -> None:
    world = build()
    flight = await flight_at(world, State.READY)
    fresh = "https://images.example.com/fresh.mp4"
    world.provider.fetch_script.append(Result({"output": fresh}, (fresh,), 4, None, Metrics()))
    world.fetcher.script.append(DownloadError("url_gone", "404", http_status=404))
    assert isinstance(await world.life.download(flight), AskWhere)
    assert isinstance(await world.life.locate(flight), Located)
    assert flight.media is not None
    assert flight.media["urls"] == [fresh]
    (taken_up,) = await world.ledger.read(flights_in, State.READY)
    assert taken_up.media == flight.media
    for _ in range(5):
        world.provider.fetch_script.append(NotFound("gone"))
        world.fetcher.script.append(DownloadError("url_gone", "404", http_status=404))
        if isinstance(await world.life.download(flight), AtRest):
            break
        assert isinstance(await world.life.locate(flight), Located)
    assert world.provider.count("fetch") == 1 + 3
    assert flight.error is not None
    assert (flight.error.kind, flight.error.paid) == ("expired", True)


@pytest.mark.parametrize(
    ("verdict", "step"),
    [
        (Unavailable("502"), AskAgain),
        (Unavailable("refused", reached=False), Unreachable),
        (Throttled(7.0), SlowDown),
        (Unauthorized("bad key"), StopRun),
        (WrongContract("moved", 301), StopRun),
    ],
)
def test_what_is_no_answer_about_where_the_files_are_gives_nothing_up(
    build: Callable[..., World], verdict: Any, step: type
) -> None:
    @on_virtual_clock
    async def check() -> None:
        world = build()
        flight = await flight_at(world, State.READY)
        for _ in range(10):
            world.fetcher.script.append(DownloadError("url_gone", "403", http_status=403))
            assert isinstance(await world.life.download(flight), AskWhere)
            world.provider.fetch_script.append(verdict)
            assert isinstance(await world.life.locate(flight), step)
        assert await state_of(world.ledger) == State.READY

    check()


@on_virtual_clock
async def test_a_history_that_is_away_gives_no_file_up(build: Callable[..., World]) -> None:
    world = build(history=OneRow(Unavailable("down")))
    flight = await flight_at(world, State.READY)
    for _ in range(10):
        world.provider.fetch_script.append(NotFound("gone"))
        assert isinstance(await world.life.locate(flight), AskAgain)
    world.fetcher.script.append(DownloadError("url_gone", "403", http_status=403))
    assert isinstance(await world.life.download(flight), AskWhere)


@on_virtual_clock
async def test_an_outage_of_the_files_host_does_not_count_as_an_answer_of_the_provider(
    build: Callable[..., World],
) -> None:
    world = build()
    flight = await flight_at(world, State.READY)
    for _ in range(10):
        world.fetcher.script.append(DownloadError("unreachable", "reset"))
        assert isinstance(await world.life.download(flight), AskAgain)
    world.fetcher.script.append(DownloadError("url_gone", "403", http_status=403))
    assert isinstance(await world.life.download(flight), AskWhere)
    world.provider.fetch_script.append(RESULT)
    assert isinstance(await world.life.locate(flight), Located)
    assert isinstance(await world.life.download(flight), AtRest)
    assert await state_of(world.ledger) == State.STORED


@on_virtual_clock
async def test_a_host_that_stays_away_past_the_life_of_its_files_is_left_to_the_next_process(
    build: Callable[..., World], clock: Any
) -> None:
    world = build(output_life_s=86_400.0)
    flight = await flight_at(world, State.READY)
    await clock.sleep(86_401.0)
    for _ in range(3):
        world.fetcher.script.append(DownloadError("unreachable", "no such host"))
        assert isinstance(await world.life.download(flight), AskWhere)
        world.provider.fetch_script.append(RESULT)
        assert isinstance(await world.life.locate(flight), Located)
    world.fetcher.script.append(DownloadError("unreachable", "no such host"))
    assert await world.life.download(flight) == LeftReady("no such host")
    assert await state_of(world.ledger) == State.READY


# --- defects --------------------------------------------------------------------------------------


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
