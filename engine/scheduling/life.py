"""The life of one job, step by step: submit, poll, fetch, download.

Each step asks the provider or the fetcher once, makes what came of it durable, and returns what it came to.
The order inside a step is the promise of the engine: the intent is on disk before the POST, the request id
before anything acts on it, the file before its state. Knows nothing of when steps are made, or of other jobs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engine.job.records import JobError
from engine.ledger.group_commit import RefusedChange
from engine.scheduling.canceller import Canceller
from engine.scheduling.collection import Collection
from engine.scheduling.inquiry import Inquiry
from engine.scheduling.steps import SetAside
from engine.scheduling.submission import Submission

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.input_files.stager import Stager
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.media.fetcher import Fetcher
    from engine.provider.history import History
    from engine.provider.protocol import Provider
    from engine.scheduling.steps import DownloadStep, FetchStep, LocateStep, PollStep, SubmitStep


class Life:
    """Makes the steps of any job's life.

    Args:
        fetcher: None if nothing is to be downloaded.
        history: the provider's record of requests; None if it has none.
        stager: gives a job's local files addresses that the provider can read.
        expects_media: says whether a model's result must name files.
        attempts_max: submissions a job may spend.
        job_deadline_s: age at which a request without an end is given up as unknown.
        record_life_s: how long the provider can be asked about a request, from its submission.
        output_life_s: how long the files of a result can be downloaded.
        history_again_s: how long to wait before the history is asked again about a request that still runs.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: Provider,
        fetcher: Fetcher | None,
        history: History | None,
        stager: Stager,
        *,
        clock: Clock,
        rng: random.Random,
        expects_media: Callable[[str], bool],
        attempts_max: int,
        job_deadline_s: float,
        record_life_s: float,
        output_life_s: float,
        history_again_s: float,
    ) -> None:
        self._ledger = ledger
        self._submission = Submission(
            ledger, provider, stager, clock=clock, rng=rng, expects_media=expects_media, attempts_max=attempts_max
        )
        self._inquiry = Inquiry(
            ledger,
            provider,
            history,
            clock=clock,
            rng=rng,
            expects_media=expects_media,
            job_deadline_s=job_deadline_s,
            record_life_s=record_life_s,
            history_again_s=history_again_s,
        )
        self._collection = Collection(
            ledger, provider, fetcher, history, clock=clock, rng=rng, output_life_s=output_life_s
        )
        self.canceller = Canceller(ledger, provider, clock=clock, rng=rng)

    async def submit(self, flight: Flight) -> SubmitStep:
        """Submit once; see ``Submission``."""
        return await self._submission.submit(flight)

    async def poll(self, flight: Flight) -> PollStep:
        """Ask once whether the request is finished; see ``Inquiry``."""
        return await self._inquiry.poll(flight)

    async def fetch(self, flight: Flight) -> FetchStep:
        """Read the result of a completed request and record it; see ``Inquiry``."""
        return await self._inquiry.fetch(flight)

    async def download(self, flight: Flight) -> DownloadStep:
        """Bring every file of a recorded result to disk; see ``Collection``."""
        return await self._collection.download(flight)

    async def locate(self, flight: Flight) -> LocateStep:
        """Ask the provider where the files of a result are now; see ``Collection``."""
        return await self._collection.locate(flight)

    async def hold(self, flight: Flight, reason: str) -> SetAside:
        """Set a job aside because a step of it broke in a way nobody foresaw."""
        flight.error = JobError(kind="internal", message=reason, retryable=True, paid=bool(flight.request_id))
        with contextlib.suppress(RefusedChange):  # its outcome was decided before the step broke
            await self._ledger.held(flight.job, flight.error)
        return SetAside()
