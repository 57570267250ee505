"""A server on loopback that answers every request with the bytes it is told to, however wrong, and a provider."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import SystemClock
from engine.provider.description import load_description
from engine.provider.http_provider import HttpProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from engine.provider.description import ProviderDescription

    Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

KEY = "SG_00112233445566ff"


class RawServer:
    """Counts connections and keeps the head of each request; ``behave`` gets the connection behind it.

    With ``read_head`` off it behaves before it has read anything.
    """

    def __init__(self, behave: Behave, *, read_head: bool = True) -> None:
        self._behave = behave
        self._read_head = read_head
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._serving: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if self._read_head:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await self._behave(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def ended(self) -> None:
        """Wait until every connection has seen that its client is gone."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=5)


def answering(content: bytes) -> Behave:
    """Send these bytes, then close."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return behave


def reply_bytes(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with a TCP reset instead of an orderly end."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[RawServer]]]:
    async with AsyncExitStack() as stack:

        async def started(behave: Behave | bytes, *, read_head: bool = True, **options: Any) -> RawServer:
            server = RawServer(answering(behave) if isinstance(behave, bytes) else behave, read_head=read_head)
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, **options)
            server.port = listening.sockets[0].getsockname()[1]
            stack.push_async_callback(server.ended)
            stack.callback(listening.close)
            return server

        yield started


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[HttpProvider]]]:
    async with AsyncExitStack() as stack:

        async def opened(
            base_url: str, *, description: ProviderDescription | None = None, **settings: Any
        ) -> HttpProvider:
            usual: dict[str, Any] = {
                "connect_timeout_s": 0.5,
                "submit_timeout_s": 5.0,
                "request_timeout_s": 5.0,
                "reply_bytes_max": 100_000,
            }
            provider = HttpProvider(
                description or load_description("segmind"),
                base_url=base_url,
                api_key=KEY,
                clock=SystemClock(),
                **{**usual, **settings},
            )
            return await stack.enter_async_context(provider)

        yield opened
