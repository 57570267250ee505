"""A host that misbehaves on demand, small media made in code, and downloaders whose pauses take no time."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys
import zlib
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import SystemClock
from engine.media.downloader import Downloader

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def riff(form: bytes, chunk: bytes, content: bytes) -> bytes:
    body = form + chunk + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wav() -> bytes:
    body = b"WAVEfmt " + struct.pack("<I", 16) + bytes(16) + b"data" + struct.pack("<I", 8) + bytes(8)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def mp4(media_bytes: int = 4000, brand: bytes = b"isom") -> bytes:
    media = random.Random(media_bytes).randbytes(media_bytes)
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"moov", box(b"mvhd", bytes(100))) + box(b"mdat", media)


def ogg(*, last: bool = True) -> bytes:
    return b"OggS\x00" + (b"\x04" if last else b"\x00") + bytes(20) + b"\x01\x05" + b"hello"


def small_media() -> dict[str, bytes]:
    """One whole file of each kind that can be verified, by the media type it must be found to be."""
    png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes(13)) + png_chunk(b"IDAT", bytes(50)) + png_chunk(b"IEND", b"")
    return {
        "video/mp4": mp4(),
        "video/quicktime": mp4(brand=b"qt  "),
        "audio/mp4": mp4(brand=b"M4A "),
        "image/avif": box(b"ftyp", b"avif" + bytes(4)) + box(b"meta", bytes(40)) + box(b"mdat", bytes(90)),
        "image/png": png,
        "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(60) + b"\xff\xd9",
        "image/gif": b"GIF89a" + bytes(30) + b";",
        "image/webp": riff(b"WEBP", b"VP8L", bytes(40)),
        "audio/wav": wav(),
        "video/x-msvideo": riff(b"AVI ", b"LIST", bytes(40)),
        "audio/mpeg": (b"\xff\xfb\x90\x00" + bytes(413)) * 3,
        "audio/ogg": ogg(),
        "video/webm": b"\x1aE\xdf\xa3\x87\x42\x82\x84webm" + b"\x18S\x80g\x85hello",
        "video/x-matroska": b"\x1aE\xdf\xa3\x8b\x42\x82\x88matroska" + b"\x18S\x80g\x85hello",
        "model/gltf-binary": b"glTF" + struct.pack("<II", 2, 20) + bytes(8),
        "image/svg+xml": b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
        "application/json": b'{"frames": [1, 2, 3]}',
    }


@dataclass
class Asked:
    """One request as it came in."""

    target: str
    headers: dict[str, str]
    text: str


Reply = Any  # Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes = b"",
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    length: int | None = -1,
    chunked: bool = False,
    reset: bool = False,
    hang: bool = False,
) -> Reply:
    """Say what a host does: which head, which bytes, and how it ends. ``length`` None leaves Content-Length out."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        lines = {"Connection": "close", **(headers or {})}
        if chunked:
            lines["Transfer-Encoding"] = "chunked"
        elif length is not None:
            lines["Content-Length"] = str(len(body) if length < 0 else length)
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        writer.write(head.encode() + (b"%x\r\n%b\r\n" % (len(body), body) if chunked and body else body))
        await writer.drain()
        if hang:
            await asyncio.sleep(30)
        if reset or (length is not None and length > len(body)):
            await asyncio.sleep(0.03)  # what was sent must have been read, else a reset takes it back
        elif chunked:
            writer.write(b"0\r\n\r\n")
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return reply


def ranged(body: bytes, *, etag: str = '"v1"', cut_at: int | None = None, extra: dict[str, str] | None = None) -> Reply:
    """Say what a good host does with ranges; ``cut_at`` ends each answer after so many bytes."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        headers = {"ETag": etag, "Accept-Ranges": "bytes", **(extra or {})}
        start = 0
        if "range" in asked.headers and asked.headers.get("if-range") == etag:
            start = int(asked.headers["range"].removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        sent = rest if cut_at is None else rest[:cut_at]
        await answer(sent, status=206 if start else 200, headers=headers, length=len(rest))(asked, writer)

    return reply


@dataclass
class Host:
    """A host on the loopback address: the n-th request gets the n-th reply, further ones the last."""

    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/clip.mp4") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.split("\r\n")
            pairs = (line.split(": ", 1) for line in lines if ": " in line)
            asked = Asked(first.split(" ")[1], {name.lower(): value for name, value in pairs}, text)
            self.asked.append(asked)
            await self.replies[min(len(self.asked), len(self.replies)) - 1](asked, writer)
        writer.close()


class QuickClock(SystemClock):
    """Keeps the pauses it was asked for and makes none."""

    def __init__(self) -> None:
        self.pauses_s: list[float] = []

    @override
    async def sleep(self, delay_s: float) -> None:
        self.pauses_s.append(delay_s)
        await asyncio.sleep(0)


@dataclass
class Kit:
    """Everything a test of downloads asks for."""

    media_dir: Path
    clock: QuickClock
    stack: AsyncExitStack

    mp4 = staticmethod(mp4)
    box = staticmethod(box)
    riff = staticmethod(riff)
    ogg = staticmethod(ogg)
    answer = staticmethod(answer)
    ranged = staticmethod(ranged)

    async def host(self, *replies: Reply) -> Host:
        host = Host(replies=list(replies))
        server = await asyncio.start_server(host.serve, "127.0.0.1", 0, backlog=1024)
        host.port = server.sockets[0].getsockname()[1]
        self.stack.callback(server.close)
        return host

    async def downloader(self, **settings: Any) -> Downloader:
        defaults: dict[str, Any] = {
            "media_dir": self.media_dir,
            "path_prefix": "media",
            "allow_private_hosts": True,
            "bytes_max": 10_000_000,
            "reserve_bytes": 0,
            "clock": self.clock,
            "rng": random.Random(5),
        }
        return await self.stack.enter_async_context(Downloader(**{**defaults, **settings}))

    def names(self) -> list[str]:
        return sorted(path.name for path in self.media_dir.iterdir())

    def stored(self, path: str) -> bytes:
        return (self.media_dir.parent / path).read_bytes()


def _open_files(directory: Path) -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            target = str(link.readlink())
            if target.startswith(str(directory)):
                found.append(target)
    return found


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    """Hosts and downloaders that are closed in the end, after which no file and no task may be left."""
    async with AsyncExitStack() as stack:
        yield Kit(tmp_path / "media", QuickClock(), stack)
    await asyncio.sleep(0)
    servers = {task for task in asyncio.all_tasks() if "Host.serve" in repr(task)}
    for task in servers:
        task.cancel()
    await asyncio.gather(*servers, return_exceptions=True)
    assert _open_files(tmp_path) == []
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, left


@pytest.fixture(scope="session")
def media() -> dict[str, bytes]:
    return small_media()


@pytest.fixture
def make() -> type[Kit]:
    """The makers alone, for tests without a network."""
    return Kit
