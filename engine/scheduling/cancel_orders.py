"""Bring the wish to cancel a job to where the job is: waiting, on its way to the provider, there, or nowhere known.

What waits is taken from the feeder and ends here. What the provider has is asked about at once, and cancelled after
that look, so that no two steps of one job run at the same time. Knows nothing of how a request is cancelled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.job.flight import Flight
from engine.job.states import State
from engine.ledger.cancel_book import CancelBook
from engine.scheduling.steps import AtRest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from engine.ledger.cancel_book import Place
    from engine.ledger.ledger import Ledger
    from engine.scheduling.canceller import Canceller
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.landing import Landing
    from engine.scheduling.tally import Tally

CANNOT = "the provider offers no cancelling"


class CancelOrders:
    """Carries out wishes to cancel.

    Args:
        unknown: finds the flight of a job whose submission has an unknown outcome.
        withdraw: takes a job that waits from whoever would submit it.
        hasten: has a request asked about at once.
        announce: tells the person something worth a line.
        on_change: called after a job that waited was ended: there may be nothing left to do.
        is_ours: whether jobs of a model are this scheduler's business.
    """

    def __init__(
        self,
        ledger: Ledger,
        canceller: Canceller,
        in_flight: InFlight,
        landing: Landing,
        *,
        tally: Tally,
        log: FilteringBoundLogger,
        unknown: Callable[[int], Flight | None],
        withdraw: Callable[[int], None],
        hasten: Callable[[Flight], None],
        announce: Callable[[str], None],
        on_change: Callable[[], None],
        is_ours: Callable[[str], bool],
    ) -> None:
        self._book = CancelBook(ledger)
        self._canceller = canceller
        self._in_flight = in_flight
        self._landing = landing
        self._tally = tally
        self._log = log
        self._unknown = unknown
        self._withdraw = withdraw
        self._hasten = hasten
        self._announce = announce
        self._on_change = on_change
        self._is_ours = is_ours
        self._never_submit: set[int] = set()
        self._to_end: asyncio.Queue[Flight] = asyncio.Queue()
        self._copies: set[int] = set()

    # --- orders -----------------------------------------------------------------------------------

    async def take_up(self, running: Iterable[Flight], unknown: Iterable[Flight]) -> None:
        """Take up the wishes that earlier processes left, for what the provider has, may have, and has not."""
        wishes = {place.job: place for place in await self._book.wishes() if self._is_ours(place.model)}
        for flight in running:
            if (place := wishes.pop(flight.job, None)) is not None:
                flight.cancel_sent = place.sent
                await self._ask_flight(flight)
        for flight in unknown:
            if (place := wishes.pop(flight.job, None)) is not None:
                flight.cancel_wanted, flight.cancel_sent = True, place.sent
        for place in wishes.values():
            self._end_waiting(place)

    async def ask(self, place: Place) -> None:
        """Cancel one job that is not at rest, wherever it is by now."""
        assert place.job is not None
        flight = self._in_flight.find(place.job)
        if flight is not None:
            await self._ask_flight(flight)
        elif (lost := self._unknown(place.job)) is not None:
            lost.cancel_wanted = True
            self._announce(
                f"{place.id}: its outcome is unknown; it is cancelled if it is found, and never submitted again"
            )
        elif place.state in {State.PENDING, State.SUBMITTING}:
            self._end_waiting(place)
        elif place.state == State.HELD:
            self._announce(f"{place.id} is set aside; it is cancelled once another process goes on with it")

    def accepted(self, flight: Flight) -> None:
        """Take note that the provider has a job, which may be one that is to be cancelled."""
        if flight.cancel_wanted and not self._canceller.can_cancel(flight.model):
            flight.cancel_wanted = False
            self.say_not_cancelled(flight, CANNOT)

    def ask_all(self) -> None:
        """Cancel everything that is in flight and can be."""
        asked = left = 0
        for flight in list(self._in_flight.all):
            if _is_finished(flight):
                continue
            if self._canceller.can_cancel(flight.model):
                self._want(flight)
                asked += 1
            else:
                left += 1
        self._log.info("cancelling", requests=asked, left=left)
        if left:
            self._announce(f"{CANNOT}: {left} requests go on, and their results, which are paid for, are brought home")

    @property
    def can_cancel_any(self) -> bool:
        """Whether anything that is in flight can be cancelled."""
        return any(
            not _is_finished(flight) and self._canceller.can_cancel(flight.model) for flight in self._in_flight.all
        )

    async def not_cancelled(self, flight: Flight, reason: str) -> None:
        """Take note of a request that goes on although it was to be cancelled."""
        self.say_not_cancelled(flight, reason)
        await self._book.dropped(flight.job)

    def say_not_cancelled(self, flight: Flight, reason: str) -> None:
        """Say that a request goes on, or has ended by itself, although it was to be cancelled."""
        self._log.warning("not_cancelled", id=flight.id, request_id=flight.request_id, reason=reason)
        self._announce(f"{flight.id} is not cancelled ({reason}); its result is brought home")

    async def _ask_flight(self, flight: Flight) -> None:
        if _is_finished(flight):
            await self.not_cancelled(flight, "it has finished and is paid for")
        elif flight.request_id and not self._canceller.can_cancel(flight.model):
            await self.not_cancelled(flight, CANNOT)
        else:
            self._want(flight)

    def _want(self, flight: Flight) -> None:
        flight.cancel_wanted = True
        if flight.request_id:  # else it is being submitted: see ``accepted`` and ``takes``
            self._hasten(flight)

    # --- what waits -------------------------------------------------------------------------------

    def takes(self, flight: Flight) -> bool:
        """Whether a job that would wait to be submitted (again) is to be ended instead; it is, then."""
        if not flight.cancel_wanted and flight.job not in self._never_submit:
            return False
        self._to_end.put_nowait(flight)
        return True

    def _end_waiting(self, place: Place) -> None:
        assert place.job is not None
        self._never_submit.add(place.job)
        if place.is_copy:
            self._copies.add(place.job)
        self._withdraw(place.job)
        self._to_end.put_nowait(Flight(place.job, place.id, place.model, place.attempts))

    async def run(self) -> None:
        """End what waits, one after the other, until cancelled."""
        while True:
            flight = await self._to_end.get()
            ended = await self._book.end_waiting(flight.job)
            if ended is None:  # it was ended already, or is on its way, and comes back here if it is not accepted
                continue
            flight.error, copies = ended
            if flight.job not in self._copies:
                self._tally.pending -= 1
            self._landing.rest(flight, AtRest(succeeded=False, copies=copies))
            self._on_change()


def _is_finished(flight: Flight) -> bool:
    return flight.completed_utc > 0
