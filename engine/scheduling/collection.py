"""Bring the files of a recorded result to disk; ask again where they are when their address is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import ExitCode
from engine.job.records import JobError
from engine.media.failures import DiskFullError, DownloadError, StoreRefusedError
from engine.provider.history import HistoryRow
from engine.provider.protocol import Result
from engine.scheduling import outputs
from engine.scheduling.step_maker import StepMaker, request_of, unauthorized
from engine.scheduling.steps import AskAgain, AtRest, StopRun
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
    from engine.scheduling.steps import DownloadStep

REFRESHES_MAX = 3


class Collection(StepMaker):
    """Collects files.

    Args:
        fetcher: None if nothing is to be downloaded.
        history: the provider's record of requests; None if it has none.
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
    ) -> None:
        super().__init__(ledger, clock=clock, rng=rng)
        self._provider = provider
        self._fetcher = fetcher
        self._history = history

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
        match error.kind:
            case "unreachable":
                return AskAgain(self._retry_in_s(flight))
            case "unauthorized":
                return StopRun(unauthorized(error.message))
            case "url_gone" if flight.failures < REFRESHES_MAX:
                return await self._refresh(flight, media)
            case "bad_media" if outputs.came_inside(media) and flight.failures < REFRESHES_MAX:
                # What came inside a reply cannot be asked for again; somebody may know where the file itself is.
                return await self._refresh(flight, media)
            case "url_gone":
                kind = "expired"
            case _:
                kind = error.kind
        message = f"{error.message}; it began with {error.first_bytes}" if error.first_bytes else error.message
        failure = JobError(kind=kind, message=message, http_status=error.http_status, paid=True)
        return await self._fail(flight, flight.attempts, failure)

    async def _refresh(self, flight: Flight, media: dict[str, Any]) -> DownloadStep:
        """Ask the provider where the files are now; a URL may expire before its record does."""
        delay_s = self._retry_in_s(flight)
        verdict = await self._provider.fetch(request_of(flight))
        if isinstance(verdict, Result) and verdict.urls:
            await self._relocated(flight, media, verdict.urls)
        elif self._history is not None:
            row = await self._history.row(flight.request_id)
            if isinstance(row, HistoryRow) and row.urls:
                await self._relocated(flight, media, row.urls)
        return AskAgain(delay_s)

    async def _relocated(self, flight: Flight, media: dict[str, Any], urls: tuple[str, ...]) -> None:
        flight.media = outputs.moved(media, urls)
        await self._ledger.relocated(flight.job, flight.attempts, flight.media)
