"""A provider that costs next to nothing, for measuring the cost of clients: a process of its own, one asyncio protocol.

    .venv/bin/python -m tests.benchmarks.fast_server [--duration-s 0] [--file-bytes 0] [--line-bytes-per-s 0]

It speaks the Segmind v2 contract as far as a healthy run needs it and remembers no job: a request id holds the moment
of its submission. It is built to be quick where ``engine.simulator`` is built to be faithful. Prints its address as
JSON, and serves until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from engine.simulator.clips import Clips
from tests.server_process import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS_END = b"\r\n\r\n"
LENGTH = b"content-length:"
SO_MAX_PACING_RATE = 47
"""Linux: the kernel sends no more than so many bytes a second on this connection (socket(7))."""
COUNTS = ("submits", "polls", "results", "files", "first_poll_at")
CREDITS = b'{"credits":1000000,"free-credits":0}'


class Provider:
    """What all connections share: how long a job takes, what file it makes, and what was asked so far."""

    def __init__(self, duration_s: float, film: bytes, line_bytes_per_s: int = 0) -> None:
        self.duration_s = duration_s
        self.film = film
        self.line_bytes_per_s = line_bytes_per_s
        self.origin = ""
        self.submits = self.polls = self.results = self.files = 0
        self.first_poll_at = 0.0

    def answer(self, method: bytes, path: bytes) -> tuple[bytes, bytes]:
        """Return the media type and the body of the answer to a request."""
        if method == b"POST":
            self.submits += 1
            return b"application/json", self._accept()
        if path.startswith(b"/files/"):
            self.files += 1
            return b"video/mp4", self.film
        if path.endswith(b"/status"):
            self.polls += 1
            self.first_poll_at = self.first_poll_at or time.monotonic_ns() / 1e9
            return b"application/json", self._status(path[len(b"/v2/requests/") : -len(b"/status")])
        if path.startswith(b"/v2/requests/"):
            self.results += 1
            return b"application/json", self._result(path[len(b"/v2/requests/") :])
        if path == b"/counts":
            counts = {name: getattr(self, name) for name in COUNTS}
            return b"application/json", json.dumps(counts).encode()
        return b"application/json", CREDITS

    def _accept(self) -> bytes:
        request_id = b"%016x%016x" % (time.monotonic_ns(), self.submits)
        url = b"%b/v2/requests/%b" % (self.origin.encode(), request_id)
        return b'{"request_id":"%b","status":"QUEUED","status_url":"%b/status","response_url":"%b"}' % (
            *(request_id, url, url),
        )

    def _status(self, request_id: bytes) -> bytes:
        age_s = (time.monotonic_ns() - int(request_id[:16], 16)) / 1e9
        if age_s < self.duration_s:
            return b'{"request_id":"%b","status":"PROCESSING"}' % request_id
        return b'{"request_id":"%b","status":"COMPLETED",%b}' % (request_id, self._metrics())

    def _result(self, request_id: bytes) -> bytes:
        output = b"%b/files/%b.mp4" % (self.origin.encode(), request_id) if self.film else b"https://a.example/a.mp4"
        return (
            b'{"request_id":"%b","status":"COMPLETED","video":{"url":"%b","content_type":"video/mp4","file_size":%d},%b}'
        ) % (request_id, output, len(self.film), self._metrics())

    def _metrics(self) -> bytes:
        return b'"metrics":{"cost":4.475,"inference_time":%f,"queue_time":0}' % self.duration_s


class Connection(asyncio.Protocol):
    """One connection; requests may come one after the other, whole or in pieces."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._provider.line_bytes_per_s:
            line = transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, self._provider.line_bytes_per_s)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(HEADERS_END)) >= 0:
            head, behind = self._unread[:end], end + len(HEADERS_END)
            lowered = head.lower()
            at = lowered.find(LENGTH)
            length = int(lowered[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._unread) < behind + length:
                return
            self._unread = self._unread[behind + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            kind, body = self._provider.answer(method, path)
            closes = b"connection: close" in lowered
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
                % (kind, len(body), b"Connection: close\r\n" if closes else b"")
            )
            self._transport.write(body)
            if closes:
                self._transport.close()


async def serve(provider: Provider) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=4_096)
    provider.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"base_url": provider.origin, "history_url": f"{provider.origin}/history"}), flush=True)
    await ended.wait()


@contextlib.contextmanager
def fast_server(
    *, duration_s: float = 0.0, file_bytes: int = 0, line_bytes_per_s: int = 0, core: int | None = None
) -> Iterator[dict[str, str]]:
    """Run the provider as a process, on one core if the machine has several; yield its addresses."""
    options = {"--duration-s": duration_s, "--file-bytes": file_bytes, "--line-bytes-per-s": line_bytes_per_s}
    words = [word for name, value in options.items() for word in (name, str(value))]
    command = [sys.executable, "-m", "tests.benchmarks.fast_server", *words]
    with server_process(command, core=core) as addresses:
        yield addresses


def _film(size_bytes: int) -> bytes:
    clip = Clips().make("film", "mp4", size_bytes=size_bytes)
    return b"".join(clip.pieces(0, clip.size_bytes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration-s", type=float, default=0.0)
    parser.add_argument("--file-bytes", type=int, default=0)
    parser.add_argument("--line-bytes-per-s", type=int, default=0, help="of each connection; 0: as fast as it can")
    asked = parser.parse_args()
    film = _film(asked.file_bytes) if asked.file_bytes else b""
    asyncio.run(serve(Provider(asked.duration_s, film, asked.line_bytes_per_s)))


if __name__ == "__main__":
    main()
