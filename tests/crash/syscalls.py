"""Strike a run in its system calls with strace: what happens inside SQLite, which no counter in Python sees.

strace counts per thread. SQLite works in the ledger's thread alone once the run is open, so that its syncs and its
writes are all met; of the calls that several threads make, the Nth of whichever gets there first.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from tests.crash import points
from tests.crash.batch import Batch, Plan, batch
from tests.crash.harness import finish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.judge import Verdict

KILL = "kill"
FULL = "ENOSPC"
KILLED_CALLS = ("fdatasync", "pwrite64", "fsync", "rename", "ftruncate")
FAILING_CALLS = (
    ("fdatasync", "EIO"),
    ("pwrite64", "EIO"),
    ("pwrite64", FULL),
    ("fsync", "EIO"),
    ("rename", "EIO"),
    ("ftruncate", "EIO"),
    ("mkdir", FULL),
    ("unlink", "EIO"),
)

_STRUCK = re.compile(r"^\d+ +(\w+)\((?:\d+<)?\"?([^>\",]*)", re.MULTILINE)


def why_not() -> str:
    """Return why calls cannot be struck here, or nothing."""
    return "" if shutil.which("strace") else "needs strace"


def strike(crashed: Batch, call: str, at: int, action: str) -> str:
    """Run and strike the Nth such call of a thread; returns where that was, or nothing if there was none.

    Args:
        action: ``kill``, or the name of the error that the call ends with. A full disk stays full.
    """
    trace = crashed.directory / "trace.txt"
    effect = "signal=KILL" if action == KILL else f"error={action}"
    when = f"{at}+" if action == FULL else str(at)
    # Not --seccomp-bpf: with it strace 6.1 lets many a call pass that was to be struck.
    tracer = ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", f"trace={call}"]
    done = finish([*tracer, "-e", f"inject={call}:{effect}:when={when}", *crashed.command])
    text = trace.read_text(errors="replace")
    where = ""
    if action == KILL and done.returncode < 0:
        where = _where(text, call)
        crashed.verdict.kills += 1
    elif "(INJECTED)" in text:
        where = f"{action} in {_where(text.partition('(INJECTED)')[0], call)}"
        crashed.verdict.errors += 1
    if where:
        crashed.verdict.note_struck(where)
    if done.returncode >= 0:
        crashed.verdict.note_end(done.returncode, done.stderr)
    return where


def _where(trace: str, call: str) -> str:
    name = next((name for found, name in reversed(_STRUCK.findall(trace)) if found == call), "").rpartition("/")[2]
    suffix = name.rpartition(".")[2]
    return f"{call} {f'*.{suffix}' if suffix in ('part', 'mp4') else name}".rstrip()


def strike_and_finish(directory: Path, plan: Plan, call: str, at: int, action: str) -> tuple[Verdict, bool]:
    """Strike a run once, finish it, and judge what is there; returns also whether the call was reached."""
    with batch(directory, plan) as crashed:
        where = strike(crashed, call, at, action)
        return crashed.finish(), bool(where)


def every_call(directory: Path, plan: Plan, call: str, action: str, *, step: int, workers: int) -> Iterator[Verdict]:
    """Strike one run after the other, each at another such call, until runs end before they reach theirs."""

    def strike_at(place: Path, at: int) -> tuple[Verdict, bool]:
        return strike_and_finish(place, plan, call, at, action)

    return points.sweep(directory, strike_at, f"{action} {call}", step=step, workers=workers)
