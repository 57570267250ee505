"""The fleet first, this machine if it must be: whatever happens to a fleet costs time, never a job.

What a worker says of the file itself is the answer. Anything else that goes wrong there, and any silence beyond the
deadline, is no reason to give up: the file is fetched here, as without a fleet. Knows nothing of workers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.fleet.remote import FleetError
from engine.media import data_uri
from engine.media.failures import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from engine.job.records import StoredFile
    from engine.media.downloader import DownloadTask
    from engine.media.fetcher import Fetcher

OF_THE_FILE = frozenset({"url_gone", "bad_media", "too_large", "blocked_address"})
"""Kinds of failure that this machine would find as well; ``unreachable`` may be the node's own network."""


class Fallback:
    """Fetches with a fleet, and without one.

    Args:
        remote: the fleet.
        local: this machine.
        deadline_s: how long the fleet may take for one file, waiting for a place included.
        places: how many files this machine fetches at the same time.
        needs_key: whether a file is served to whoever shows a key: the fleet has none.

    Attributes:
        fetched_here: files that this machine fetched.
        fetched_there: files that the fleet fetched.
    """

    def __init__(
        self,
        remote: Fetcher,
        local: Fetcher,
        *,
        deadline_s: float,
        places: int,
        needs_key: Callable[[DownloadTask], bool],
        log: FilteringBoundLogger,
    ) -> None:
        self._remote = remote
        self._local = local
        self._deadline_s = deadline_s
        self._here = asyncio.Semaphore(places)
        self._needs_key = needs_key
        self._log = log
        self.fetched_here = self.fetched_there = 0

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Return the record of the stored and verified file.

        Raises:
            DownloadError: the file cannot be had.
            StorageError: the disk of this machine refuses.
        """
        if not (data_uri.is_data_uri(task.url) or self._needs_key(task)):
            try:
                async with asyncio.timeout(self._deadline_s):
                    file = await self._remote.fetch(task)
                self.fetched_there += 1
            except DownloadError as error:
                if error.kind in OF_THE_FILE:
                    raise
                self._note(task, error.message)
            except FleetError as error:
                self._note(task, str(error))
            except TimeoutError:
                self._note(task, f"no answer within {self._deadline_s:.0f} s")
            else:
                return file
        async with self._here:
            file = await self._local.fetch(task)
        self.fetched_here += 1
        return file

    def _note(self, task: DownloadTask, reason: str) -> None:
        self._log.info("fetched_here_instead", name=task.name, reason=reason)
