"""Speak the provider's HTTP, and nothing but HTTP: one request, one reply or the reason there is none.

Submissions use a connection each: a POST on a kept-alive connection that the server just closed would be an
avoidable unknown. Reading requests keep their connections. Redirects are never followed, because the
library would carry the key to the other origin and repeat a POST on 307. The key is a header of these two
sessions alone; downloads have their own.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from engine.job.model_name import bare_model
from engine.loopback import LOOPBACK
from engine.provider.addresses import address, content_address, key_headers
from engine.provider.cancelling import cancel_verdict
from engine.provider.protocol import NotFound, Result, Unavailable, WrongContract
from engine.provider.reply import NoReply, Reply
from engine.provider.verdicts import balance_usd, fetch_verdict, poll_verdict, submit_verdict, upload_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import SimpleNamespace, TracebackType

    from aiohappyeyeballs import AddrInfoType
    from multidict import CIMultiDictProxy

    from engine.clock import Clock
    from engine.provider.description import ProviderDescription
    from engine.provider.protocol import CancelVerdict, FetchVerdict, PollVerdict, Request, SubmitVerdict, UploadVerdict

_NO_CANCEL_ADDRESS = WrongContract("no address of the provider's is known at which the request could be cancelled")
_NO_ADDRESS = WrongContract("no address of the provider's is known at which the request could be asked about")
_NEVER_ASKED = NotFound("the reply to its submission was its result; only the provider's history knows it now")
USER_AGENT = "media-batch-engine"
REDACTED = b"[key]"
UPLOAD_FLOOR_BYTES_PER_S = 50_000
"""An upload may take longer than other requests, by what its body needs at this pace."""
WHOLE_BODY_BYTES_MAX = 1024 * 1024
"""What aiohttp hands to the transport in one piece; it warns about more."""
_READ_BLOCK_BYTES = 65_536
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 6}
"""Seconds of silence before the first sign of life, seconds between two, signs unanswered before it is given up."""

_NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, asyncio.IncompleteReadError, ValueError)
"""What aiohttp raises where the network or the server failed: ValueError for some replies that are malformed."""


class _Exchange:
    """What is known of one request while it runs; the trace hook writes into it."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


async def _note_headers_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """Record, just before the first byte is handed to the transport, that the request counts as sent."""
    context.trace_request_ctx.sent = True


class HttpProvider:
    """A described provider over aiohttp; an async context manager that owns its connections."""

    def __init__(
        self,
        description: ProviderDescription,
        *,
        base_url: str,
        upload_url: str = "",
        api_key: str,
        clock: Clock,
        connect_timeout_s: float,
        submit_timeout_s: float,
        request_timeout_s: float,
        reply_bytes_max: int,
        submits_max: int = 64,
        reads_max: int = 64,
    ) -> None:
        self._description = description
        self._base_url = base_url.rstrip("/")
        self._upload_url = upload_url
        self._key = api_key.encode()
        self._headers = {
            **key_headers(description, api_key),
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._submit_headers = {
            **self._headers,
            "Content-Type": "application/json",
            **({"Accept": "*/*"} if description.submit.is_synchronous else {}),
        }
        self._clock = clock
        self._reply_bytes_max = reply_bytes_max
        self._submits_max = submits_max
        self._reads_max = reads_max
        reply_s_max = max(submit_timeout_s, description.submit.reply_s_max)
        status_s_max = request_timeout_s + description.status.wait_s
        self._submit_timeout = aiohttp.ClientTimeout(total=reply_s_max, sock_connect=connect_timeout_s)
        self._status_timeout = aiohttp.ClientTimeout(total=status_s_max, sock_connect=connect_timeout_s)
        self._read_timeout = aiohttp.ClientTimeout(total=request_timeout_s, sock_connect=connect_timeout_s)
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

    async def submit(self, model: str, params: dict[str, Any]) -> SubmitVerdict:
        """Submit one job; see ``Provider.submit``."""
        assert self._submits is not None
        rules, model = self._description.submit, bare_model(model)
        body = {rules.wrap: params} if rules.wrap else params
        reply = await self._request(
            self._submits,
            "POST",
            self._base_url + rules.path.format(model=model, id=""),
            timeout=self._submit_timeout,
            content=orjson.dumps({**body, rules.model_key: model} if rules.model_key else body),
        )
        return submit_verdict(reply, self._description, model=model, utc=self._clock.utc())

    async def poll(self, request: Request) -> PollVerdict:
        """Ask whether a request is finished; see ``Provider.poll``."""
        if self._description.submit.is_synchronous:
            return _NEVER_ASKED
        url = address(self._description, self._base_url, "status", request)
        if url is None:
            return _NO_ADDRESS
        reply = await self._get(url, self._status_timeout)
        verdict = poll_verdict(reply, self._description, utc=self._clock.utc())
        return self._with_content(verdict, request) if isinstance(verdict, Result) else verdict

    async def fetch(self, request: Request) -> FetchVerdict:
        """Read the result of a completed request; see ``Provider.fetch``."""
        if self._description.submit.is_synchronous:
            return _NEVER_ASKED
        url = address(self._description, self._base_url, "result", request)
        if url is None:
            return _NO_ADDRESS
        verdict = fetch_verdict(await self.get(url), self._description, utc=self._clock.utc())
        return self._with_content(verdict, request) if isinstance(verdict, Result) else verdict

    def _with_content(self, result: Result, request: Request) -> Result | WrongContract:
        """Name the file of a result where its address answers the file itself."""
        if not self._description.result.bytes:
            return result
        url = content_address(self._description, self._base_url, request)
        return _NO_ADDRESS if url is None else replace(result, urls=(url,))

    async def upload(self, data_uri: str) -> UploadVerdict:
        """Upload one file; see ``Uploader.upload``."""
        assert self._reads is not None
        content = orjson.dumps({self._description.upload.wrap: [data_uri]})
        timeout = aiohttp.ClientTimeout(
            total=(self._read_timeout.total or 0.0) + len(content) / UPLOAD_FLOOR_BYTES_PER_S,
            sock_connect=self._read_timeout.sock_connect,
        )
        reply = await self._request(self._reads, "POST", self._upload_url, timeout=timeout, content=content)
        return upload_verdict(reply, self._description, utc=self._clock.utc())

    def can_cancel(self, model: str) -> bool:  # noqa: ARG002 (a description holds for all of its models)
        """Whether the provider offers cancelling; see ``CancellingProvider``."""
        return self._description.cancel.is_offered

    async def cancel(self, request: Request, *, seen: str) -> CancelVerdict:
        """Ask for a request to be cancelled; see ``CancellingProvider.cancel``."""
        assert self._reads is not None
        rules = self._description.cancel
        url = address(self._description, self._base_url, "cancel", request)
        if url is None:
            return _NO_CANCEL_ADDRESS
        reply = await self._request(self._reads, rules.method, url, timeout=self._read_timeout)
        return cancel_verdict(reply, self._description, seen=seen, utc=self._clock.utc())

    async def credits_usd(self) -> float | Unavailable | None:
        """Return what the account holds, in US dollars, free of charge; None if the provider does not tell."""
        rules = self._description.credits
        if not rules.path:
            return None
        reply = await self.get(self._base_url + rules.path)
        if isinstance(reply, NoReply):
            return Unavailable(reply.reason, reached=reply.sent)
        amount = balance_usd(reply, self._description) if reply.status == 200 else None  # noqa: PLR2004
        return Unavailable(reply.error_text(self._description.errors)) if amount is None else amount

    async def get(self, url: str) -> Reply | NoReply:
        """Make one GET with the key; only for addresses of the provider's API."""
        return await self._get(url, self._read_timeout)

    async def _get(self, url: str, timeout: aiohttp.ClientTimeout) -> Reply | NoReply:  # noqa: ASYNC109 (aiohttp's own)
        assert self._reads is not None
        return await self._request(self._reads, "GET", url, timeout=timeout)

    def _session(self, connections_max: int, *, force_close: bool) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_headers_sent)
        host = URL(self._base_url).host
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections_max, force_close=force_close, socket_factory=_watched_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=host not in LOOPBACK,
            trace_configs=[trace],
            auto_decompress=True,
        )

    async def _request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's own kind of time-out, passed through)
        content: bytes | None = None,
    ) -> Reply | NoReply:
        """Make one exchange; every way in which the network can fail becomes a ``NoReply``."""
        exchange = _Exchange()
        headers = self._headers if content is None else self._submit_headers
        try:
            async with session.request(
                method,
                url,
                data=io.BytesIO(content) if content and len(content) > WHOLE_BODY_BYTES_MAX else content,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=exchange,
            ) as response:
                body = await self._read_capped(response)
                if body is None:
                    return NoReply(f"a reply of more than {self._reply_bytes_max} bytes", sent=True)
                # Some servers repeat the key that they refuse; what they say is kept in the ledger and the log.
                return Reply(response.status, self._redacted(response.headers), body.replace(self._key, REDACTED))
        except aiohttp.ClientConnectorCertificateError as error:
            return NoReply(f"the certificate of {error.host} was refused", sent=exchange.sent, bad_certificate=True)
        except _NETWORK_ERRORS as error:
            return NoReply(_reason(error), sent=exchange.sent)

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
