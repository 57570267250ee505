"""The schedulers of several providers as one: when the run as a whole winds down, and why."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.errors import ExitCode
from engine.scheduling.schedulers import Schedulers
from engine.scheduling.stop import Manner, Stop
from tests.waiting import turns

REFUSED = Stop("unauthorized", "the key is refused", ExitCode.ACCOUNT, Manner.DOWNLOADS)
INTERRUPTED = Stop("interrupted", "stopped by SIGINT", ExitCode.INTERRUPTED)


class OneScheduler:
    """Works until it is told that it has come to its end."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.end = asyncio.Event()

    async def run(self) -> None:
        await self.end.wait()

    def request_stop(self, stop: Stop) -> None:
        self.stop = self.stop or stop


def _two() -> tuple[Schedulers, Any, Any]:
    schedulers = Schedulers(titles={"": "Segmind", "fal": "fal"}, announce=lambda _words: None)
    parts: tuple[Any, Any] = (OneScheduler(), OneScheduler())
    for name, part in zip(("", "fal"), parts, strict=True):
        schedulers.add(name, part)
    return (schedulers, *parts)


async def test_the_run_goes_on_while_the_jobs_of_one_provider_do_and_knows_in_the_end_why_the_others_did_not() -> None:
    schedulers, first, fal = _two()
    running = asyncio.create_task(schedulers.run())
    await turns()
    schedulers.decided_to_stop("fal", REFUSED)
    fal.end.set()
    await turns()
    assert schedulers.stop is None
    first.end.set()
    await running
    assert schedulers.stop is not None
    assert (schedulers.stop.kind, schedulers.stop.message) == ("unauthorized", "fal: the key is refused")


async def test_a_provider_that_stops_last_stops_the_run() -> None:
    schedulers, first, fal = _two()
    running = asyncio.create_task(schedulers.run())
    first.end.set()
    await turns()
    assert schedulers.stop is None
    schedulers.decided_to_stop("fal", REFUSED)
    assert schedulers.stop is not None
    fal.end.set()
    await running


async def test_what_stops_all_stops_the_run_at_once_by_the_hardest_reason() -> None:
    schedulers, _, _ = _two()
    schedulers.decided_to_stop("fal", REFUSED)
    assert schedulers.stop is None
    schedulers.request_stop(INTERRUPTED)
    assert schedulers.stop is not None
    assert schedulers.stop.kind == "unauthorized"
