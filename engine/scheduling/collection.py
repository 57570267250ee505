"""Bring the files of a recorded result to disk; ask where they are now when they are not where they were said to be.

What is paid for is given up on the provider's word alone: an address that is gone, and no fresh one that works after it
was asked for. Neither an outage nor a 429 counts as a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from engine.errors import ExitCode
from engine.job.records import JobError
from engine.media.failures import DiskFullError, DownloadError, StoreRefusedError
from engine.provider.history import HistoryRow
from engine.provider.verdict import (
    Failed,
    NotFound,
    NotReady,
    Result,
    Throttled,
    Unauthorized,
    Unavailable,
    WrongContract,
)
from engine.scheduling import outputs
from engine.scheduling.step_maker import StepMaker, request_of, unauthorized
from engine.scheduling.steps import AskAgain, AskWhere, AtRest, LeftReady, Located, StopRun
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import random

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.job.records import StoredFile
    from engine.ledger.ledger import Ledger
    from engine.media.fetcher import Fetcher
    from engine.provider.history import History
    from engine.provider.protocol import Provider
    from engine.scheduling.steps import DownloadStep, LocateStep

LOCATIONS_MAX = 3
"""Answers of the provider about where files are, after which there is no use in another."""


class Collection(StepMaker):
    """Collects files.

    Args:
        fetcher: None if nothing is to be downloaded.
        history: the provider's record of requests; None if it has none.
        output_life_s: how long the files of a result can be downloaded.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: Provider,
        fetcher: Fetcher | None,
        history: History | None,
        *,
        clock: Clock,
        rng: random.Random,
        output_life_s: float,
    ) -> None:
        super().__init__(ledger, clock=clock, rng=rng)
        self._provider = provider
        self._fetcher = fetcher
        self._history = history
        self._output_life_s = output_life_s

    async def download(self, flight: Flight) -> DownloadStep:
        """Bring every file of a recorded result to disk."""
        media = flight.media or await self._ledger.media_of(flight.job, flight.attempts)
        files: list[StoredFile] = []
        if self._fetcher is not None:
            try:
                files = [await self._fetcher.fetch(task) for task in outputs.download_tasks(flight, media)]
            except DownloadError as error:
                return await self._not_downloaded(flight, media, error)
            except DiskFullError as error:
                return StopRun(Stop("disk_full", str(error), ExitCode.STORAGE, Manner.HARVEST, error.hint))
            except StoreRefusedError as error:
                return StopRun(Stop("store_refused", str(error), ExitCode.STORAGE, Manner.HARVEST, error.hint))
        spent = outputs.spent(media) if files else None
        now = self._clock.utc()
        copies = await self._ledger.stored(flight.job, flight.attempts, files, utc=now, media=spent)
        return AtRest(succeeded=True, stored_bytes=sum(file.bytes for file in files), copies=copies)

    async def _not_downloaded(self, flight: Flight, media: dict[str, Any], error: DownloadError) -> DownloadStep:
        may_ask = flight.locations < LOCATIONS_MAX
        match error.kind:
            case "unreachable" if self._clock.now() - flight.completed_at < self._output_life_s:
                return AskAgain(self._retry_in_s(flight))
            case "unreachable":
                # Nobody says that the files are gone, so the job does not fail; but the run has to end some day.
                return AskWhere() if may_ask else LeftReady(error.message)
            case "unauthorized":
                return StopRun(unauthorized(error.message))
            case "url_gone" if may_ask:
                return AskWhere()
            case "bad_media" if outputs.came_inside(media) and may_ask:
                # What came inside a reply cannot be asked for again; somebody may know where the file itself is.
                return AskWhere()
            case "url_gone":
                kind = "expired"
            case _:
                kind = error.kind
        message = f"{error.message}; it began with {error.first_bytes}" if error.first_bytes else error.message
        failure = JobError(kind=kind, message=message, http_status=error.http_status, paid=True)
        return await self._fail(flight, flight.attempts, failure)

    async def locate(self, flight: Flight) -> LocateStep:
        """Ask the provider, then its history, where the files are now; a URL may expire before its record does."""
        verdict = await self._provider.fetch(request_of(flight))
        match verdict:
            case Result(urls=urls) if urls:
                return await self._located(flight, urls)
            case Result() | NotReady() | NotFound() | Failed():
                return await self._locate_in_history(flight)
            case Unavailable() | Throttled() | Unauthorized() | WrongContract():
                return self._no_answer(flight, verdict)
            case _:
                assert_never(verdict)

    async def _locate_in_history(self, flight: Flight) -> LocateStep:
        row = None if self._history is None else await self._history.row(flight.request_id)
        if isinstance(row, Unavailable):
            return AskAgain(self._retry_in_s(flight))
        return await self._located(flight, row.urls if isinstance(row, HistoryRow) else ())

    async def _located(self, flight: Flight, urls: tuple[str, ...]) -> Located:
        """Take note of an answer; without ``urls`` it says that the provider does not know."""
        flight.locations += 1
        flight.failures = 0
        if urls:
            media = flight.media or await self._ledger.media_of(flight.job, flight.attempts)
            flight.media = outputs.moved(media, urls)
            await self._ledger.relocated(flight.job, flight.attempts, flight.media)
        return Located(self._retry_in_s(flight))
