"""One request, and one reply or the reason why there is none: everything that is HTTP between us and a provider.

Submissions use a connection each: a POST on a kept-alive connection that the server just closed would be an avoidable
unknown. Reading requests keep their connections. Redirects are never followed, because the library would carry the key
to the other origin and repeat a POST on 307. The key is a header of these two sessions alone; downloads have their own.
Knows nothing of what a request or a reply means.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from typing import TYPE_CHECKING, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from engine.loopback import LOOPBACK
from engine.provider.reply import NoReply, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace, TracebackType

    from aiohappyeyeballs import AddrInfoType
    from multidict import CIMultiDictProxy

USER_AGENT = "media-batch-engine"
JSON = "application/json"
REDACTED = b"[key]"
WHOLE_BODY_BYTES_MAX = 1024 * 1024
"""What aiohttp hands to the transport in one piece; it warns about more."""
_READ_BLOCK_BYTES = 65_536
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 6}
"""Seconds of silence before the first sign of life, seconds between two, signs unanswered before it is given up."""
_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, asyncio.IncompleteReadError, ValueError)
"""What aiohttp raises where the network or the server failed: ValueError for some replies that are malformed."""


class _Trace:
    """What is known of one request while it runs; the trace hook writes into it."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


async def _note_headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """Record, just before the first byte is handed to the transport, that the request counts as sent."""
    context.trace_request_ctx.sent = True


class HttpExchange:
    """Makes requests to one API; an async context manager that owns the connections.

    Args:
        base_url: where the API is; a proxy is used unless that is this machine.
        api_key: what is taken out of every reply: some servers repeat the key that they refuse.
        key_headers: what shows the key.
        connect_timeout_s: how long a connection may take.
        reply_bytes_max: a longer reply is none.
        submits_max: submissions at once.
        reads_max: other requests at once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        key_headers: Mapping[str, str],
        connect_timeout_s: float,
        reply_bytes_max: int,
        submits_max: int,
        reads_max: int,
    ) -> None:
        self._host = URL(base_url).host
        self._key = api_key.encode()
        self._headers = {**key_headers, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._connect_timeout_s = connect_timeout_s
        self._reply_bytes_max = reply_bytes_max
        self._submits_max = submits_max
        self._reads_max = reads_max
        self._submits: aiohttp.ClientSession | None = None
        self._reads: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._submits = self._session(self._submits_max, force_close=True)
        self._reads = self._session(self._reads_max, force_close=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in (self._submits, self._reads):
            if session is not None:
                await session.close()
        self._submits = self._reads = None

    async def submit(self, url: str, content: bytes, *, within_s: float, accept: str = JSON) -> Reply | NoReply:
        """POST a JSON body over a connection of its own; ``within_s`` bounds it from the connection to the last byte.

        Args:
            url: where to; an address of the provider's API, because it is shown the key.
            content: the body.
            within_s: seconds.
            accept: the media types of replies that are of use.
        """
        assert self._submits is not None
        return await self._make(self._submits, "POST", url, within_s=within_s, content=content, accept=accept)

    async def read(self, method: str, url: str, *, within_s: float, content: bytes | None = None) -> Reply | NoReply:
        """Make a request that may be repeated, over a connection that is kept; otherwise as ``submit``."""
        assert self._reads is not None
        return await self._make(self._reads, method, url, within_s=within_s, content=content, accept=JSON)

    def _session(self, connections_max: int, *, force_close: bool) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_headers_sent)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections_max, force_close=force_close, socket_factory=_watched_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=self._host not in LOOPBACK,
            trace_configs=[trace],
            auto_decompress=True,
        )

    async def _make(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        *,
        within_s: float,
        content: bytes | None,
        accept: str,
    ) -> Reply | NoReply:
        """Make one exchange; every way in which the network can fail becomes a ``NoReply``."""
        trace = _Trace()
        headers = {**self._headers, "Accept": accept, **({} if content is None else {"Content-Type": JSON})}
        try:
            async with session.request(
                method,
                url,
                data=io.BytesIO(content) if content and len(content) > WHOLE_BODY_BYTES_MAX else content,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=within_s, sock_connect=self._connect_timeout_s),
                allow_redirects=False,
                trace_request_ctx=trace,
            ) as response:
                body = await self._read_capped(response)
                if body is None:
                    return NoReply(f"a reply of more than {self._reply_bytes_max} bytes", sent=True)
                # Some servers repeat the key that they refuse; what they say is kept in the ledger and the log.
                return Reply(response.status, self._redacted(response.headers), body.replace(self._key, REDACTED))
        except aiohttp.ClientConnectorCertificateError as error:
            return NoReply(f"the certificate of {error.host} was refused", sent=trace.sent, bad_certificate=True)
        except _NETWORK_ERRORS as error:
            return NoReply(_reason(error), sent=trace.sent)

    def _redacted(self, headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
        key = self._key.decode()
        if not any(key in value for value in headers.values()):
            return headers
        return CIMultiDict((name, value.replace(key, REDACTED.decode())) for name, value in headers.items())

    async def _read_capped(self, response: aiohttp.ClientResponse) -> bytes | None:
        """Read the body block by block, so that neither a huge nor a highly compressed one fills the memory."""
        blocks: list[bytes] = []
        size_bytes = 0
        async for block in response.content.iter_chunked(_READ_BLOCK_BYTES):
            size_bytes += len(block)
            if size_bytes > self._reply_bytes_max:
                return None
            blocks.append(block)
        return b"".join(blocks)


def _watched_socket(address: AddrInfoType) -> socket.socket:
    """Create a socket that notices a dead peer, and keeps the machines between us from forgetting a silent one.

    A reply may be minutes away. Without a sign of life in between, many networks drop the connection.
    """
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # the operating system may have others, or its own idea
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _reason(error: BaseException) -> str:
    """Describe a transport error by its class and its plain cause; never by ``repr``, which may hold the key."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    detail = (cause.strerror or "") if isinstance(cause, OSError) else ""
    if isinstance(error, TimeoutError):
        return "no answer in time" if not detail else f"no answer in time ({detail})"
    return f"{type(error).__name__}: {detail}" if detail else type(error).__name__
