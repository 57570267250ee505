"""Download to this disk, then publish in the object store; what cannot go there yet waits here, whole.

A file grows, is verified and gets its name in the scratch directory exactly as on a disk that is its destination. From
there it is published, and only when the store shows it in its length is the scratch file removed. So a process that
is killed finds each file in one of three places: unfinished, whole in the scratch directory, or in the store; in the
last two nothing is downloaded again but what the ledger had not yet recorded. Knows nothing of jobs.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

import msgspec

from engine.job.records import StoredFile
from engine.media import data_uri
from engine.media.failures import DownloadError, StoreAwayError, storage_error
from engine.media.objects.publishing import publish
from engine.media.part import SUFFIX
from engine.media.verify import BadMediaError, Promise, inspect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.clock import Clock
    from engine.media.downloader import DownloadTask
    from engine.media.objects.store import ObjectStore

SHIPPED_MAX = 1_000
"""So many records are remembered: of a result with several files some may have gone when another has to wait."""
PAUSE_S = 5.0
"""A store that did not answer is left alone for so long, whatever arrives meanwhile."""


class Downloads(Protocol):
    """Turns a URL into a verified file in the scratch directory."""

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Return its record."""
        ...


class Shipper:
    """Brings files into an object store.

    Args:
        downloads: fetches into ``scratch``.
        store: where the files go, opened and probed.
        scratch: the directory that files wait in.
        clock: measures pauses.
        announce: tells the person that the store is away, and that it is back.
    """

    def __init__(
        self, downloads: Downloads, store: ObjectStore, *, scratch: Path, clock: Clock, announce: Callable[[str], None]
    ) -> None:
        self._downloads = downloads
        self._store = store
        self._scratch = scratch
        self._clock = clock
        self._announce = announce
        self._waiting: dict[str, StoredFile] = {}
        self._shipped: dict[str, StoredFile] = {}
        self._left_behind = _left_behind(scratch)
        self._ask_again_at = 0.0
        self._is_away = False
        # Two fetches of one name take turns; the entry lives as long as one of them does.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Download, verify and publish one file; its record names the object.

        Raises:
            DownloadError: the file cannot be had; ``unreachable`` also while the store is away.
            StorageError: this disk fails, or the store will not have the file (``StoreRefusedError``).
        """
        async with self._turns.setdefault(task.name, asyncio.Lock()):
            if task.name in self._shipped:
                return self._shipped[task.name]
            file = self._waiting.get(task.name) or await self._from_earlier(task) or await self._downloads.fetch(task)
            self._waiting[task.name] = file
            uri = await self._ship(task, file)
            del self._waiting[task.name]
            return self._note_shipped(task.name, msgspec.structs.replace(file, path=uri))

    def _note_shipped(self, name: str, record: StoredFile) -> StoredFile:
        if len(self._shipped) >= SHIPPED_MAX:
            self._shipped.pop(next(iter(self._shipped)))
        self._shipped[name] = record
        return record

    async def _from_earlier(self, task: DownloadTask) -> StoredFile | None:
        """Return the record of a file that an earlier process had downloaded and could not publish."""
        path = self._left_behind.pop(task.name, None)
        if path is None:
            return None
        return await asyncio.to_thread(_record_of, path, task)

    async def _ship(self, task: DownloadTask, file: StoredFile) -> str:
        if self._clock.now() < self._ask_again_at:
            raise DownloadError("unreachable", f"{self._store.url} does not answer")
        path = self._scratch / file.path.rpartition("/")[2]
        try:
            name = await publish(self._store, path, file, stem=task.name)
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except StoreAwayError as error:
            self._note_away(error)
            raise DownloadError("unreachable", str(error)) from error
        except OSError as error:
            raise storage_error(error, path) from error
        self._note_back()
        return self._store.url.uri(name)

    def _note_away(self, error: StoreAwayError) -> None:
        self._ask_again_at = self._clock.now() + PAUSE_S
        if not self._is_away:
            self._is_away = True
            self._announce(f"{error}: finished files wait in {self._scratch}, and go there once it answers")

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            self._announce(f"{self._store.url} answers again")


def _left_behind(scratch: Path) -> dict[str, Path]:
    """Return the whole files in the scratch directory, by their stems."""
    return {
        path.stem: path
        for path in scratch.iterdir()
        if path.suffix != SUFFIX and not path.is_symlink() and path.is_file()
    }


def _record_of(path: Path, task: DownloadTask) -> StoredFile | None:
    """Return the record of a file that has its name because it was verified; None if it is not whole any more."""
    try:
        facts = inspect(path, Promise(provider_type=task.content_type))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except (BadMediaError, OSError):
        return None
    if task.bytes_expected and size != task.bytes_expected:
        return None
    checks = ("length", *facts.checks) if task.bytes_expected else facts.checks
    return StoredFile(
        path=path.name,
        url=data_uri.header(task.url) if data_uri.is_data_uri(task.url) else task.url,
        bytes=size,
        sha256=digest,
        content_type=facts.content_type,
        checks=checks,
    )
