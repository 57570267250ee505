"""One try: ask a host for a file and pour what comes into the part.

Redirects are followed by hand, each hop judged before it is asked. A key, where one is needed, is shown to the origin
that was asked first and to no other: once a redirect has left it, nothing that follows sees the key. A body is measured
by its throughput, not by the gaps between its bytes, because one byte now and then defeats any limit on a gap. This is
the one border where errors of aiohttp become ``DownloadError``; whether another try follows is not decided here.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import aiohttp
from yarl import URL

from engine.media.answer_head import REDIRECTS, Append, FromStart, Head, Refused, decide, read_head
from engine.media.failures import DownloadError
from engine.media.part import PIECES_MAX
from engine.media.public_hosts import BlockedAddressError, redirect_refusal, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from engine.clock import Clock
    from engine.media.keyed import Keyed
    from engine.media.part import PartFile

UNAUTHORIZED = 401
_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a body ended.

    Attributes:
        total: the length of the whole file by the host's word.
        framed: the protocol marked the end (a length, or a last chunk).
        interrupted: what broke the body off, when no length could tell; None for an orderly end.
        head: what the host said of it.
    """

    total: int | None
    framed: bool
    interrupted: str | None
    head: Head


def patience_after(
    patience_s: float, *, waited_s: float, received: int, floor_bytes_per_s: float, max_s: float
) -> float:
    """Return how long the next wait may last: waiting spends patience, every byte earns some back."""
    return min(max_s, patience_s - waited_s + received / floor_bytes_per_s)


@dataclass(frozen=True, slots=True)
class Sessions:
    """What hosts are asked with.

    Attributes:
        public: for output hosts; it never shows a key.
        own: for the providers' own addresses, which are wherever the configuration says; None if none serves files.
    """

    public: aiohttp.ClientSession
    own: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        for session in (self.public, self.own):
            if session is not None:
                await session.close()


class Transfer:
    """Asks hosts, within named limits."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        clock: Clock,
        allow_private_hosts: bool,
        bytes_max: int,
        block_bytes: int,
        redirects_max: int,
        answer_s_max: float,
        stall_s: float,
        floor_bytes_per_s: float,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._allow_private_hosts = allow_private_hosts
        self._bytes_max = bytes_max
        self._block_bytes = block_bytes
        self._redirects_max = redirects_max
        self._answer_s_max = answer_s_max
        self._stall_s = stall_s
        self._floor_bytes_per_s = floor_bytes_per_s

    async def run(self, url: URL, part: PartFile, *, keyed: Keyed | None = None) -> Ended:
        """Bring the part forward; it then holds everything up to where the body ended.

        Args:
            url: where the file is.
            part: what it grows in.
            keyed: opens the addresses of the provider whose file it is, if it serves files itself.

        Raises:
            DownloadError: the try failed; the part keeps what is good and knows how to go on.
            StorageError: the disk refuses.
        """
        kept = part.kept
        headers = {"Range": f"bytes={kept.bytes}-", "If-Range": kept.validator or ""} if kept.resumable else {}
        opener = keyed if keyed is not None and keyed.covers(url) else None
        async with self._answer(url, headers, opener) as response:
            head = read_head(response.status, response.headers)
            verdict = decide(head, kept, asked_range=kept.resumable)
            match verdict:
                case Refused():
                    if verdict.forget:
                        part.forget()
                    raise DownloadError(verdict.kind, verdict.message, http_status=response.status)
                case FromStart():
                    await part.restart()
                    part.validator = head.validator
                case Append():
                    pass
                case _:
                    assert_never(verdict)
            part.total = verdict.total
            await self._require_fit(part)
            interrupted = await self._pour(response.content, part)
        return self._ended(part, head, interrupted)

    async def _require_fit(self, part: PartFile) -> None:
        if part.total is None:
            return
        if part.total > self._bytes_max:
            raise self._too_large(f"{part.total} bytes")
        await part.require_room(part.total - part.length)

    def _too_large(self, what: str) -> DownloadError:
        return DownloadError("too_large", f"the file has {what}, the cap is {self._bytes_max}")

    def _ended(self, part: PartFile, head: Head, interrupted: str | None) -> Ended:
        """Compare lengths; what is longer than it should be cannot be trusted from its first byte on."""
        total = part.total
        if total is not None and part.length > total:
            part.forget()
            raise DownloadError("unreachable", f"{part.length} bytes came where {total} were announced")
        if total is not None and part.length < total:
            raise DownloadError("unreachable", f"{part.length} of {total} bytes came: {interrupted or 'short body'}")
        framed = head.chunked or head.length is not None or head.range is not None
        return Ended(total, framed, interrupted, head)

    @asynccontextmanager
    async def _answer(
        self, url: URL, headers: dict[str, str], opener: Keyed | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Follow redirects to an answer and close it in the end."""
        if reason := refusal(url, allow_private_hosts=self._allow_private_hosts or opener is not None):
            raise DownloadError("blocked_address", reason)
        response = await self._ask(url, headers, opener)
        try:
            for _ in range(self._redirects_max):
                if response.status not in REDIRECTS:
                    break
                target = self._target(url, response)
                opener = opener if _is_same_origin(url, target) else None
                allowed = self._allow_private_hosts or opener is not None
                if reason := redirect_refusal(url, target, allow_private_hosts=allowed):
                    raise DownloadError("blocked_address", reason, http_status=response.status)
                response.close()
                url = target
                response = await self._ask(url, headers, opener)
            if response.status in REDIRECTS:
                raise DownloadError("unreachable", f"more than {self._redirects_max} redirects")
            if opener is not None and response.status == UNAUTHORIZED:
                raise DownloadError("unauthorized", "the provider refuses the key", http_status=response.status)
            yield response
        finally:
            # An answer read to its end has given its connection back already; any other must not be reused.
            response.close()

    def _target(self, url: URL, response: aiohttp.ClientResponse) -> URL:
        location = response.headers.get("Location", "")
        try:
            target = url.join(as_url(location)).with_fragment(None)
        except ValueError as error:
            raise DownloadError("unreachable", "the host redirects to nowhere", http_status=response.status) from error
        return target

    async def _ask(self, url: URL, headers: dict[str, str], opener: Keyed | None) -> aiohttp.ClientResponse:
        session = self._sessions.public
        if opener is not None:
            assert self._sessions.own is not None, "what opens an address comes with a session for it"
            session, headers = self._sessions.own, {**headers, **opener.headers}
        try:
            async with asyncio.timeout(self._answer_s_max):
                return await session.get(url, headers=headers, allow_redirects=False)
        except TimeoutError as error:
            raise DownloadError("unreachable", f"no answer within {self._answer_s_max:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise translated(error) from error

    async def _pour(self, body: aiohttp.StreamReader, part: PartFile) -> str | None:
        """Write the body to the part in blocks; return what broke it off, or None for an orderly end."""
        block = _Block(part, self._block_bytes)
        patience_s = self._stall_s
        interrupted: str | None = None
        while True:
            asked_s = self._clock.now()
            try:
                async with asyncio.timeout(patience_s):
                    piece = await body.readany()
            except _NETWORK_ERRORS as error:
                ours = isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError)
                interrupted = "too slow" if ours else translated(error).message
                break
            if not piece:
                break
            # Only waiting for the host counts: a slow disk of ours is not its fault.
            patience_s = patience_after(
                patience_s,
                waited_s=self._clock.now() - asked_s,
                received=len(piece),
                floor_bytes_per_s=self._floor_bytes_per_s,
                max_s=self._stall_s,
            )
            await block.add(piece)
            if part.length + block.filled > self._bytes_max:
                raise self._too_large("more bytes")
        await block.flush()
        return interrupted


class _Block:
    """Collects pieces for one large write; they go to disk as they came, without a copy in between."""

    def __init__(self, part: PartFile, block_bytes: int) -> None:
        self._part = part
        self._block_bytes = block_bytes
        self._pieces: list[bytes] = []
        self.filled = 0

    async def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.filled += len(piece)
        if self.filled >= self._block_bytes or len(self._pieces) >= PIECES_MAX:
            await self.flush()

    async def flush(self) -> None:
        pieces, self._pieces, self.filled = self._pieces, [], 0
        if pieces:
            await self._part.write(pieces)


def _is_same_origin(url: URL, target: URL) -> bool:
    return (url.scheme, url.raw_host, url.port) == (target.scheme, target.raw_host, target.port)


def as_url(text: str) -> URL:
    """Return a URL exactly as it was written where that is possible: a signature covers its spelling.

    Raises:
        ValueError: it is no URL.
    """
    if not text or any(letter <= " " or letter == "\x7f" for letter in text):
        raise ValueError("empty, or with blanks or control characters in it")
    return URL(text, encoded=text.isascii())


def translated(error: BaseException) -> DownloadError:
    """Say what aiohttp's error means; its own text may hold the whole signed URL and is not repeated."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, BlockedAddressError):
        return DownloadError("blocked_address", str(cause))
    if isinstance(error, ValueError):
        return DownloadError("blocked_address", "the URL is not one that can be asked")
    if isinstance(error, aiohttp.ClientPayloadError):
        return DownloadError("unreachable", "the body broke off")
    detail = getattr(cause, "strerror", None) or type(error).__name__
    return DownloadError("unreachable", f"the host cannot be reached or broke off ({detail})")
