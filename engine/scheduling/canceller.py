"""Ask the provider to cancel a request, and record what came of it: one step of a job's life, made like the others.

It comes right after a look that found the request still working, because a provider that cancels by deleting would
delete a result that is paid for. That the provider is asked is on disk before it is asked. Knows nothing of when steps
are made, or of who wanted it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from engine.backoff import backoff_s
from engine.ledger.cancel_book import CancelBook, cancelled
from engine.provider.protocol import CancellingProvider, Request
from engine.provider.verdict import (
    CancelAsked,
    Cancelled,
    CancelRefused,
    NotFound,
    Throttled,
    Unauthorized,
    Unavailable,
    WrongContract,
)
from engine.scheduling.steps import AskAgain, AtRest, CancelUnderWay, NotCancelled, SlowDown, Unreachable

if TYPE_CHECKING:
    import random

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.provider.protocol import Provider
    from engine.scheduling.steps import CancelStep

TRIES_MAX = 5
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0


class Canceller:
    """Makes the step that cancels.

    Args:
        provider: whoever may be able to cancel.
    """

    def __init__(self, ledger: Ledger, provider: Provider, *, clock: Clock, rng: random.Random) -> None:
        self._ledger = ledger
        self._book = CancelBook(ledger)
        self._provider = provider if isinstance(provider, CancellingProvider) else None
        self._clock = clock
        self._rng = rng
        self._tries: dict[int, int] = {}

    def can_cancel(self, model: str) -> bool:
        """Whether requests of a model can be cancelled."""
        return self._provider is not None and self._provider.can_cancel(model)

    async def cancel(self, flight: Flight, seen: str) -> CancelStep:
        """Ask for a request to be cancelled that was just ``seen`` working, by this word of the provider's."""
        assert self._provider is not None
        await self._book.sent(flight.job, utc=self._clock.utc())
        sent_before, flight.cancel_sent = flight.cancel_sent, True
        request = Request(flight.request_id, flight.model, flight.addresses or {})
        verdict = await self._provider.cancel(request, seen=seen)
        match verdict:
            case Cancelled(paid):
                return await self._end(flight, paid=paid)
            case NotFound() if sent_before:
                return await self._end(flight, paid=True)
            case CancelAsked(paid):
                self._drop_wish(flight)
                flight.cancel_paid = paid
                return CancelUnderWay()
            case CancelRefused(reason) | NotFound(reason) | WrongContract(reason):
                return await self._refused(flight, reason)
            case Throttled(wait_s):
                flight.cancel_sent = sent_before
                return SlowDown(RETRY_FIRST_S if wait_s is None else wait_s)
            case Unavailable(reason, reached) if not reached:
                flight.cancel_sent = sent_before
                return Unreachable(reason)
            case Unavailable(reason) | Unauthorized(reason):  # a key that is refused is met by the next look
                return self._again(flight, reason)
            case _:
                assert_never(verdict)

    async def _end(self, flight: Flight, *, paid: bool) -> AtRest:
        self._drop_wish(flight)
        flight.error = cancelled("cancelled at the provider", paid=paid)
        return AtRest(succeeded=False, copies=await self._ledger.failed(flight.job, flight.attempts, flight.error))

    async def _refused(self, flight: Flight, reason: str) -> NotCancelled:
        self._drop_wish(flight)
        flight.cancel_sent = False
        await self._book.dropped(flight.job)
        return NotCancelled(reason)

    def _again(self, flight: Flight, reason: str) -> AskAgain | NotCancelled:
        """Look, and ask, again; after some tries only look: it may have been cancelled by any of them."""
        tries = self._tries[flight.job] = self._tries.get(flight.job, 0) + 1
        if tries >= TRIES_MAX:
            self._drop_wish(flight)
            return NotCancelled(reason)
        return AskAgain(backoff_s(tries, first_s=RETRY_FIRST_S, max_s=RETRY_MAX_S, rng=self._rng))

    def _drop_wish(self, flight: Flight) -> None:
        """Ask no more; a later wish to cancel the same job has all its tries."""
        flight.cancel_wanted = False
        self._tries.pop(flight.job, None)
