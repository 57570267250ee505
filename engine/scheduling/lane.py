"""One lane of requests: who may go out next, and when.

A lane owns one budget of requests a minute. Whoever wants a request made *offers* it with a class and a value,
and may raise the offer while it waits; at the lane's pace the best one is taken and started. Nothing holds a
slot while it waits: the choice is made at the last moment, among all that is ripe then. A 429 stops the lane
until the server's word. While the provider is away, one request at a time tries whether it is back. Knows
nothing of jobs or HTTP.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from aiolimiter import AsyncLimiter

from engine.scheduling.breaker import Breaker

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

    from engine.clock import Clock
    from engine.scheduling.pace import Pace, Permit

    Start: TypeAlias = Callable[[Permit], Coroutine[None, None, None]]

PACE_MARGIN = 0.985
"""Evenly spaced requests at exactly the limit put one too many into some window when the network jitters."""

TIMER_S = 0.01
"""Requests of so short a time may go out together: a pace of thousands a second would else be a timer for each."""

CRUMB = 1.01
STALE_ENTRIES_MIN = 64
"""Entries of offers that were ranked anew are cleared away once they outnumber what waits, and this."""


class Urgency(IntEnum):
    """Classes of requests in the order in which they go out."""

    AGEING = 0
    """A request whose record or result expires if nobody asks soon."""
    SUBMIT = 1
    """A new job; how many there may be is bounded by what can be harvested in time."""
    FRESH_RESULT = 2
    """The result of a generation that finished just now."""
    LIKELY_DONE = 3
    """A poll that probably finds its request finished."""
    DUE = 4
    """Any other poll that is due."""
    IDLE = 5
    """A poll that is worth a turn which nobody else wants."""


class Offer:
    """A request that waits for its turn.

    Attributes:
        urgency, value: its rank; a higher value goes first within a class.
        waits: whether it is still to be made; false once it was taken or dropped.
    """

    __slots__ = ("start", "urgency", "value", "waits")

    def __init__(self, urgency: Urgency, value: float, start: Start) -> None:
        self.urgency = urgency
        self.value = value
        self.start = start
        self.waits = True


Entry: TypeAlias = tuple[int, float, int, Offer]


class Lane:
    """A paced, prioritised stream of requests.

    Args:
        name: for task names and messages.
        concurrency: how many requests may be under way at once.
    """

    def __init__(self, name: str, *, pace: Pace, concurrency: int, clock: Clock, rng: random.Random) -> None:
        self.name = name
        self.pace = pace
        self._concurrency = concurrency
        self._clock = clock
        self._breaker = Breaker(rng)
        self._offers: list[Entry] = []
        self._waiting = 0
        self._under_way = 0
        self._order = itertools.count()
        self._ripe = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._open_at = 0.0
        self._turn_at = 0.0
        self._throttled_until = 0.0
        self._pressed = False
        self._closed: frozenset[Urgency] = frozenset()
        self._limiter = _limiter(pace.per_minute)
        self._limiter_per_minute = pace.per_minute

    def __repr__(self) -> str:
        return f"<Lane {self.name}: {self._waiting} offered, {self._under_way} under way, {self.per_minute:.1f}/min>"

    @property
    def per_minute(self) -> float:
        """Requests a minute at the present pace."""
        return self.pace.per_minute

    @property
    def open_in_s(self) -> float:
        """How long the server asked us to wait yet; 0 when the lane is open."""
        return max(0.0, self._open_at - self._clock.now())

    @property
    def is_throttled(self) -> bool:
        """Whether a 429 holds it."""
        return self._throttled_until > self._clock.now()

    @property
    def turn_in_s(self) -> float:
        """How long until the next request may go out, at the present pace."""
        return max(self.open_in_s, self._turn_at + spacing_s(self.per_minute) - self._clock.now(), 0.0)

    @property
    def outage(self) -> str:
        """Why the provider is out of this lane's reach, for people; empty while it answers."""
        return self._breaker.reason

    # --- offers -----------------------------------------------------------------------------------

    def offer(self, urgency: Urgency, start: Start, *, value: float = 0.0) -> Offer:
        """Ask for a request: ``start`` is called and run as a task when its turn has come.

        An offer of a closed class is dropped.
        """
        offer = Offer(urgency, value, start)
        if urgency in self._closed:
            offer.waits = False
        else:
            self._waiting += 1
            self._push(offer)
        return offer

    def rank(self, offer: Offer, urgency: Urgency, value: float) -> None:
        """Give an offer that waits another class or value."""
        if offer.waits and (offer.urgency, offer.value) != (urgency, value):
            offer.urgency, offer.value = urgency, value
            self._push(offer)

    def withdraw(self, offer: Offer) -> None:
        """Take an offer back that was not taken yet."""
        if offer.waits:
            offer.waits = False
            self._waiting -= 1

    def close_class(self, urgency: Urgency) -> None:
        """Drop every offer of a class and let none of it out any more (after a stop)."""
        self._closed |= {urgency}
        for *_, offer in self._offers:
            if offer.urgency in self._closed:
                self.withdraw(offer)

    def _push(self, offer: Offer) -> None:
        heapq.heappush(self._offers, (offer.urgency, -offer.value, next(self._order), offer))
        if len(self._offers) > STALE_ENTRIES_MIN + 2 * self._waiting:
            self._offers = [entry for entry in self._offers if _is_current(entry)]
            heapq.heapify(self._offers)
        self._ripe.set()

    def _pop(self) -> Offer | None:
        """Take the best offer; entries of offers that were dropped, taken or ranked anew are passed over."""
        while self._offers:
            entry = heapq.heappop(self._offers)
            if _is_current(entry):
                offer = entry[-1]
                offer.waits = False
                self._waiting -= 1
                return offer
        return None

    # --- what came of requests --------------------------------------------------------------------

    def hold_until(self, moment: float) -> None:
        """Let nothing out before ``moment`` (monotonic seconds)."""
        self._open_at = max(self._open_at, moment)

    def accepted(self, permit: Permit) -> None:
        """Take note of a request that was answered and not throttled: a reduced pace grows back."""
        self._breaker.answered()
        self.pace.accepted(permit)
        self._look_for_room()

    def throttled(self, permit: Permit, wait_s: float) -> None:
        """Take note of a 429: wait as asked, and go on more slowly if it was the present pace that was too fast."""
        self._breaker.answered()
        self._throttled_until = self._clock.now() + wait_s
        self.hold_until(self._throttled_until)
        self.pace.throttled(permit)
        self._look_for_room()

    def unreachable(self, reason: str) -> None:
        """Take note of a request that never arrived or was never answered: hold back, longer each time in a row."""
        if self._breaker.is_open and self.open_in_s > 0:
            return
        self.hold_until(self._clock.now() + self._breaker.failed(reason))
        self._look_for_room()

    # --- the pump ---------------------------------------------------------------------------------

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Start the best offer at each turn, until cancelled."""
        while True:
            await self._ripe.wait()
            await self._room.wait()
            await self._turn()
            if self._room.is_set():
                self._start_best(tasks)

    async def _turn(self) -> None:
        """Wait until the pace and the server allow one more request."""
        while True:
            if (wait_s := self.open_in_s) > 0:
                await self._clock.sleep(wait_s)
                continue
            await self._pass_limiter()
            if self.open_in_s <= 0:
                return

    def _start_best(self, tasks: asyncio.TaskGroup) -> None:
        offer = self._pop()
        if offer is not None:
            self._turn_at = self._clock.now()
            self._under_way += 1
            self._look_for_room()
            tasks.create_task(self._carry_out(offer.start, self._permit()), name=f"{self.name}-request")
        if not self._waiting:
            self._offers.clear()
            self._ripe.clear()

    def _permit(self) -> Permit:
        """Give leave for a request; others that wait when it goes, or waited when the last one went, press it."""
        pressed, self._pressed = self._pressed or self._waiting > 0, self._waiting > 0
        return self.pace.permit(pressed=pressed)

    async def _carry_out(self, start: Start, permit: Permit) -> None:
        try:
            await start(permit)
        finally:
            self._under_way -= 1
            self._look_for_room()

    def _look_for_room(self) -> None:
        limit = 1 if self._breaker.is_open else self._concurrency
        if self._under_way < limit:
            self._room.set()
        else:
            self._room.clear()

    async def _pass_limiter(self) -> None:
        """Wait for the next turn at the present pace.

        A limiter keeps its drip rate for life, so a new pace takes a new limiter; it begins with a full
        bucket, because an empty one would let a request out at once at every change.
        """
        if self._is_outpaced(self._limiter_per_minute):
            self._limiter = _limiter(self.per_minute)
            self._limiter_per_minute = self.per_minute
            await self._limiter.acquire(self._limiter.max_rate)
        await self._limiter.acquire()

    def _is_outpaced(self, per_minute: float) -> bool:
        """Whether a limiter of another pace is due: at once for a lower one, not for every crumb of growth."""
        grown = self.per_minute > per_minute
        return self.per_minute < per_minute or (
            grown and (self.per_minute > CRUMB * per_minute or self.per_minute == self.pace.per_minute_max)
        )


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of submissions and of reading requests; one and the same if the plan counts all alike."""

    submits: Lane
    reads: Lane


def _is_current(entry: Entry) -> bool:
    urgency, negative, _, offer = entry
    return offer.waits and (offer.urgency, -offer.value) == (urgency, negative)


def _limiter(per_minute: float) -> AsyncLimiter:
    """Return what lets one request through at each turn, or a few where turns are shorter than a timer."""
    at_once = max(1, int(TIMER_S / spacing_s(per_minute)))
    return AsyncLimiter(at_once, at_once * spacing_s(per_minute))


def spacing_s(per_minute: float) -> float:
    """Return the seconds between two requests at a pace, a hair more than the limit demands."""
    return 60 / (per_minute * PACE_MARGIN)
