"""Machines on this machine: a network namespace for each, joined by a bridge, each behind a line of its own.

Every one sees itself and the others under their addresses of a private network, as real ones would; nothing of it
reaches any other network. Needs root and ``ip`` and, to give the lines a limit, ``tc``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

BRIDGE = "enginefleet"
SUBNET = "10.213.77"
OURS = f"{SUBNET}.254"
"""Where the process that set the network up is reached from the machines."""
BURST_S = 0.01


def is_possible() -> bool:
    """Whether this process may set such a network up."""
    return os.geteuid() == 0 and all(shutil.which(program) for program in ("ip", "tc"))


class Network:
    """A bridge and the machines behind it; taken down with the block.

    Args:
        line_bytes_per_s: what the line of a machine carries in each direction; None for as much as this computer can.
    """

    def __init__(self, *, line_bytes_per_s: int | None = None) -> None:
        self._line_bytes_per_s = line_bytes_per_s
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        run("ip", "link", "add", "name", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{OURS}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._numbers:
            run("ip", "link", "del", self._line(name))  # with its namespace it would go some time later
            run("ip", "netns", "del", _namespace(name))
        run("ip", "link", "del", BRIDGE)

    def add(self, name: str, *, is_limited: bool = True) -> str:
        """Set a machine up and return its address."""
        self._numbers[name] = len(self._numbers) + 1
        outside, inside, namespace = self._line(name), "line", _namespace(name)
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", namespace)
        run("ip", "link", "set", outside, "master", BRIDGE, "up")
        within(name, "ip", "addr", "add", f"{self.address(name)}/24", "dev", inside)
        within(name, "ip", "link", "set", inside, "up")
        within(name, "ip", "link", "set", "lo", "up")
        if is_limited and self._line_bytes_per_s is not None:
            self._limit(("tc",), outside)
            self._limit(self.inside(name, "tc"), inside)
        return self.address(name)

    def address(self, name: str) -> str:
        """Return the address of a machine."""
        return f"{SUBNET}.{self._numbers[name]}"

    def inside(self, name: str, *command: str) -> tuple[str, ...]:
        """Return the command that runs ``command`` on a machine, in a process that keeps its id."""
        return ("ip", "netns", "exec", _namespace(name), *command)

    def cut(self, name: str) -> None:
        """Pull the plug: the machine goes on, and nothing that it says arrives any more."""
        run("ip", "link", "set", self._line(name), "down")

    def _line(self, name: str) -> str:
        """Return what the outer end of a machine's line is called; such names have 15 letters at most."""
        return f"{BRIDGE}{self._numbers[name]}"

    def _limit(self, tc: Sequence[str], device: str) -> None:
        assert self._line_bytes_per_s is not None
        burst_bytes = max(64 * 1024, int(self._line_bytes_per_s * BURST_S))
        rate = ("rate", f"{self._line_bytes_per_s * 8}bit", "burst", str(burst_bytes), "latency", "50ms")
        run(*tc, "qdisc", "add", "dev", device, "root", "tbf", *rate)


def within(name: str, *command: str) -> None:
    """Run a command on a machine to its end."""
    run("ip", "netns", "exec", _namespace(name), *command)


def run(*command: str) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _namespace(name: str) -> str:
    return f"{BRIDGE}-{name}"
