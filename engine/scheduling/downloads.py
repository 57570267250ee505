"""Bring the files of recorded results to disk: so many at the same time as there are places, oldest submission first.

A result whose files are not where they were said to be waits here while the provider is asked, in its turn, where they
are now. Knows nothing of how files are downloaded, nor of polls.
"""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, assert_never

from engine.scheduling.steps import AskAgain, AskWhere, AtRest, LeftReady, Located, SetAside, StopRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.guard import Guard
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.landing import Landing
    from engine.scheduling.life import Life
    from engine.scheduling.pace import Permit
    from engine.scheduling.reads import Reads
    from engine.scheduling.setbacks import Setbacks
    from engine.scheduling.steps import DownloadStep, LocateStep
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally


class Downloads:
    """The results whose files are on their way.

    Args:
        places: how many files are downloaded at the same time, now.
        on_stop: called with a reason to stop the run.
        on_stored: called whenever the files of a result are stored.
        on_change: called after every step: there may be nothing left to do.
    """

    def __init__(
        self,
        life: Life,
        guard: Guard,
        reads: Reads,
        in_flight: InFlight,
        landing: Landing,
        *,
        agenda: Agenda,
        clock: Clock,
        tally: Tally,
        log: FilteringBoundLogger,
        setbacks: Setbacks,
        places: Callable[[], int],
        on_stop: Callable[[Stop], None],
        on_stored: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._guard = guard
        self._lane = reads.lane
        self._reads = reads
        self._in_flight = in_flight
        self._landing = landing
        self._agenda = agenda
        self._clock = clock
        self._tally = tally
        self._log = log
        self._setbacks = setbacks
        self._places = places
        self._on_stop = on_stop
        self._on_stored = on_stored
        self._on_change = on_change
        self._queue: asyncio.PriorityQueue[tuple[float, int, Flight]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._waiting: dict[int, Flight] = {}
        self._loops: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Downloads: {self._queue.qsize()} queued, {len(self._waiting)} wait for another try>"

    def add(self, flight: Flight) -> None:
        """Download the files of a result that is in the ledger."""
        self._tally.downloading += 1
        self._put(flight)

    def staff(self, tasks: asyncio.TaskGroup) -> None:
        """See that a loop works in every place; one whose place is gone ends by itself."""
        for number in range(self._places()):
            loop = self._loops.get(number)
            if loop is None or loop.done():
                self._loops[number] = tasks.create_task(self._work(number), name=f"download-{number}")

    def close(self) -> None:
        """Ask the provider for nothing any more: what runs, or can begin at once, is finished, the rest is left."""
        self._closed = True
        for flight in list(self._waiting.values()):
            self._leave(flight)

    def cancel(self) -> None:
        """End the loops."""
        for loop in self._loops.values():
            loop.cancel()

    # --- downloading ------------------------------------------------------------------------------

    def _put(self, flight: Flight) -> None:
        self._queue.put_nowait((flight.submitted_at, next(self._order), flight))

    async def _work(self, number: int) -> None:
        """Download one result after the other, as long as there is a place ``number``."""
        while number < self._places():
            entry = await self._queue.get()
            if number >= self._places():
                self._queue.put_nowait(entry)
                return
            *_, flight = entry
            step = await self._guard.make(flight, self._life.download(flight))
            self._after_download(flight, step)
            self._on_change()

    def _after_download(self, flight: Flight, step: DownloadStep) -> None:
        match step:
            case AtRest():
                self._tally.downloading -= 1
                self._tally.downloaded_bytes += step.stored_bytes
                self._on_stored()
                self._landing.rest(flight, step)
            case AskAgain(delay_s):
                self._wait(flight)
                self._put_later(flight, delay_s)
            case AskWhere():
                self._wait(flight)
                self._ask_where(flight)
            case LeftReady(reason):
                self._log.warning("left_ready", id=flight.id, reason=reason)
                self._leave(flight)
            case SetAside():
                self._tally.downloading -= 1
                self._landing.set_aside(flight)
            case StopRun(stop):
                self._leave(flight)
                self._on_stop(stop)
            case _:
                assert_never(step)

    # --- waiting for another try ------------------------------------------------------------------

    def _wait(self, flight: Flight) -> None:
        """Take note that a result is not downloaded now; nobody waits for it once no request may go out."""
        self._waiting[flight.job] = flight
        if self._closed:
            self._leave(flight)

    def _leave(self, flight: Flight) -> None:
        """Let go of a result; where its files are is recorded, and the next process downloads it first."""
        self._waiting.pop(flight.job, None)
        self._tally.downloading -= 1
        self._in_flight.leave(flight)

    def _put_later(self, flight: Flight, delay_s: float) -> None:
        self._agenda.at(self._clock.now() + delay_s, partial(self._put_again, flight))

    def _put_again(self, flight: Flight) -> None:
        if self._waiting.pop(flight.job, None) is not None:
            self._put(flight)

    # --- asking where the files are ---------------------------------------------------------------

    def _ask_where(self, flight: Flight) -> None:
        self._reads.offer_fetch(flight, partial(self._locate, flight))

    async def _locate(self, flight: Flight, permit: Permit) -> None:
        step = await self._guard.make(flight, self._life.locate(flight))
        if flight.job in self._waiting:
            self._after_locating(flight, permit, step)
        self._on_change()

    def _after_locating(self, flight: Flight, permit: Permit, step: LocateStep) -> None:
        match step:
            case Located(delay_s):
                self._lane.accepted(permit)
                self._put_later(flight, delay_s)
            case SetAside():
                del self._waiting[flight.job]
                self._tally.downloading -= 1
                self._landing.set_aside(flight)
            case _:
                self._setbacks.ask_again(self._lane, permit, step, partial(self._ask_where, flight))
