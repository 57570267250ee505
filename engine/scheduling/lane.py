"""One lane of requests: who may go out next, and when.

A lane owns one budget of requests a minute. Whoever wants a request made *offers* it with a class and a
value; at the lane's pace the best offer is taken and started. Nothing waits in line while holding a slot:
the choice is made at the last moment, among all that is ripe then. A 429 stops the lane until the
server's word and halves its pace, once per burst: each request is told the *epoch* of the pace it was sent
under, and a 429 of an earlier epoch says nothing about the present one. The pace grows again while it is
used. Knows nothing of jobs or HTTP.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from enum import IntEnum
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from engine.backoff import backoff_s

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine

    from engine.clock import Clock

    Start = Callable[[int], Coroutine[None, None, None]]

PACE_MARGIN = 0.985
"""Evenly spaced requests at exactly the limit put one too many into some window when the network jitters."""

PACE_SHARE_MIN = 1 / 64
OUTAGE_FIRST_S = 1.0
OUTAGE_MAX_S = 60.0
GROWTH_PER_REQUEST = 1 / 60
"""Each accepted request raises a reduced pace by this share of the full one: full again after a minute's worth."""


class Urgency(IntEnum):
    """Classes of requests in the order in which they go out."""

    RESULT = 0
    """A finished, paid generation: its record and its file expire."""
    LIKELY_DONE = 1
    """A poll that probably finds its request finished."""
    SUBMIT = 2
    """A new job."""
    DUE = 3
    """Any other poll that is due."""


class Lane:
    """A paced, prioritised stream of requests.

    Args:
        name: for task names and messages.
        per_minute: the budget; the pace never exceeds it unless it is to be discovered.
        concurrency: how many requests may be under way at once.
        adaptive: whether 429s lower the pace.
        discover: whether the pace may grow above the budget until a 429 says that it is too fast.
    """

    def __init__(
        self,
        name: str,
        *,
        per_minute: float,
        concurrency: int,
        adaptive: bool,
        clock: Clock,
        rng: random.Random,
        discover: bool = False,
    ) -> None:
        self.name = name
        self.per_minute_max = per_minute
        self.throttles = 0
        self._adaptive = adaptive
        self._ceiling = math.inf if discover else per_minute
        self._clock = clock
        self._rng = rng
        self._failures_in_a_row = 0
        self._outage = ""
        self._slots = asyncio.Semaphore(concurrency)
        self._offers: list[tuple[int, float, int, Start]] = []
        self._order = itertools.count()
        self._ripe = asyncio.Event()
        self._open_at = 0.0
        self._closed: frozenset[Urgency] = frozenset()
        self.per_minute = per_minute
        self._epoch = 0
        self._limiter = AsyncLimiter(1, _spacing_s(per_minute))
        self._limiter_per_minute = per_minute

    def __repr__(self) -> str:
        return f"<Lane {self.name}: {len(self._offers)} offered, {self.per_minute:.1f}/min>"

    @property
    def open_in_s(self) -> float:
        """How long the server asked us to wait yet; 0 when the lane is open."""
        return max(0.0, self._open_at - self._clock.now())

    def offer(self, urgency: Urgency, start: Start, *, value: float = 0.0) -> None:
        """Ask for a request: ``start`` is called and run as a task when its turn has come; a higher value goes first.

        An offer of a closed class is dropped.
        """
        if urgency in self._closed:
            return
        heapq.heappush(self._offers, (urgency, -value, next(self._order), start))
        self._ripe.set()

    def close_class(self, urgency: Urgency) -> None:
        """Drop every offer of a class and let none of it out any more (after a stop, or while paused)."""
        self._closed |= {urgency}
        self._offers = [offer for offer in self._offers if offer[0] not in self._closed]
        heapq.heapify(self._offers)

    def open_class(self, urgency: Urgency) -> None:
        """Let a closed class out again."""
        self._closed -= {urgency}

    def hold_until(self, moment: float) -> None:
        """Let nothing out before ``moment`` (monotonic seconds)."""
        self._open_at = max(self._open_at, moment)

    @property
    def outage(self) -> str:
        """Why the provider is out of this lane's reach, for people; empty while it answers."""
        return f"the provider is out of reach ({self._outage})" if self._failures_in_a_row else ""

    def unreachable(self, reason: str) -> None:
        """Take note of a request that never arrived or was never answered: hold back, longer each time in a row.

        Requests that were under way together fail together; they count once.
        """
        self._outage = reason
        if self._failures_in_a_row and self.open_in_s > 0:
            return
        self._failures_in_a_row += 1
        self.hold_until(
            self._clock.now()
            + backoff_s(self._failures_in_a_row, first_s=OUTAGE_FIRST_S, max_s=OUTAGE_MAX_S, rng=self._rng)
        )

    def throttled(self, epoch: int, wait_s: float) -> None:
        """Take note of a 429: wait as asked, and go on more slowly if it was the present pace that was too fast."""
        self.throttles += 1
        self.hold_until(self._clock.now() + wait_s)
        if self._adaptive and epoch == self._epoch:
            self._epoch += 1
            self.per_minute = max(self.per_minute / 2, self.per_minute_max * PACE_SHARE_MIN)

    def accepted(self) -> None:
        """Take note of a request that was answered and not throttled: a reduced pace grows back."""
        self._failures_in_a_row = 0
        self.per_minute = min(self._ceiling, self.per_minute + self.per_minute_max * GROWTH_PER_REQUEST)

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Start the best offer at each turn, until cancelled."""
        while True:
            await self._ripe.wait()
            await self._slots.acquire()
            taken = False
            try:
                await self._turn()
                taken = self._start_best(tasks)
            finally:
                if not taken:
                    self._slots.release()

    async def _turn(self) -> None:
        """Wait until the pace and the server allow one more request."""
        while True:
            if (wait_s := self.open_in_s) > 0:
                await self._clock.sleep(wait_s)
                continue
            await self._pass_limiter()
            if self.open_in_s <= 0:
                return

    def _start_best(self, tasks: asyncio.TaskGroup) -> bool:
        if not self._offers:
            self._ripe.clear()
            return False
        start = heapq.heappop(self._offers)[-1]
        if not self._offers:
            self._ripe.clear()
        tasks.create_task(self._carry_out(start), name=f"{self.name}-request")
        return True

    async def _carry_out(self, start: Start) -> None:
        try:
            await start(self._epoch)
        finally:
            self._slots.release()

    async def _pass_limiter(self) -> None:
        """Wait for the next turn at the present pace.

        A limiter keeps its drip rate for life, so a new pace takes a new limiter; it begins with a full
        bucket, because an empty one would let a request out at once at every change.
        """
        if self._limiter_per_minute != self.per_minute:
            self._limiter = AsyncLimiter(1, _spacing_s(self.per_minute))
            self._limiter_per_minute = self.per_minute
            await self._limiter.acquire()
        await self._limiter.acquire()


def _spacing_s(per_minute: float) -> float:
    return 60 / (per_minute * PACE_MARGIN)
