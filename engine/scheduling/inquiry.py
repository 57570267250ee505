"""Ask about a request that the provider has: is it finished, and what came of it? Nothing here costs money.

A request whose record is gone is looked up in the provider's history; only its own word makes an end of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from engine.ledger.cancel_book import cancelled
from engine.provider.history import HistoryRow
from engine.provider.verdict import (
    Completed,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    Result,
    Throttled,
    Unauthorized,
    Unavailable,
    Working,
    WrongContract,
)
from engine.scheduling.recording import Recorder
from engine.scheduling.step_maker import generation_failed, request_of
from engine.scheduling.steps import AskAgain, AtRest, Fetched, StillWorking

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.job.records import JobError
    from engine.ledger.ledger import Ledger
    from engine.provider.history import History
    from engine.provider.protocol import Provider
    from engine.scheduling.steps import FetchStep, PollStep

NOT_READY_S_MAX = 600.0
"""A result that is not served this long after its request was COMPLETED is a case for the history."""
YOUNG_404_MAX = 3
YOUNG_S = 60.0
"""A 404 on a request younger than this is the provider's own delay."""
QUEUE_WORDS = frozenset({"QUEUED", "IN_QUEUE", "PENDING", "STARTING"})
"""What providers call a request that has not begun; shown to people, and nothing is decided by it."""


class Inquiry(Recorder):
    """Asks about requests.

    Args:
        history: the provider's record of requests; None if it has none.
        job_deadline_s: age at which a request without an end is given up as unknown.
        record_life_s: how long the provider can be asked about a request, from its submission.
        history_again_s: how long to wait before the history is asked again about a request that still runs.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: Provider,
        history: History | None,
        *,
        clock: Clock,
        rng: random.Random,
        expects_media: Callable[[str], bool],
        job_deadline_s: float,
        record_life_s: float,
        history_again_s: float,
    ) -> None:
        super().__init__(ledger, clock=clock, rng=rng, expects_media=expects_media)
        self._provider = provider
        self._history = history
        self._job_deadline_s = job_deadline_s
        self._record_life_s = record_life_s
        self._history_again_s = history_again_s

    async def poll(self, flight: Flight) -> PollStep:
        """Ask once whether the request is finished; the history, if there is one, once the record must have expired."""
        if self._history is not None and self._age_s(flight) > self._record_life_s:
            return await self._ask_history(flight, "its record has expired")
        verdict = await self._provider.poll(request_of(flight))
        flight.polls += 1
        match verdict:
            case Working(status):
                flight.failures = 0
                flight.last_working_at = self._clock.now()
                working = StillWorking(queued=status.upper() in QUEUE_WORDS, word=status)
                return await self._unless_overdue(flight, working)
            case Completed(metrics):
                flight.failures = 0
                return self._finish(flight, metrics)
            case Result():
                flight.failures = 0
                end = self._finish(flight, verdict.metrics)
                return await self._record(flight, verdict, lag_s=self._lag_s(flight, verdict.metrics), end=end)
            case Failed(message, http_status):
                return await self._fail(flight, flight.attempts, _end_of(flight, message, http_status))
            case NotFound(message):
                return await self._not_found(flight, message)
            case Unavailable(reached=True):
                return await self._unless_overdue(flight, self._no_answer(flight, verdict))
            case Unavailable() | Throttled() | Unauthorized() | WrongContract():
                return self._no_answer(flight, verdict)
            case _:
                assert_never(verdict)

    async def _not_found(self, flight: Flight, message: str) -> PollStep:
        """Wait for a record that may only be late; otherwise the history knows what became of the request."""
        flight.unfound += 1
        young = self._age_s(flight) < YOUNG_S and not flight.cancel_sent
        if young and flight.unfound <= YOUNG_404_MAX:
            return AskAgain(self._retry_in_s(flight))
        return await self._ask_history(flight, message)

    async def _ask_history(self, flight: Flight, message: str) -> PollStep:
        """Rescue a request whose record is gone: only the history's own word makes an end of it."""
        row = None if self._history is None else await self._history.row(flight.request_id)
        if isinstance(row, HistoryRow):
            match row.state:
                case "completed" if row.urls or not self._expects_media(flight.model):
                    return await self._rescue(flight, row)
                case "failed":
                    return await self._fail(flight, flight.attempts, _end_of(flight, row.error, None))
                case "completed" | "running":  # a row lags; completed without a URL, it is not whole yet
                    flight.last_working_at = self._clock.now()
                    return await self._unless_overdue(flight, AskAgain(self._history_again_s))
        if isinstance(row, Unavailable) or (self._history and self._age_s(flight) <= self._record_life_s):
            return await self._unless_overdue(flight, AskAgain(self._history_again_s))
        if flight.cancel_sent:
            error = cancelled("cancelled: the provider was asked to, and no longer knows the request", paid=True)
            return await self._fail(flight, flight.attempts, error)
        return await self._set_unknown(flight, f"the provider no longer knows the request ({message})", 404)

    async def _rescue(self, flight: Flight, row: HistoryRow) -> Fetched | AtRest:
        """Take the result from the history: its record is gone, its files live longer."""
        flight.completed_utc, flight.completed_at = self._clock.utc(), self._clock.now()
        metrics = Metrics(cost_usd=row.cost_usd, inference_s=row.inference_s)
        return await self._record(flight, Result(row.raw, row.urls, None, None, metrics), lag_s=None)

    async def _unless_overdue(self, flight: Flight, step: PollStep) -> PollStep:
        """Give a request up as unknown once it is older than any job may take; never submit it again by itself."""
        if self._age_s(flight) < self._job_deadline_s:
            return step
        return await self._set_unknown(flight, f"no end after {self._job_deadline_s:.0f} s")

    async def fetch(self, flight: Flight) -> FetchStep:
        """Read the result of a completed request and record it."""
        verdict = await self._provider.fetch(request_of(flight))
        match verdict:
            case Result():
                return await self._record(flight, verdict, lag_s=self._lag_s(flight, verdict.metrics))
            case Failed(message, http_status):
                return await self._fail(flight, flight.attempts, _end_of(flight, message, http_status))
            case NotReady(reason) | NotFound(reason) | Unavailable(reason, True):
                flight.refused_at = flight.refused_at or self._clock.now()
                if self._clock.now() - flight.refused_at < NOT_READY_S_MAX:
                    return AskAgain(self._retry_in_s(flight))
                return await self._set_unknown(flight, f"completed, but its result is not served: {reason}")
            case Unavailable() | Throttled() | Unauthorized() | WrongContract():
                return self._no_answer(flight, verdict)
            case _:
                assert_never(verdict)


def _end_of(flight: Flight, message: str, http_status: int | None) -> JobError:
    """Return why a request failed by the provider's word: as it was asked to, if it was."""
    if flight.cancel_sent:
        words = f", which says: {message}" if message else ""
        return cancelled(f"cancelled at the provider{words}", paid=flight.cancel_paid)
    return generation_failed(message, http_status)
