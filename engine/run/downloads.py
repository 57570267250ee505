"""Where the files of one run go, and who fetches them: this machine, a fleet beside it, an object store behind it.

Knows nothing of jobs; the key stays with the providers' own parts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.disk.durable import make_directory
from engine.media.objects.shipper import Shipper
from engine.media.objects.store import open_store
from engine.media.part import sweep_parts

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.config import RunConfig
    from engine.fleet.fleet import Fleet
    from engine.media.fetcher import Fetcher
    from engine.media.objects.store import ObjectStore
    from engine.run.providers import RunProviders
    from engine.run.request import RunRequest


class RunDownloads:
    """What downloads for one run.

    Args:
        config: the whole configuration.
        media: the directory that files go to; the scratch of an object store.
        path_prefix: what stands before a file's name in its record.
    """

    def __init__(
        self,
        request: RunRequest,
        config: RunConfig,
        media: Path,
        *,
        path_prefix: str,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._request = request
        self._config = config
        self._media = media
        self._path_prefix = path_prefix
        self._clock = clock
        self._log = log
        self._fleet: Fleet | None = None

    async def open(self, providers: RunProviders, stack: AsyncExitStack) -> Fetcher | None:
        """Return what downloads, until ``stack`` is closed; None if nothing is to be downloaded.

        Raises:
            EngineError: the directory, or the object store, will not take the files.
        """
        if not self._config.downloads.enabled:
            return None
        await asyncio.to_thread(make_directory, self._media)
        await asyncio.to_thread(sweep_parts, self._media)
        # First of all: a store that will not have the files must be known before anything is paid for.
        store = await self._open_store()
        downloader = providers.downloader(self._media, path_prefix=self._path_prefix)
        downloads: Fetcher = await stack.enter_async_context(downloader)
        if self._request.fleet is not None:
            fleet = providers.fleet(
                self._request.fleet,
                downloads,
                self._media,
                path_prefix=self._path_prefix,
                log=self._log,
                announce=self._request.announce,
            )
            downloads = self._fleet = await stack.enter_async_context(fleet)
        if store is None:
            return downloads
        return Shipper(downloads, store, scratch=self._media, clock=self._clock, announce=self._tell_of_store)

    def places(self) -> int:
        """Return how many files are downloaded at the same time; that changes while nodes join and leave a fleet."""
        return self._config.downloads.concurrency if self._fleet is None else self._fleet.places

    @property
    def fleet_sentence(self) -> str:
        """How the fleet does, in a few words; empty if there is none."""
        return "" if self._fleet is None else self._fleet.sentence

    async def _open_store(self) -> ObjectStore | None:
        """Return the object store that media go to, tried out; None if they go to a directory."""
        url = self._config.storage.store
        if url is None:
            return None
        store = open_store(url, self._config.storage)
        await store.probe()
        return store

    def _tell_of_store(self, words: str) -> None:
        """Tell the person, and the log of the night, that the object store is away or back."""
        self._log.warning("store", said=words)
        self._request.announce(words)
