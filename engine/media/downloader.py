"""Turn a URL into a verified file: try, judge, resume or start over, and only then give the file its name.

``fetch`` reads as its steps: own the part, fill it until the content is proved whole, place it. Which failure is
followed by another try is decided here; how one try goes is ``transfer``'s business, what the bytes are is
``verify``'s. Knows nothing of jobs: a failure carries a kind, and the caller decides what it means.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from engine.backoff import backoff_s
from engine.disk.durable import make_directory
from engine.job.records import StoredFile
from engine.media import data_uri
from engine.media.answer_head import Head, Refused
from engine.media.connections import open_session
from engine.media.failures import DownloadError, escaped, storage_error
from engine.media.judgement import Evidence, proved
from engine.media.names import is_safe_name
from engine.media.part import SUFFIX, PartFile, free_bytes
from engine.media.placing import place
from engine.media.transfer import Ended, Sessions, Transfer, as_url
from engine.media.verify import BadMediaError, FileContent, MediaFacts, Promise, inspect_content

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from engine.clock import Clock
    from engine.media.keyed import Keyed

MIB = 1024 * 1024

_SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,5})$", re.ASCII)
# Another try cannot change these.
_FINAL = frozenset({"url_gone", "too_large", "blocked_address", "unauthorized"})


@dataclass(frozen=True, slots=True)
class DownloadTask:
    """One output of one request.

    Attributes:
        url: where it is, or a ``data:`` URI that holds it.
        name: the stem of its file, from ``names.media_name``; the extension follows from the content.
        bytes_expected: the length by the provider's word, if it said one.
        content_type: the media type by the provider's word, if it said one.
        provider: whose file it is, by the run's name of it.
    """

    url: str
    name: str
    bytes_expected: int | None = None
    content_type: str | None = None
    provider: str = ""


@dataclass(slots=True)
class _Tries:
    """What one download has used up."""

    unreachable: int = 0
    bad_media: int = 0
    bytes_reached: int = 0
    seen: set[tuple[int, str]] = field(default_factory=set)


class Downloader:
    """Fetches files into one directory; any number at a time.

    Args:
        media_dir: where the files go; created if it is missing.
        path_prefix: what stands before a file's name in its record.
        allow_private_hosts: whether loopback and private addresses may be asked.
        bytes_max: the largest file that is accepted.
        reserve_bytes: what must stay free on the disk.
        clock: pauses and throughput are measured by it.
        rng: dice for the pauses.
        keyed: what opens a provider's own addresses, by the run's name of it, where they serve files.
        resolver: turns names into addresses; the machine's own by default.
        tries_max: failed tries before a host counts as unreachable; a try that moves the file on by
            ``progress_bytes`` begins the count anew.
        bad_media_tries_max: tries whose content was refused before the file counts as bad.
        progress_bytes: what counts as progress.
        redirects_max: hops to follow in one try.
        connect_s_max: for one address to accept a connection.
        answer_s_max: for the head of an answer to come.
        stall_s: how long throughput may stay below ``floor_bytes_per_s``.
        floor_bytes_per_s: the least throughput worth waiting for.
        fetch_s_max: for all tries of one file together.
        backoff_base_s: the limit of the first pause; doubles with each try.
        backoff_max_s: the limit of any pause.
        block_bytes: what is collected before it is written.
        threads_max: threads that write, read and sync.
        part_suffix: what a file is called while it grows; another for each process that writes into the directory.
        free: tells what is free on the disk of a directory.
    """

    def __init__(
        self,
        *,
        media_dir: Path,
        path_prefix: str,
        allow_private_hosts: bool,
        bytes_max: int,
        reserve_bytes: int,
        clock: Clock,
        rng: random.Random,
        keyed: Mapping[str, Keyed] = MappingProxyType({}),
        resolver: aiohttp.abc.AbstractResolver | None = None,
        tries_max: int = 8,
        bad_media_tries_max: int = 5,
        progress_bytes: int = MIB,
        redirects_max: int = 5,
        connect_s_max: float = 20.0,
        answer_s_max: float = 60.0,
        stall_s: float = 60.0,
        floor_bytes_per_s: float = 1024.0,
        fetch_s_max: float = 6 * 3600.0,
        backoff_base_s: float = 1.0,
        backoff_max_s: float = 60.0,
        block_bytes: int = MIB,
        threads_max: int = 4,
        part_suffix: str = SUFFIX,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._media_dir = media_dir
        self._path_prefix = path_prefix
        self._bytes_max = bytes_max
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._rng = rng
        self._tries_max = tries_max
        self._bad_media_tries_max = bad_media_tries_max
        self._progress_bytes = progress_bytes
        self._fetch_s_max = fetch_s_max
        self._backoff_base_s = backoff_base_s
        self._backoff_max_s = backoff_max_s
        self._threads_max = threads_max
        self._part_suffix = part_suffix
        self._free = free
        self._keyed = keyed
        self._allow_private_hosts = allow_private_hosts
        self._open_session = partial(open_session, resolver=resolver, connect_s_max=connect_s_max)
        self._open_transfer = partial(
            Transfer,
            clock=clock,
            allow_private_hosts=allow_private_hosts,
            bytes_max=bytes_max,
            block_bytes=block_bytes,
            redirects_max=redirects_max,
            answer_s_max=answer_s_max,
            stall_s=stall_s,
            floor_bytes_per_s=floor_bytes_per_s,
        )
        # Two fetches of one name take turns; the entry lives as long as one of them does.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        try:
            make_directory(self._media_dir)
        except OSError as error:
            raise storage_error(error, self._media_dir) from error
        # Threads of our own: name look-ups of a slow resolver fill the loop's default ones.
        self._executor = ThreadPoolExecutor(self._threads_max, thread_name_prefix="media")
        self._sessions = Sessions(
            self._open_session(allow_private_hosts=self._allow_private_hosts),
            # Where the API is was configured, not found in anybody's text: it may be on this network.
            self._open_session(allow_private_hosts=True) if self._keyed else None,
        )
        self._transfer = self._open_transfer(sessions=self._sessions)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sessions.close()
        self._executor.shutdown(wait=False)

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Return the record of the stored and verified file.

        Cancelled, it leaves nothing but what was whole already; killed, at most a ``.part``.

        Raises:
            DownloadError: the file cannot be had; its ``kind`` says why.
            StorageError: the disk refuses; ``DiskFullError`` if it is full.
        """
        if not is_safe_name(task.name):
            raise ValueError(f"{task.name!r} is no safe file name")
        async with self._turns.setdefault(task.name, asyncio.Lock()):
            part = await PartFile.open(
                self._media_dir / (task.name + self._part_suffix),
                reserve_bytes=self._reserve_bytes,
                executor=self._executor,
                free=self._free,
            )
            remove = True
            try:
                facts, checks = await self._fill(task, part)
                name = await part.in_thread(
                    partial(place, part.path, part.fd, stem=task.name, extension=facts.extension, sha256=part.sha256)
                )
                # The name is another's now, or gone.
                remove = False
            finally:
                await part.close(remove=remove)
        return StoredFile(
            path=f"{self._path_prefix}/{name}" if self._path_prefix else name,
            url=data_uri.header(task.url) if data_uri.is_data_uri(task.url) else task.url,
            bytes=part.length,
            sha256=part.sha256,
            content_type=facts.content_type,
            checks=checks,
        )

    async def _fill(self, task: DownloadTask, part: PartFile) -> tuple[MediaFacts, tuple[str, ...]]:
        """Try until the part is proved whole."""
        if data_uri.is_spent(task.url):
            raise DownloadError("url_gone", "the file came with the result, which is no longer kept")
        if data_uri.is_data_uri(task.url):
            return await self._judge(task, part, await self._pour_data_uri(task.url, part), _Tries())
        try:
            url = as_url(task.url)
        except ValueError as error:
            raise DownloadError("blocked_address", "the URL is not one that can be asked") from error
        tries, keyed = _Tries(), self._keyed.get(task.provider)
        try:
            async with asyncio.timeout(self._fetch_s_max):
                while True:
                    try:
                        return await self._judge(task, part, await self._transfer.run(url, part, keyed=keyed), tries)
                    except DownloadError as error:
                        await self._pause(error, part, tries)
        except TimeoutError as error:
            raise DownloadError("unreachable", f"not complete within {self._fetch_s_max:g} s") from error

    async def _pause(self, error: DownloadError, part: PartFile, tries: _Tries) -> None:
        """Wait before another try, or raise ``error`` again when there is none left."""
        if error.kind in _FINAL:
            raise error
        if error.kind == "bad_media":
            tries.bad_media += 1
        else:
            if part.length >= tries.bytes_reached + self._progress_bytes:
                tries.bytes_reached, tries.unreachable = part.length, 0
            tries.unreachable += 1
        if tries.bad_media >= self._bad_media_tries_max or tries.unreachable >= self._tries_max:
            raise error
        count = tries.bad_media + tries.unreachable
        await self._clock.sleep(
            backoff_s(count, first_s=self._backoff_base_s, max_s=self._backoff_max_s, rng=self._rng)
        )

    async def _judge(
        self, task: DownloadTask, part: PartFile, ended: Ended, tries: _Tries
    ) -> tuple[MediaFacts, tuple[str, ...]]:
        """Return what the part is and what has been checked, or raise what is wrong with it."""
        bytes_and_hash = (part.length, part.sha256)
        repeated = bytes_and_hash in tries.seen
        tries.seen.add(bytes_and_hash)
        head = ended.head
        suffix = None if data_uri.is_data_uri(task.url) else _SUFFIX.search(task.url.partition("?")[0])
        promise = Promise(
            provider_type=task.content_type,
            server_type=head.content_type,
            url_suffix=suffix[1].lower() if suffix else "",
            encoded=head.encoded,
        )

        def look() -> tuple[MediaFacts | BadMediaError, bytes]:
            content = FileContent(part.fd)
            first = content.read(256, 0)
            try:
                return inspect_content(content, promise), first
            except BadMediaError as error:
                return error, first

        found, first = await part.in_thread(look)
        evidence = Evidence(
            bytes=part.length,
            bytes_expected=task.bytes_expected or None,
            total=ended.total,
            framed=ended.framed,
            interrupted=ended.interrupted,
            repeated=repeated,
        )
        verdict = proved(found, evidence)
        if isinstance(verdict, Refused):
            if verdict.forget:
                part.forget()
            raise DownloadError(verdict.kind, verdict.message, first_bytes=self._shown(task, first))
        assert not isinstance(found, BadMediaError), "what is bad is never proved"
        return found, verdict

    def _shown(self, task: DownloadTask, first: bytes) -> str:
        text, keyed = escaped(first), self._keyed.get(task.provider)
        return text if keyed is None else keyed.without_key(text)

    async def _pour_data_uri(self, url: str, part: PartFile) -> Ended:
        if data_uri.bytes_upper_bound(url) > self._bytes_max + 3:
            raise DownloadError("too_large", f"the data URI holds more than {self._bytes_max} bytes")
        try:
            content_type, content = await part.in_thread(partial(data_uri.decode, url))
        except BadMediaError as error:
            raise DownloadError("bad_media", error.reason, first_bytes=escaped(url[:256].encode())) from error
        await part.write([content])
        return Ended(len(content), True, None, Head(status=200, content_type=content_type))
