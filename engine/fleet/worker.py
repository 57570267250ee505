"""What runs on a node: the local downloader, unchanged. Knows nothing of Ray, of jobs, of keys."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine import __version__
from engine.clock import SystemClock
from engine.disk.durable import sync_file
from engine.errors import StorageError
from engine.fleet.messages import Broken, Failed, Measured, Stored
from engine.media.downloader import Downloader, DownloadTask
from engine.media.failures import DownloadError
from engine.media.part import SUFFIX

if TYPE_CHECKING:
    from engine.fleet.messages import Fetch, Open, Outcome

BLOCK_BYTES = 1024 * 1024


class Worker:
    """Downloads files on whatever machine it was put on."""

    def __init__(self, order: Open) -> None:
        self._order = order
        self._media = Path(order.media_dir)
        self._downloader = Downloader(
            media_dir=self._media,
            path_prefix=order.path_prefix,
            allow_private_hosts=order.allow_private_hosts,
            bytes_max=order.bytes_max,
            reserve_bytes=order.reserve_bytes,
            clock=SystemClock(),
            rng=random.Random(),  # noqa: S311 (spreads retries; guards nothing)
            # A worker that was given up may still be writing when the same file is fetched elsewhere.
            part_suffix=f".{os.urandom(4).hex()}{SUFFIX}",
        )

    async def look(self) -> tuple[str, bool]:
        """Return our version, and whether this machine sees the storage that the coordinator means; comes first."""
        try:
            found = (self._media / self._order.marker).read_text(encoding="ascii")
        except (OSError, ValueError):
            return __version__, False
        if found != self._order.marker_text:
            return __version__, False
        await self._downloader.__aenter__()
        return __version__, True

    async def fetch(self, order: Fetch) -> Outcome:
        """Download one file; whatever goes wrong is the answer."""
        task = DownloadTask(order.url, order.name, order.bytes_expected, order.content_type)
        try:
            return Stored(id=order.id, file=await self._downloader.fetch(task))
        except DownloadError as error:
            return Failed(
                id=order.id,
                kind=error.kind,
                message=error.message,
                http_status=error.http_status,
                first_bytes=error.first_bytes,
            )
        except StorageError as error:
            return Broken(id=order.id, reason=str(error), disk=True)

    async def measure(self, worker: str, length_bytes: int) -> Measured:
        """Time a durable write and a read on the storage; the read may come from this machine's memory."""
        clock, block = SystemClock(), os.urandom(BLOCK_BYTES)
        try:
            with tempfile.TemporaryFile(prefix="engine-fleet-", suffix=SUFFIX, dir=self._media) as file:
                began_at = clock.now()
                for _ in range(length_bytes // BLOCK_BYTES):
                    file.write(block)
                file.flush()
                sync_file(file.fileno())
                written_at = clock.now()
                file.seek(0)
                while file.read(BLOCK_BYTES):
                    pass
                read_at = clock.now()
        except (OSError, StorageError) as error:
            return Measured(worker=worker, error=str(error))
        return Measured(
            worker=worker,
            write_bytes_per_s=length_bytes / max(written_at - began_at, 1e-6),
            read_bytes_per_s=length_bytes / max(read_at - written_at, 1e-6),
        )
