"""Bring every accepted request home: ask about it in time, fetch its result at once, hand its files to the downloads.

The planner says when each request is due, the lane paces what is asked; no request has a task of its own while it
waits. Knows nothing of submitting.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    CancelUnderWay,
    Fetched,
    Finished,
    NotCancelled,
    SetAside,
    StillWorking,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.scheduling.agenda import Agenda
    from engine.scheduling.downloads import Downloads
    from engine.scheduling.guard import Guard
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.landing import Landing
    from engine.scheduling.life import Life
    from engine.scheduling.pace import Permit
    from engine.scheduling.poll_planner import PollPlanner
    from engine.scheduling.reads import Reads
    from engine.scheduling.setbacks import Setbacks
    from engine.scheduling.steps import CancelStep, FetchStep, NoAnswer, PollStep
    from engine.scheduling.tally import Tally

ASKED_LOOK_S = 5.0
"""How often a request is looked at whose provider was asked to cancel it."""


class Harvest:
    """Works on every request that the provider has.

    Args:
        planner: builds the planner of polls, from what offers one.
        on_not_cancelled: called with a request that goes on, or ended by itself, although it was to be cancelled.
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
        downloads: Downloads,
        planner: Callable[[Callable[[Flight, float], None]], PollPlanner],
        agenda: Agenda,
        clock: Clock,
        tally: Tally,
        setbacks: Setbacks,
        on_not_cancelled: Callable[[Flight, str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._guard = guard
        self._lane = reads.lane
        self._reads = reads
        self._in_flight = in_flight
        self._landing = landing
        self._downloads = downloads
        self._planner = planner(self._offer_poll)
        self._agenda = agenda
        self._clock = clock
        self._tally = tally
        self._setbacks = setbacks
        self._on_not_cancelled = on_not_cancelled
        self._on_change = on_change
        self._ask_first: set[int] = set()

    # --- from outside -----------------------------------------------------------------------------

    def follow(self, flight: Flight) -> None:
        """Follow a request that was accepted just now."""
        self._in_flight.accepted(flight)
        self._tally.generating += 1
        self._planner.plan(flight)
        if flight.cancel_wanted:
            self.hasten(flight)

    def take_answer(self, flight: Flight, step: Fetched) -> None:
        """Take the result that came as the reply to its submission; what it took is known to the moment."""
        self._planner.learn(flight, 0.0, step)
        self._recorded(flight, step.cost_usd, step.lag_s)

    def take_up(self, flight: Flight) -> None:
        """Follow a request of an earlier process, or one found in the history; if it may be done, ask at once."""
        self._in_flight.board(flight)
        self._in_flight.accepted(flight)
        self._tally.generating += 1
        if flight.cancel_wanted or flight.cancel_sent or self._planner.may_be_done(flight):
            self._ask_first.add(flight.job)
            self._agenda.at(self._clock.now(), partial(self._offer_poll, flight, self._clock.now()))
        else:
            self._planner.plan(flight)

    def take_up_result(self, flight: Flight) -> None:
        """Download what an earlier process had recorded."""
        self._in_flight.board(flight)
        self._downloads.add(flight)

    def hasten(self, flight: Flight) -> None:
        """Ask at once about a request that is to be cancelled, unless it is being asked about just now."""
        if flight.poll_at:
            flight.poll_at = 0.0
            self._offer_poll(flight, self._clock.now())
        else:
            self._reads.hasten(flight)

    @property
    def to_ask_first(self) -> int:
        """How many requests of an earlier process may be done and were not asked about yet."""
        return len(self._ask_first)

    @property
    def left_s(self) -> float | None:
        """How long what is generating may still take, in seconds; None if nobody knows."""
        return self._planner.left_s

    # --- polling ----------------------------------------------------------------------------------

    def _offer_poll(self, flight: Flight, due_at: float) -> None:
        self._reads.offer_poll(flight, partial(self._poll, flight), due_at=due_at)

    async def _poll(self, flight: Flight, permit: Permit) -> None:
        self._tally.polls += 1
        self._reads.asked(flight)
        since_s = flight.seen_running_s
        step = await self._guard.make(flight, self._life.poll(flight))
        self._planner.learn(flight, since_s, step)
        self._after_poll(flight, permit, step)
        self._on_change()

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
            self._planner.plan(flight)

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
        if lag_s is not None:
            self._tally.lag_sum_s += lag_s
            self._tally.lag_jobs += 1
        self._landing.settle(flight, cost_usd)
        self._downloads.add(flight)

    # --- what polls and fetches share -------------------------------------------------------------

    def _answered(self, flight: Flight, permit: Permit) -> None:
        self._lane.accepted(permit)
        self._ask_first.discard(flight.job)

    def _ask_again(self, flight: Flight, permit: Permit, step: NoAnswer, again: Callable[[], None]) -> None:
        """Ask the same question again when that makes sense; no attempt of the job is touched."""
        if isinstance(step, AskAgain):
            self._ask_first.discard(flight.job)
        self._setbacks.ask_again(self._lane, permit, step, again)
