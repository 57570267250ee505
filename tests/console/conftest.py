"""The engine as its users meet it: real processes with a bounded time, a provider on the loopback address.

No process here may end with a traceback, and none is ever given an address outside this machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from engine.provider.api_key import SIMULATOR_KEY
from tests.crash.harness import bill, simulator, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENGINE = (sys.executable, "-m", "engine")
PROCESS_S_MAX = 60.0
QUICK = ("work.duration_median_s=0.1", "rate.requests_per_window=0")
SLOW = ("work.duration_median_s=1.5", "work.duration_sigma=0", "rate.requests_per_window=0")


@dataclass(frozen=True)
class Ended:
    """What a process left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Provider:
    """A simulated provider in a process of its own."""

    addresses: dict[str, str]

    def options(self, *settings: str) -> list[str]:
        """Return what points a command to this provider, and to no other."""
        fixed = (
            "provider.preset=simulator",
            f"provider.base_url={self.addresses['base_url']}",
            f"provider.history_url={self.addresses['history_url']}",
            "limits.submits_per_minute=60000",
            "limits.polls_per_minute=600000",
            "polling.expected_duration_s=0.1",
            "recovery.grace_s=1.0",
            "storage.reserve_bytes=0",
        )
        return [word for setting in (*fixed, *settings) for word in ("--set", setting)]

    def bill(self) -> dict[str, Any]:
        """Return what this provider was asked for."""
        return bill(self.addresses)

    @property
    def requests(self) -> int:
        """How many requests this provider has answered."""
        return sum(self.bill()["replies"].values())


KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_STATE_HOME", "COVERAGE_PROCESS_CONFIG")
"""The last one is set while it is measured what the tests cover, also in the processes that they start."""


def environment(**extra: str) -> dict[str, str]:
    """Return an environment without any key."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
    return {**kept, "PYTHONUTF8": "1", **extra}


def engine(*words: str | Path, cwd: Path, stdin: bytes = b"", env: dict[str, str] | None = None, **popen: Any) -> Ended:
    """Run a command to its end."""
    if "stdin" not in popen:
        popen["input"] = stdin
    done = subprocess.run(
        [*ENGINE, *map(str, words)],
        cwd=cwd,
        env=env or environment(),
        stdout=popen.pop("stdout", subprocess.PIPE),
        stderr=popen.pop("stderr", subprocess.PIPE),
        timeout=PROCESS_S_MAX,
        check=False,
        **popen,
    )
    ended = Ended(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())
    _check(ended)
    return ended


@contextmanager
def started(*words: str | Path, cwd: Path, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test; it is ended by its id if the test did not see to its end."""
    with subprocess.Popen(
        [*ENGINE, *map(str, words)],
        cwd=cwd,
        env=popen.pop("env", environment()),
        stdin=popen.pop("stdin", subprocess.DEVNULL),
        stdout=popen.pop("stdout", subprocess.PIPE),
        stderr=popen.pop("stderr", subprocess.PIPE),
        **popen,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for a process that was started beside the test."""
    out, err = process.communicate(timeout=PROCESS_S_MAX)
    done = Ended(process.returncode, (out or b"").decode(), (err or b"").decode())
    _check(done)
    return done


def _check(done: Ended) -> None:
    """Hold what every process of the engine must keep: no traceback, and the key in neither stream."""
    assert "Traceback" not in done.err, done.err
    assert SIMULATOR_KEY not in done.out + done.err


@contextmanager
def provider_with(*settings: str, scenario: str = "calm") -> Iterator[Provider]:
    """Run a provider for one test."""
    with simulator(scenario, *settings) as addresses:
        yield Provider(addresses)


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """A provider whose jobs take a tenth of a second."""
    with provider_with(*QUICK) as quick:
        yield quick


@pytest.fixture(scope="session")
def slow_provider() -> Iterator[Provider]:
    """A provider whose jobs take a second and a half."""
    with provider_with(*SLOW) as slow:
        yield slow


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """Three job lines."""
    return some_jobs(tmp_path, 3)


def some_jobs(directory: Path, count: int, name: str = "jobs.jsonl") -> Path:
    """Write ``count`` job lines."""
    write_jobs(directory / name, count)
    return directory / name


def results(run_dir: Path) -> list[dict[str, Any]]:
    """Return the result lines of a run."""
    return parsed((run_dir / "results.jsonl").read_text())


def parsed(lines: str) -> list[dict[str, Any]]:
    """Return result lines as objects."""
    return [json.loads(line) for line in lines.splitlines()]


def count_of(lines: Sequence[dict[str, Any]], status: str) -> int:
    """Return how many result lines have a status."""
    return sum(line["status"] == status for line in lines)
