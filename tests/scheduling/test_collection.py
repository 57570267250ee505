"""What a download comes to, and what is asked when files are not where they were said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.job.states import State
from engine.ledger.flights import flights_in
from engine.media.failures import DiskFullError, DownloadError
from engine.provider.history import HistoryRow
from engine.provider.verdict import (
    Answered,
    Metrics,
    NotFound,
    Result,
    Throttled,
    Unauthorized,
    Unavailable,
    WrongContract,
)
from engine.scheduling.steps import AskAgain, AskWhere, AtRest, LeftReady, Located, SlowDown, StopRun, Unreachable
from engine.scheduling.stop import Manner
from tests.jobs import state_of
from tests.scheduling.steps import RESULT, URL, OneRow, flight_at
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World


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
