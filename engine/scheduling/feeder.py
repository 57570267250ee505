"""Bring pending jobs to the submit lane, while everything allows it.

Jobs come from the ledger in blocks, in the order of the input. What may hold them up is asked in one place
(``reason``) and always has words: the in-flight cap, the harvest that falls behind, the recovery at start, the
canary, the budget, the account. Knows nothing of what happens to a job after it was offered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from engine.ledger.flights import pending_after
from engine.scheduling.lane import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.scheduling.backpressure import Backpressure
    from engine.scheduling.credit import Credit
    from engine.scheduling.halt import Canary
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.lane import Lane, Offer
    from engine.scheduling.pace import Permit
    from engine.scheduling.spend import Spend

BLOCK_JOBS = 256


class Feeder:
    """Offers jobs for submission.

    Args:
        start: submits one job when its turn has come.
        comes_first: words for what has to come before any new submission; empty if nothing has.
        elsewhere: how many more jobs may be in flight at the provider without our knowing their id.
        backpressure: how many jobs may be in flight.
        expect: called with each job that is offered: it will be submitted soon.
        provider: the name of the provider whose jobs are offered; None for all there are.
        pending: how many jobs wait to be submitted, those at hand and offered included.
        others_under_way: how many jobs of other providers are under way, which the canary counts too.
    """

    def __init__(
        self,
        ledger: Ledger,
        lane: Lane,
        in_flight: InFlight,
        *,
        spend: Spend,
        canary: Canary,
        credit: Credit,
        start: Callable[[Flight, Permit], Coroutine[None, None, None]],
        comes_first: Callable[[], str],
        elsewhere: Callable[[], int],
        backpressure: Backpressure,
        expect: Callable[[Flight], None],
        provider: str | None,
        pending: Callable[[], int],
        others_under_way: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._lane = lane
        self._in_flight = in_flight
        self._spend = spend
        self._canary = canary
        self._credit = credit
        self._start = start
        self._comes_first = comes_first
        self._elsewhere = elsewhere
        self._backpressure = backpressure
        self._expect = expect
        self._provider = provider
        self._pending = pending
        self._others_under_way = others_under_way
        self._waiting: deque[Flight] = deque()
        self._read_up_to = -1
        self._taken_back: set[int] = set()
        self._offered: dict[int, tuple[Flight, Offer]] = {}
        self._awake = asyncio.Event()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Feeder: {len(self._waiting)} at hand, {len(self._offered)} offered, {self.reason or 'feeding'}>"

    async def run(self) -> None:
        """Offer jobs whenever there is room, until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            self._withdraw_surplus()
            while self._has_room() and (flight := await self._next()) is not None:
                if not self._has_room() or self._spend.refusal(flight.model):
                    self._waiting.appendleft(flight)
                    break
                self._offer(flight)

    def wake(self) -> None:
        """Say that there may be room, or new jobs."""
        self._awake.set()

    def close(self) -> None:
        """Offer nothing any more; what was offered and not started stays PENDING in the ledger."""
        self._closed = True
        self._lane.close_class(Urgency.SUBMIT)
        for job in self._offered:  # the other providers' jobs share the budget
            self._spend.give_back(job, accepted=False)
        self._offered.clear()

    def take_back(self, flight: Flight) -> None:
        """Take a job back that is to be submitted (again); it goes first."""
        self._taken_back.add(flight.job)  # the ledger shows it as pending too: it must not be read a second time
        self._waiting.appendleft(flight)
        self.wake()

    def withdraw(self, job: int) -> None:
        """Let go of a job for good: it is not to be submitted."""
        self._taken_back.add(job)  # so that it is not read from the ledger
        if (found := self._offered.pop(job, None)) is not None:
            self._lane.withdraw(found[1])
            self._spend.give_back(job, accepted=False)
        self._waiting = deque(flight for flight in self._waiting if flight.job != job)
        self.wake()

    @property
    def offered(self) -> int:
        """How many jobs wait for their turn in the lane; their price is reserved."""
        return len(self._offered)

    @property
    def reason(self) -> str:
        """Why nothing is submitted now; empty if nothing but the pace and the cap decides."""
        if self._in_flight.falls_behind():
            age_min = self._in_flight.oldest_age_s / 60
            return f"the oldest request is {age_min:.0f} min old and its record expires: harvest first"
        held_back = self._comes_first() or self._credit.reason or self.refusal
        return held_back or (self._backpressure.reason(len(self._in_flight)) if self._waiting else "")

    @property
    def refusal(self) -> str:
        """Why the next job may not be paid for now; empty if it may, or if none is at hand."""
        return self._spend.refusal(self._waiting[0].model) if self._waiting else ""

    @property
    def next_price_usd(self) -> float | None:
        """What the next job costs; None if nobody knows."""
        return self._spend.price_usd(self._waiting[0].model if self._waiting else "")

    @property
    def next_models(self) -> list[str]:
        """The model of the next job; empty if none is at hand."""
        return [self._waiting[0].model] if self._waiting else [flight.model for flight, _ in self._offered.values()][:1]

    # --- offering ---------------------------------------------------------------------------------

    @property
    def _must_wait(self) -> bool:
        return bool(self._closed or self._comes_first() or self._credit.reason or self._in_flight.falls_behind())

    def _withdraw_surplus(self) -> None:
        """Take offers back that may not go out any more: the run was paused, or given fewer places, since."""
        stay = 0 if self._must_wait else self._backpressure.bound - len(self._in_flight) - self._elsewhere()
        while len(self._offered) > max(stay, 0):
            _, (flight, offer) = self._offered.popitem()  # the last offered first, so that their order stays
            self._lane.withdraw(offer)
            self._spend.give_back(flight.job, accepted=False)
            self._waiting.appendleft(flight)

    def _has_room(self) -> bool:
        if self._must_wait:
            return False
        under_way = len(self._in_flight) + len(self._offered)
        if self._credit.probing and (self._offered or self._in_flight.unanswered):
            return False
        canary_room = self._canary.room(under_way + self._others_under_way())
        room = self._backpressure.bound - under_way - self._elsewhere()
        return room > 0 and len(self._offered) < BLOCK_JOBS and (canary_room is None or canary_room > 0)

    async def _next(self) -> Flight | None:
        while not self._waiting:
            if self._pending() <= len(self._offered):
                return None  # the ledger would look at every job of the other providers to say the same
            block = await self._ledger.read(pending_after, self._read_up_to, BLOCK_JOBS, provider=self._provider)
            if not block:
                return None
            self._read_up_to = block[-1].job
            self._waiting.extend(flight for flight in block if flight.job not in self._taken_back)
        return self._waiting.popleft()

    def _offer(self, flight: Flight) -> None:
        flight.price_usd = self._spend.price_usd(flight.model)
        self._spend.reserve(flight.job, flight.price_usd)
        offer = self._lane.offer(Urgency.SUBMIT, partial(self._take_off, flight))
        self._offered[flight.job] = (flight, offer)
        self._expect(flight)

    async def _take_off(self, flight: Flight, permit: Permit) -> None:
        if self._offered.pop(flight.job, None) is None:
            return  # taken back in the very turn in which it was chosen; it is still PENDING
        await self._start(flight, permit)
