"""Record the result of a request that is completed: durable before its files are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.job.records import JobError
from engine.scheduling import outputs
from engine.scheduling.step_maker import StepMaker
from engine.scheduling.steps import Fetched, Finished

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.provider.verdict import Metrics, Result
    from engine.scheduling.steps import AtRest


class Recorder(StepMaker):
    """Records results.

    Args:
        expects_media: says whether a model's result must name files.
    """

    def __init__(
        self, ledger: Ledger, *, clock: Clock, rng: random.Random, expects_media: Callable[[str], bool]
    ) -> None:
        super().__init__(ledger, clock=clock, rng=rng)
        self._expects_media = expects_media

    def _finish(self, flight: Flight, metrics: Metrics) -> Finished:
        flight.completed_utc, flight.completed_at = self._clock.utc(), self._clock.now()
        return Finished(None if metrics.inference_s is None else metrics.inference_s + (metrics.queue_s or 0.0))

    async def _record(
        self, flight: Flight, result: Result, *, lag_s: float | None, end: Finished | None = None
    ) -> Fetched | AtRest:
        flight.failures = 0
        output, media = self._take_note(flight, result)
        await self._ledger.ready(flight, metrics=result.metrics, output=output, media=media, lag_s=lag_s)
        return await self._recorded(flight, result, Fetched(result.metrics.cost_usd, lag_s, end))

    def _take_note(self, flight: Flight, result: Result) -> tuple[Any, dict[str, Any]]:
        """Take note of a result; return its body and its media as they are recorded."""
        output, media = outputs.recorded(result)
        flight.cost_usd = result.metrics.cost_usd
        flight.media = None if outputs.came_inside(media) else media
        return output, media

    async def _recorded(self, flight: Flight, result: Result, step: Fetched) -> Fetched | AtRest:
        if not result.urls and self._expects_media(flight.model):
            error = JobError(kind="no_media", message="the result names no file; its body is kept as output", paid=True)
            return await self._fail(flight, flight.attempts, error)
        return step

    def _lag_s(self, flight: Flight, metrics: Metrics) -> float:
        """Return how long after its completion we learned of it: by the provider's figures, else half the last gap."""
        if metrics.inference_s is not None and metrics.queue_s is not None:
            lag_s = flight.completed_at - flight.submitted_at - metrics.inference_s - metrics.queue_s
        else:
            lag_s = (flight.completed_at - max(flight.last_working_at, flight.submitted_at)) / 2
        return round(max(0.0, lag_s), 3)
