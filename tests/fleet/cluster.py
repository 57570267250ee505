"""A Ray cluster on this machine, of processes of our own: a head and nodes, each ended by its id and no other.

It has a token, a directory and ports of its own, so that it meets no other cluster of this machine. Its nodes are
processes side by side or, in a ``Network``, machines with an address and a line of their own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.fleet.network import Network

START_S_MAX = 90.0
STORE_BYTES = 100 * 1024**2
HOST = "127.0.0.1"


class Cluster:
    """A head, and nodes that join it; ended with the block."""

    def __init__(self, network: Network | None = None) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="fl", dir="/tmp"))  # sockets of Ray allow no long path
        self.network = network
        self.port = free_port()
        self.address = f"{HOST if network is None else network.address('head')}:{self.port}"
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._groups: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._groups):
            self.kill(name)
        shutil.rmtree(self.home, ignore_errors=True)

    def start_head(self) -> None:
        """Start the head, which is a node too."""
        self._start("head", "--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.home}")

    def start_node(self, name: str) -> None:
        """Start a node and have it join."""
        if self.network is not None:
            self.network.add(name)
        self._start(name, f"--address={self.address}")

    def kill(self, name: str) -> None:
        """Kill a node with all that it runs, as a machine goes that loses its power."""
        process = self._groups.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def on(self, name: str, *command: str) -> tuple[str, ...]:
        """Return the command that runs ``command`` on a node."""
        return command if self.network is None else self.network.inside(name, *command)

    def leader(self, name: str) -> int:
        """Return the process id of whatever was started as a node: the session of all that it runs."""
        return self._groups[name].pid

    def workers(self, name: str) -> list[int]:
        """Return the process ids of a node's workers."""
        return [pid for pid in group(self.leader(name)) if b"Worker" in command_of(pid)]

    def _start(self, name: str, *words: str) -> None:
        process = subprocess.Popen(
            self.on(
                name,
                str(Path(sys.executable).with_name("ray")),
                "start",
                *words,
                "--block",
                f"--node-ip-address={HOST if self.network is None else self.network.address(name)}",
                "--num-cpus=1",
                f"--object-store-memory={STORE_BYTES}",
                "--disable-usage-stats",
            ),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._groups[name] = process
        assert process.stdout is not None
        watch = threading.Timer(START_S_MAX, process.kill)
        watch.start()
        said = b""
        for line in process.stdout:
            said += line
            if b"Ray runtime started" in line:
                break
        else:
            raise RuntimeError(f"{name} did not start: {said.decode(errors='replace')}")
        watch.cancel()
        threading.Thread(target=process.stdout.read, daemon=True).start()


def group(leader: int) -> list[int]:
    """Return the processes of a session that we started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def command_of(pid: int) -> bytes:
    """Return the command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
