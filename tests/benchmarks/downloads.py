"""What a downloaded, verified and durable file costs, and how quickly many come, beside curl and a script.

    .venv/bin/python -m tests.benchmarks.downloads [--files 40] [--mb 50] [--parallel 8] [--runs 3] [--line-mbit 0]

One core for the client, another for a host that sends from memory, as fast as it can or, with ``--line-mbit``, as a
line of that width would let it. The engine's downloader checks length, structure and sha256, and syncs each file and
its directory; curl (``--parallel``) and the script (aiohttp, aiofiles) only write. The floor is the least that a file
with a known sha256 takes: a socket, the hash, a write, one file after another. Every client's files are removed before
the next one's turn.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import random
import shutil
import socket
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.clock import SystemClock
from engine.console.event_loop import run_to_end
from tests.benchmarks.clients import SERVER_CORE, Cost, measure
from tests.benchmarks.fast_server import fast_server
from tests.benchmarks.tables import print_table, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOOR = "floor: a socket, sha256, write"
ENGINE, SCRIPT, CURL = "engine's downloader", "script: aiohttp, aiofiles, 64 KiB", "curl --parallel"
GOAL_CPU_MS_PER_50_MB = 75.0
GOAL_OF_CURL = 0.9
MB = 1_000_000


async def download(base_url: str, directory: Path, files: int, parallel: int) -> None:
    """Bring files as a run does."""
    from engine.media.downloader import Downloader, DownloadTask  # noqa: PLC0415 (each client's start is its own)

    downloader = Downloader(
        media_dir=directory,
        path_prefix="media",
        allow_private_hosts=True,
        bytes_max=2**40,
        reserve_bytes=0,
        clock=SystemClock(),
        rng=random.Random(1),
    )
    numbers = iter(range(files))

    async def work() -> None:
        for number in numbers:
            await downloader.fetch(DownloadTask(f"{base_url}/files/{number}.mp4", f"{number}"))

    async with downloader:
        await asyncio.gather(*(work() for _ in range(parallel)))


async def script(base_url: str, directory: Path, files: int, parallel: int) -> None:
    """Bring files as the example of a library's documentation does."""
    import aiofiles  # noqa: PLC0415
    import aiohttp  # noqa: PLC0415

    gate = asyncio.Semaphore(parallel)

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        async with (
            gate,
            session.get(f"{base_url}/files/{number}.mp4") as reply,
            aiofiles.open(directory / f"{number}.mp4", "wb") as file,
        ):
            async for block in reply.content.iter_chunked(65_536):
                await file.write(block)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session, number) for number in range(files)))


async def floor(base_url: str, directory: Path, files: int, _parallel: int) -> None:
    """Bring files one after another by the system's calls alone."""
    host = urlsplit(base_url)
    buffer = memoryview(bytearray(1024 * 1024))
    with socket.create_connection((host.hostname or "", host.port or 0)) as line:
        for number in range(files):
            line.sendall(b"GET /files/%d.mp4 HTTP/1.1\r\nHost: floor\r\n\r\n" % number)
            head, _, body = line.recv(65_536).partition(b"\r\n\r\n")
            left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
            digest = hashlib.sha256(body)
            with (directory / f"{number}.mp4").open("wb", buffering=0) as file:
                file.write(body)
                while left:
                    came = line.recv_into(buffer)
                    digest.update(buffer[:came])
                    file.write(buffer[:came])
                    left -= came


WORK = {FLOOR: floor, ENGINE: download, SCRIPT: script}


def command(client: str, base_url: str, directory: Path, files: int, parallel: int) -> list[str]:
    if client == CURL:
        found = shutil.which("curl")
        assert found
        return [
            *(found, "-sS", "--parallel", "--parallel-immediate", "--parallel-max", str(parallel)),
            *("-o", f"{directory}/#1.mp4", f"{base_url}/files/[0-{files - 1}].mp4"),
        ]
    call = [sys.executable, "-m", "tests.benchmarks.downloads", "--client", client, "--base-url", base_url]
    return [*call, "--directory", str(directory), "--files", str(files), "--parallel", str(parallel)]


def measured(client: str, base_url: str, files: int, parallel: int) -> tuple[Cost, Cost]:
    """Return what all files cost, and what one tiny call of the same client does."""
    with tempfile.TemporaryDirectory() as many, tempfile.TemporaryDirectory() as one:
        cost = measure(command(client, base_url, Path(many), files, parallel))
        assert len(list(Path(many).glob("*.mp4"))) == files
        return cost, measure(command(client, base_url, Path(one), 1, parallel))


def rows_of(found: dict[str, list[tuple[Cost, Cost]]], files: int, mb: int) -> Iterator[dict[str, object]]:
    quick = {name: statistics.median(many.wall_s - one.wall_s for many, one in costs) for name, costs in found.items()}
    for name, costs in found.items():
        moved_mb = (files - 1) * mb
        cpu_ms = statistics.median(many.cpu_s - one.cpu_s for many, one in costs) / moved_mb * 50 * 1000
        kernel_ms = statistics.median(many.kernel_s - one.kernel_s for many, one in costs) / moved_mb * 50 * 1000
        yield {
            "client": name,
            "CPU ms per 50 MB": round(cpu_ms, 1),
            "of it kernel": round(kernel_ms, 1),
            "goal ms": GOAL_CPU_MS_PER_50_MB if name == ENGINE else "",
            "MB/s": round(moved_mb / quick[name]),
            "times curl": round(quick[CURL] / quick[name], 2) if CURL in quick else "",
            "goal times": GOAL_OF_CURL if name == ENGINE else "",
            "peak MiB": round(max(many.peak_mib for many, _ in costs)),
        }


def compare(asked: argparse.Namespace) -> None:
    clients = [FLOOR, ENGINE, SCRIPT, *([CURL] if shutil.which("curl") else [])]
    found: dict[str, list[tuple[Cost, Cost]]] = {client: [] for client in clients}
    line_bytes_per_s = asked.line_mbit * 1_000_000 // 8 // asked.parallel
    with fast_server(core=SERVER_CORE, file_bytes=asked.mb * MB, line_bytes_per_s=line_bytes_per_s) as addresses:
        for _, client in itertools.product(range(asked.runs), clients):
            found[client].append(measured(client, addresses["base_url"], asked.files, asked.parallel))
    rows = list(rows_of(found, asked.files, asked.mb))
    print_table(rows)
    write_json(
        asked.json,
        {"benchmark": "downloads", "files": asked.files, "mb": asked.mb, "line_mbit": asked.line_mbit, "rows": rows},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--line-mbit", type=int, default=0, help="Mbit/s of all connections together; 0: no limit")
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/downloads.json"))
    parser.add_argument("--client", choices=list(WORK), help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client is None:
        compare(asked)
    else:
        run_to_end(WORK[asked.client](asked.base_url, asked.directory, asked.files, asked.parallel))


if __name__ == "__main__":
    main()
