"""Bring every accepted request home: ask about it in time, fetch its result at once, download its files.

The agenda remembers when each request is due, the lane paces what is asked, a few workers download; no request
has a task of its own while it waits. Knows nothing of submitting.
"""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, assert_never

from engine.ledger.cancel_book import CANCELLED
from engine.scheduling.in_flight import NEGLECT_SHARE
from engine.scheduling.reads import Reads
from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    CancelUnderWay,
    Fetched,
    Finished,
    NotCancelled,
    SetAside,
    SlowDown,
    StillWorking,
    StopRun,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.guard import Guard
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.landing import Landing
    from engine.scheduling.lane import Lane
    from engine.scheduling.life import Life
    from engine.scheduling.pace import Permit
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.setbacks import Setbacks
    from engine.scheduling.steps import CancelStep, DownloadStep, FetchStep, PollStep
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally

POSSIBLE_CHANCE = 0.02
ASKED_LOOK_S = 5.0
"""How often a request is looked at whose provider was asked to cancel it."""
PLAN_AGAIN_FACTOR = 1.5
"""Polls are placed anew when requests turn out to take so many times less than was believed."""

NoAnswer: TypeAlias = AskAgain | SlowDown | Unreachable | StopRun
"""What a reading request may come to besides an answer about its request."""


class Harvest:
    """Works on every request that the provider has.

    Args:
        polling_for: the polling policy of a model.
        record_life_s: how long the provider keeps a request's record, from its submission.
        on_stop: called with a reason to stop the run.
        download_places: how many files are downloaded at the same time, now.
        on_stored: called whenever the files of a result are stored.
        on_finished: called whenever a request was found finished.
        on_not_cancelled: called with a request that goes on, or ended by itself, although it was to be cancelled.
        on_change: called after every step: there may be nothing left to do.
    """

    def __init__(
        self,
        life: Life,
        guard: Guard,
        lane: Lane,
        in_flight: InFlight,
        landing: Landing,
        *,
        agenda: Agenda,
        clock: Clock,
        tally: Tally,
        setbacks: Setbacks,
        polling_for: Callable[[str], PollingPolicy],
        record_life_s: float,
        on_stop: Callable[[Stop], None],
        download_places: Callable[[], int],
        on_stored: Callable[[], None],
        on_finished: Callable[[], None],
        on_not_cancelled: Callable[[Flight, str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._guard = guard
        self._lane = lane
        self._in_flight = in_flight
        self._landing = landing
        self._agenda = agenda
        self._clock = clock
        self._tally = tally
        self._setbacks = setbacks
        self._polling_for = polling_for
        self._record_life_s = record_life_s
        self._on_stop = on_stop
        self._download_places = download_places
        self._on_stored = on_stored
        self._on_finished = on_finished
        self._on_not_cancelled = on_not_cancelled
        self._on_change = on_change
        self._reads = Reads(lane, agenda=agenda, clock=clock, polling_for=polling_for, record_life_s=record_life_s)
        self._ask_first: set[int] = set()
        self._planned_for_s: dict[str, float] = {}
        self._downloads: asyncio.PriorityQueue[tuple[float, int, Flight]] = asyncio.PriorityQueue()
        self._order = itertools.count()

    # --- from outside -----------------------------------------------------------------------------

    def follow(self, flight: Flight) -> None:
        """Follow a request that was accepted just now."""
        self._in_flight.accepted(flight)
        self._tally.generating += 1
        self._plan_poll(flight)
        if flight.cancel_wanted:
            self.hasten(flight)

    def take_answer(self, flight: Flight, step: Fetched) -> None:
        """Take the result that came as the reply to its submission; what it took is known to the moment."""
        self._learn(flight, 0.0, step)
        self._recorded(flight, step.cost_usd, step.lag_s)

    def take_up(self, flight: Flight) -> None:
        """Follow a request of an earlier process, or one found in the history; if it may be done, ask at once."""
        self._in_flight.board(flight)
        self._in_flight.accepted(flight)
        self._tally.generating += 1
        if (
            flight.cancel_wanted
            or flight.cancel_sent
            or self._polling_for(flight.model).chance(self._age_s(flight), since_s=0.0) >= POSSIBLE_CHANCE
        ):
            self._ask_first.add(flight.job)
            self._agenda.at(self._clock.now(), partial(self._offer_poll, flight, self._clock.now()))
        else:
            self._plan_poll(flight)

    def take_up_result(self, flight: Flight) -> None:
        """Download what an earlier process had recorded."""
        self._in_flight.board(flight)
        self._tally.downloading += 1
        self._queue_download(flight)

    def hasten(self, flight: Flight) -> None:
        """Ask at once about a request that is to be cancelled, unless it is being asked about just now."""
        if flight.poll_at:
            flight.poll_at = 0.0
            self._offer_poll(flight, self._clock.now())
        else:
            self._reads.hasten(flight)

    async def download_loop(self, number: int) -> None:
        """Download one result after the other, oldest submission first, as long as there is a place ``number``."""
        while number < self._download_places():
            entry = await self._downloads.get()
            if number >= self._download_places():
                self._downloads.put_nowait(entry)
                return
            *_, flight = entry
            step = await self._guard.make(flight, self._life.download(flight))
            self._after_download(flight, step)
            self._on_change()

    @property
    def to_ask_first(self) -> int:
        """How many requests of an earlier process may be done and were not asked about yet."""
        return len(self._ask_first)

    @property
    def left_s(self) -> float | None:
        """How long what is generating may still take, in seconds; None if nobody knows."""
        left = [
            typical_s - self._age_s(flight)
            for flight in self._in_flight.unresolved
            if (typical_s := self._polling_for(flight.model).typical_s) is not None
        ]
        return max(0.0, *left) if left else None

    # --- polling ----------------------------------------------------------------------------------

    def _age_s(self, flight: Flight) -> float:
        return self._clock.now() - flight.submitted_at

    def _plan_poll(self, flight: Flight) -> None:
        age_s, seen_s, policy = self._age_s(flight), flight.seen_running_s, self._polling_for(flight.model)
        # Past half the life of its record, a request that is not asked about in time counts as neglected.
        age_s_max = max(self._record_life_s / 2, age_s + self._record_life_s * NEGLECT_SHARE / 2)
        idle_age_s, due_age_s = policy.idle_age_s(seen_s), policy.due_age_s(seen_s)
        due_at = flight.submitted_at + min(due_age_s, age_s_max)
        flight.poll_at = min(flight.submitted_at + idle_age_s, due_at)
        self._agenda.at(flight.poll_at, partial(self._offer_planned_poll, flight, flight.poll_at, due_at))

    def _offer_planned_poll(self, flight: Flight, planned_at: float, due_at: float) -> None:
        if flight.poll_at == planned_at:  # else it was planned anew since
            flight.poll_at = 0.0
            self._offer_poll(flight, due_at)

    def _offer_poll(self, flight: Flight, due_at: float) -> None:
        self._reads.offer_poll(flight, partial(self._poll, flight), due_at=due_at)

    def _plan_again_if_quicker(self, model: str, typical_s: float | None) -> None:
        """Place the waiting polls of a model anew once its requests prove much quicker than these polls assume.

        The other way needs no care: a poll that comes too early finds its request running and plans the next.
        """
        if typical_s is None:
            return
        planned_for_s = self._planned_for_s.setdefault(model, typical_s)
        self._planned_for_s[model] = max(planned_for_s, typical_s)
        if typical_s * PLAN_AGAIN_FACTOR < planned_for_s:
            self._planned_for_s[model] = typical_s
            for flight in self._in_flight.unresolved:
                if flight.model == model and flight.poll_at > self._clock.now():
                    self._plan_poll(flight)

    async def _poll(self, flight: Flight, permit: Permit) -> None:
        self._tally.polls += 1
        self._reads.asked(flight)
        since_s = flight.seen_running_s
        step = await self._guard.make(flight, self._life.poll(flight))
        self._learn(flight, since_s, step)
        self._after_poll(flight, permit, step)
        self._on_change()

    def _learn(self, flight: Flight, since_s: float, step: PollStep) -> None:
        """Show the model's policy what an answer told; a failure ends a request like a success."""
        policy = self._polling_for(flight.model)
        match step:
            case StillWorking():
                policy.still_running(since_s, flight.seen_running_s)
            case Finished(claimed_s) | Fetched(end=Finished(claimed_s)):
                policy.finished(since_s, self._age_s(flight), claimed_s=claimed_s)
                self._on_finished()
            case AtRest() if flight.error is None or flight.error.kind != CANCELLED:
                policy.finished(since_s, self._age_s(flight), claimed_s=None)
                self._on_finished()
            case _:
                return
        self._plan_again_if_quicker(flight.model, policy.typical_s)

    def _after_poll(self, flight: Flight, permit: Permit, step: PollStep) -> None:
        match step:
            case StillWorking(queued, word):
                self._answered(flight, permit)
                self._note_queued(flight, queued=queued)
                self._go_on_waiting(flight, word)
            case Finished():
                self._lane.accepted(permit)
                self._came_first(flight)
                self._generated(flight)
                self._tally.fetching += 1
                self._offer_fetch(flight)
            case Fetched(cost_usd, lag_s, _):
                self._answered(flight, permit)
                self._came_first(flight)
                self._generated(flight)
                self._recorded(flight, cost_usd, lag_s)
            case AtRest():
                self._answered(flight, permit)
                self._generated(flight)
                self._landing.rest(flight, step)
            case SetAside():
                self._ask_first.discard(flight.job)
                self._generated(flight)
                self._landing.set_aside(flight)
            case _:
                self._ask_again(flight, permit, step, partial(self._offer_poll, flight, self._clock.now()))

    def _go_on_waiting(self, flight: Flight, word: str) -> None:
        if flight.cancel_wanted:
            self._reads.offer_cancel(flight, partial(self._cancel, flight, word))
        elif flight.cancel_sent:
            self._agenda.at(self._clock.now() + ASKED_LOOK_S, partial(self._offer_poll, flight, self._clock.now()))
        else:
            self._plan_poll(flight)

    def _note_queued(self, flight: Flight, *, queued: bool) -> None:
        self._tally.queued += queued - flight.queued
        flight.queued = queued

    def _generated(self, flight: Flight) -> None:
        self._note_queued(flight, queued=False)
        self._tally.generating -= 1

    # --- cancelling -------------------------------------------------------------------------------

    async def _cancel(self, flight: Flight, seen: str, permit: Permit) -> None:
        step = await self._guard.make(flight, self._life.canceller.cancel(flight, seen))
        self._after_cancel(flight, permit, step)
        self._on_change()

    def _after_cancel(self, flight: Flight, permit: Permit, step: CancelStep) -> None:
        """Go on with a request after the provider was asked to cancel it; what it came to, its status tells."""
        look = partial(self._offer_poll, flight, self._clock.now())
        match step:
            case AtRest():
                self._answered(flight, permit)
                self._generated(flight)
                self._landing.rest(flight, step)
            case CancelUnderWay():
                self._answered(flight, permit)
                look()
            case NotCancelled(reason):
                self._answered(flight, permit)
                self._on_not_cancelled(flight, reason)
                look()
            case SetAside():
                self._generated(flight)
                self._landing.set_aside(flight)
            case _:
                self._ask_again(flight, permit, step, look)

    def _came_first(self, flight: Flight) -> None:
        """Take note that a request was finished before it could be cancelled."""
        if flight.cancel_wanted or flight.cancel_sent:
            flight.cancel_wanted = False
            self._on_not_cancelled(flight, "it finished before")

    # --- fetching ---------------------------------------------------------------------------------

    def _offer_fetch(self, flight: Flight) -> None:
        self._reads.offer_fetch(flight, partial(self._fetch, flight))

    async def _fetch(self, flight: Flight, permit: Permit) -> None:
        step = await self._guard.make(flight, self._life.fetch(flight))
        self._after_fetch(flight, permit, step)
        self._on_change()

    def _after_fetch(self, flight: Flight, permit: Permit, step: FetchStep) -> None:
        match step:
            case Fetched(cost_usd, lag_s, _):
                self._answered(flight, permit)
                self._tally.fetching -= 1
                self._recorded(flight, cost_usd, lag_s)
            case AtRest():
                self._answered(flight, permit)
                self._tally.fetching -= 1
                self._landing.rest(flight, step)
            case SetAside():
                self._ask_first.discard(flight.job)
                self._tally.fetching -= 1
                self._landing.set_aside(flight)
            case _:
                self._ask_again(flight, permit, step, partial(self._offer_fetch, flight))

    def _recorded(self, flight: Flight, cost_usd: float | None, lag_s: float | None) -> None:
        """Go on with a result that is in the ledger: its record may expire now."""
        self._in_flight.recorded(flight)
        self._tally.downloading += 1
        if lag_s is not None:
            self._tally.lag_sum_s += lag_s
            self._tally.lag_jobs += 1
        self._landing.settle(flight, cost_usd)
        self._queue_download(flight)

    # --- downloading ------------------------------------------------------------------------------

    def _queue_download(self, flight: Flight) -> None:
        self._downloads.put_nowait((flight.submitted_at, next(self._order), flight))

    def _after_download(self, flight: Flight, step: DownloadStep) -> None:
        match step:
            case AtRest():
                self._tally.downloading -= 1
                self._tally.downloaded_bytes += step.stored_bytes
                self._on_stored()
                self._landing.rest(flight, step)
            case AskAgain(delay_s):
                self._agenda.at(self._clock.now() + delay_s, partial(self._queue_download, flight))
            case SetAside():
                self._tally.downloading -= 1
                self._landing.set_aside(flight)
            case StopRun(stop):
                # Its URL is recorded; the next process downloads it first.
                self._tally.downloading -= 1
                self._in_flight.leave(flight)
                self._on_stop(stop)
            case _:
                assert_never(step)

    # --- what polls and fetches share -------------------------------------------------------------

    def _answered(self, flight: Flight, permit: Permit) -> None:
        self._lane.accepted(permit)
        self._ask_first.discard(flight.job)

    def _ask_again(self, flight: Flight, permit: Permit, step: NoAnswer, again: Callable[[], None]) -> None:
        """Ask the same question again when that makes sense; no attempt of the job is touched."""
        match step:
            case AskAgain(delay_s):
                self._answered(flight, permit)
                self._agenda.at(self._clock.now() + delay_s, again)
            case SlowDown(wait_s):
                self._setbacks.throttled(self._lane, permit, wait_s)
                again()
            case Unreachable(reason):
                self._setbacks.unreachable(self._lane, reason)
                again()
            case StopRun(stop):
                self._on_stop(stop)
            case _:
                assert_never(step)
