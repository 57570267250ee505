"""The two sides of a crash test: the simulated provider as a process of its own, and the commands of a batch.

The provider lives on while the engine dies, as a real one would. Every process that is ended here was started here
and is ended by its id.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.server_process import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENGINE = (sys.executable, "-m", "engine")
RUN_S_MAX = 300.0


@contextlib.contextmanager
def simulator(scenario: str, *settings: str) -> Iterator[dict[str, str]]:
    """Run the provider as a process; yield its addresses."""
    command = [*ENGINE, "simulate", "--port", "0", "--scenario", scenario]
    for setting in settings:
        command += ["--set", setting]
    with server_process(command) as addresses:
        yield addresses


def bill(addresses: dict[str, str]) -> dict[str, Any]:
    """Read what the provider was paid for."""
    with urllib.request.urlopen(addresses["bill_url"], timeout=30) as reply:
        return dict(json.load(reply))


def operate(addresses: dict[str, str], path: str, change: dict[str, Any]) -> None:
    """Change the simulated provider while it runs."""
    request = urllib.request.Request(
        f"{addresses['base_url']}/_simulator/{path}",
        data=json.dumps(change).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


def write_jobs(path: Path, count: int, *, copies: int = 1) -> None:
    """Write ``count`` job lines; each body stands ``copies`` times."""
    with path.open("w") as file:
        for number in range(count):
            params = {
                "image_url": f"https://example.com/face-{number // copies}.png",
                "audio_url": f"https://example.com/take-{number // copies}.wav",
                "prompt": f"says sentence {number // copies}",
            }
            file.write(json.dumps({"id": f"clip-{number:05}", "params": params}) + "\n")


def run_command(jobs: Path, run_dir: Path, addresses: dict[str, str], settings: Sequence[str]) -> list[str]:
    """Return the command that begins the run and goes on with it."""
    command = [*ENGINE, "run", str(jobs), "--run-dir", str(run_dir), "--quiet"]
    fixed = (
        "provider.preset=simulator",
        f"provider.base_url={addresses['base_url']}",
        f"provider.history_url={addresses['history_url']}",
    )
    for setting in (*fixed, *settings):
        command += ["--set", setting]
    return command


def finish(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)


def crash(command: Sequence[str], *, after_s: float) -> bool:
    """Start a command and end it with SIGKILL after a while; returns whether it was still alive."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        return True
    return False
