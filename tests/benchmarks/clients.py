"""Clients that do the same work side by side: the engine, the bare aiohttp loop, a script, the provider's SDK.

Each is a process of its own on one core, so that its cost is what the system says it used. ``measure`` runs one and
tells what it cost; the modules that are measured are called by ``python -m tests.benchmarks.clients``.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import orjson

from engine.console.event_loop import run_to_end
from engine.provider.api_key import SIMULATOR_KEY

MODEL = "kling-v1-pro-ai-avatar"
HEADERS = {"x-api-key": SIMULATOR_KEY}
CLIENT_CORE, SERVER_CORE = 0, 1
UNLIMITED_PER_MINUTE = 1_000_000
FLOOR = "bare aiohttp loop"
FRESH = "the same, a connection for each submission"
SCRIPT = "script: gather, semaphore, a file"
SDK = "segmind SDK in threads"
SDK_THREADS_MAX = 50
"""With 200 threads beside each other on one core, a call of the SDK fails now and then, and its job is lost."""


class Cost(NamedTuple):
    """What a process used: CPU of its own and in the kernel for it, the clock's time, and the most memory it held."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    kernel_s: float


def measure(command: list[str], environment: dict[str, str] | None = None) -> Cost:
    """Run a command to its end, quietly, and tell what it cost.

    The system never tells the memory of a process smaller than that of the one that started it: keep this one small.

    Raises:
        RuntimeError: it failed.
    """
    began = time.perf_counter()
    into = os.open(os.devnull, os.O_WRONLY)
    mute = [(os.POSIX_SPAWN_DUP2, into, stream) for stream in (1, 2)]
    # Bytecode is kept, as on anybody's machine.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pid = os.posix_spawn(command[0], command, {**inherited, **(environment or {})}, file_actions=mute)
    os.close(into)
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(pid, {CLIENT_CORE})
    _, status, used = os.wait4(pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1024, used.ru_stime)


def write_input(path: Path, jobs: int) -> None:
    """Write job lines as people have them: an id, two links, a sentence."""
    with path.open("wb") as file:
        for number in range(jobs):
            file.write(orjson.dumps({"id": f"clip-{number:07}", "params": body(number)}) + b"\n")


def body(number: int) -> dict[str, str]:
    return {
        "image_url": f"https://example.com/faces/{number}.png",
        "audio_url": f"https://example.com/takes/{number}.wav",
        "prompt": f"Sentence number {number} is said calmly, in a bright room, with a smile at the end.",
    }


def engine_command(
    addresses: dict[str, str], source: Path, run_dir: Path, places: int, *settings: str, module: str = "engine"
) -> list[str]:
    """Return the command that runs a batch without any limit of the plan."""
    fixed = (
        "provider.preset=simulator",
        f"provider.base_url={addresses['base_url']}",
        f"provider.history_url={addresses['history_url']}",
        f"limits.max_in_flight={places}",
        f"limits.submits_per_minute={UNLIMITED_PER_MINUTE}",
        f"limits.polls_per_minute={UNLIMITED_PER_MINUTE}",
        "polling.expected_duration_s=0.1",
        "canary.jobs=0",
        "storage.reserve_bytes=0",
    )
    command = [sys.executable, "-m", module, "run", str(source), "--run-dir", str(run_dir), "--quiet"]
    for setting in (*fixed, *settings):
        command += ["--set", setting]
    return command


def client_command(name: str, base_url: str, jobs: int, places: int) -> list[str]:
    """Return the command of one of the clients of this file."""
    options = ("--jobs", str(jobs), "--places", str(places))
    return [sys.executable, "-m", "tests.benchmarks.clients", name, base_url, *options]


async def floor(base_url: str, jobs: int, places: int, *, fresh: bool) -> None:
    """Do what no client can do without: three requests a job, nothing kept."""
    import aiohttp  # noqa: PLC0415 (the start of each client is its own)

    numbers = iter(range(jobs))

    async def work(submits: aiohttp.ClientSession, session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with submits.post(f"{base_url}/v2/{MODEL}", data=orjson.dumps(body(number))) as reply:
                request = f"{base_url}/v2/requests/{orjson.loads(await reply.read())['request_id']}"
            async with session.get(f"{request}/status") as reply:
                assert orjson.loads(await reply.read())["status"] == "COMPLETED"
            async with session.get(request) as reply:
                orjson.loads(await reply.read())

    async with (
        aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=64, force_close=fresh)) as submits,
        aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=64)) as session,
    ):
        await asyncio.gather(*(work(submits if fresh else session, session) for _ in range(places)))


async def script(base_url: str, jobs: int, places: int) -> None:
    """Do what the script from a blog does: a task per job, a semaphore, a result line, nothing durable."""
    import aiohttp  # noqa: PLC0415

    gate = asyncio.Semaphore(places)

    async def one(session: aiohttp.ClientSession, number: int, output: Path) -> None:
        async with gate:
            async with session.post(f"{base_url}/v2/{MODEL}", json=body(number)) as reply:
                request = f"{base_url}/v2/requests/{(await reply.json())['request_id']}"
            while True:
                async with session.get(f"{request}/status") as reply:
                    if (await reply.json())["status"] == "COMPLETED":
                        break
                await asyncio.sleep(2.0)
            async with session.get(request) as reply:
                result = await reply.json()
            with output.open("a") as file:
                file.write(json.dumps({"id": number, "result": result}) + "\n")

    with tempfile.TemporaryDirectory() as directory:
        async with aiohttp.ClientSession(headers=HEADERS) as session:
            await asyncio.gather(*(one(session, number, Path(directory) / "out") for number in range(jobs)))


def sdk(base_url: str, jobs: int, places: int) -> None:
    """Do what the SDK's documentation shows, in threads."""
    from segmind import SegmindClient  # noqa: PLC0415

    client = SegmindClient(api_key=SIMULATOR_KEY, base_url=f"{base_url}/v1")

    def one(number: int) -> None:
        client.submit_async(MODEL, **body(number)).wait(timeout=600.0, interval=2.0)

    with concurrent.futures.ThreadPoolExecutor(min(places, SDK_THREADS_MAX)) as pool:
        for _ in pool.map(one, range(jobs)):
            pass
    client._client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("client", choices=[FLOOR, FRESH, SCRIPT, SDK])
    parser.add_argument("base_url")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--places", type=int, required=True)
    asked = parser.parse_args()
    if asked.client == SDK:
        sdk(asked.base_url, asked.jobs, asked.places)
    elif asked.client == SCRIPT:
        run_to_end(script(asked.base_url, asked.jobs, asked.places))
    else:
        run_to_end(floor(asked.base_url, asked.jobs, asked.places, fresh=asked.client == FRESH))


if __name__ == "__main__":
    main()
