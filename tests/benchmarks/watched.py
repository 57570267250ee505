"""The engine's command with instruments: how late its loop is, how long a durable change takes, what a thread uses.

    .venv/bin/python -m tests.benchmarks.watched run jobs.jsonl …

Writes what it saw as JSON to the file that ``WATCHED_TO`` names. With ``WATCHED_DURABILITY=off`` nothing is synced to
the disk, to show what durability costs; the engine itself has no such switch.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.disk import durable
from engine.ledger import ledger
from engine.ledger.group_commit import GroupCommitter
from engine.ledger.schema import open_for_writing
from engine.run.run import Run

if TYPE_CHECKING:
    import sqlite3

BEAT_S = 0.005

lateness_s: list[float] = []
acknowledged_s: list[float] = []
writer_cpu_s: list[float] = []


def watch_loop() -> None:
    """Let a heartbeat run beside each run: it is as late as whatever held the loop up."""
    work = Run.work

    async def watched(run: Run) -> None:
        heart = asyncio.ensure_future(beat())
        try:
            await work(run)
        finally:
            heart.cancel()

    Run.work = watched  # type: ignore[method-assign, assignment]


async def beat() -> None:
    """Note how late each beat comes, until cancelled."""
    while True:
        due = time.perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        lateness_s.append(max(0.0, time.perf_counter() - due))


def watch_commits() -> None:
    """Note how long each change waits until it is durable, and what CPU the writer's thread used."""
    commit, work = GroupCommitter.commit, GroupCommitter._work

    def timed(self: GroupCommitter, change: Any) -> Any:
        handed_in = time.perf_counter()
        future = commit(self, change)
        future.add_done_callback(lambda _: acknowledged_s.append(time.perf_counter() - handed_in))
        return future

    def watched(self: GroupCommitter) -> None:
        work(self)
        writer_cpu_s.append(time.thread_time())

    GroupCommitter.commit = timed  # type: ignore[method-assign]
    GroupCommitter._work = watched  # type: ignore[method-assign]


def sync_nothing() -> None:
    """Leave everything in the kernel's hands."""

    def careless(path: Path) -> sqlite3.Connection:
        return open_for_writing(path, synchronous="OFF")

    ledger.open_for_writing = careless  # type: ignore[assignment, attr-defined]
    durable.os.fsync = lambda _fd: None  # type: ignore[attr-defined]


def percentile_ms(seconds: list[float], share: float) -> float:
    """Return the value below which ``share`` of them lie, in milliseconds; 0 if there are none."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2) if ordered else 0.0


def seen() -> dict[str, float]:
    return {
        "loop late p50 ms": percentile_ms(lateness_s, 0.5),
        "loop late p99 ms": percentile_ms(lateness_s, 0.99),
        "loop late max ms": percentile_ms(lateness_s, 1.0),
        "durable p50 ms": percentile_ms(acknowledged_s, 0.5),
        "durable p95 ms": percentile_ms(acknowledged_s, 0.95),
        "changes": len(acknowledged_s),
        "writer CPU s": round(sum(writer_cpu_s), 3),
        "main CPU s": round(time.thread_time(), 3),
    }


if __name__ == "__main__":
    watch_loop()
    watch_commits()
    if os.environ.get("WATCHED_DURABILITY") == "off":
        sync_nothing()
    from engine.console.cli import main

    try:
        main()
    except SystemExit as end:
        if target := os.environ.get("WATCHED_TO"):
            Path(target).write_text(json.dumps(seen()))
        sys.exit(end.code)
