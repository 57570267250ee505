"""How long a change waits until it is on the disk, and how late the loop is meanwhile.

    .venv/bin/python -m tests.benchmarks.durability [--producers 200] [--jobs 20000] [--runs 3]

So many producers lead jobs through their four durable changes (intent, accepted, ready, stored) and wait for each, as
quickly as the disk lets them, on one core; a heartbeat beside them measures how late the loop is. Beside the engine's
way, a thread that is handed groups, stands the same ledger written on the loop itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.console.event_loop import run_to_end
from engine.ledger.group_commit import InlineCommitter
from engine.ledger.ledger import Ledger
from engine.ledger.schema import open_for_writing
from engine.provider.verdict import Metrics
from tests.benchmarks.clients import CLIENT_CORE
from tests.benchmarks.tables import print_table, write_json
from tests.benchmarks.watched import beat, lateness_s, percentile_ms
from tests.jobs import FILE, UTC, add_jobs, flight_of

if TYPE_CHECKING:
    from collections.abc import Iterator

THREAD, LOOP = "engine: group commits in a thread", "group commits on the loop"
COST = Metrics(cost_usd=4.5)
OUTPUT = {"status": "COMPLETED", "video": {"url": FILE.url, "content_type": "video/mp4"}}
GOAL_MS = 10.0


def opened(kind: str, path: Path) -> Ledger:
    return Ledger.open(path) if kind == THREAD else Ledger(InlineCommitter(open_for_writing(path)))


async def produce(ledger: Ledger, numbers: Iterator[int], waits_s: list[float]) -> None:
    """Lead one job after the other to its end, and note how long each change took to become durable."""
    for job in numbers:
        media = {"urls": [FILE.url]}
        changes = (
            partial(ledger.intend, job, 1, utc=UTC, price_usd=4.475),
            partial(ledger.accepted, job, 1, f"request-{job}", utc=UTC),
            partial(ledger.ready, flight_of(job), metrics=COST, output=OUTPUT, media=media, lag_s=2.0),
            partial(ledger.stored, job, 1, [FILE], utc=UTC),
        )
        for change in changes:
            began = time.perf_counter()
            await change()
            waits_s.append(time.perf_counter() - began)


async def measured(kind: str, path: Path, *, producers: int, jobs: int) -> dict[str, float]:
    ledger = opened(kind, path)
    await add_jobs(ledger, jobs)
    waits_s: list[float] = []
    lateness_s.clear()
    gc.collect()
    numbers = iter(range(jobs))
    heart = asyncio.ensure_future(beat())
    began = time.perf_counter()
    await asyncio.gather(*(produce(ledger, numbers, waits_s) for _ in range(producers)))
    took_s = time.perf_counter() - began
    heart.cancel()
    ledger.close()
    return {
        "changes/s": round(len(waits_s) / took_s),
        "durable p50 ms": percentile_ms(waits_s, 0.5),
        "durable p95 ms": percentile_ms(waits_s, 0.95),
        "loop late p99 ms": percentile_ms(lateness_s, 0.99),
        "loop late max ms": percentile_ms(lateness_s, 1.0),
    }


def compare(*, producers: int, jobs: int, runs: int) -> list[dict[str, object]]:
    """Run both ways in turn; of each figure the median."""
    found: dict[str, list[dict[str, float]]] = {THREAD: [], LOOP: []}
    for run, kind in itertools.product(range(runs), found):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / f"{run}.db"
            found[kind].append(run_to_end(measured(kind, path, producers=producers, jobs=jobs)))
    return [
        {
            "ledger": kind,
            **{name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]},
            "goal ms": GOAL_MS if kind == THREAD else "",
        }
        for kind, rows in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--producers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/durability.json"))
    asked = parser.parse_args()
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {CLIENT_CORE})
    rows = compare(producers=asked.producers, jobs=asked.jobs, runs=asked.runs)
    print_table(rows)
    write_json(asked.json, {"benchmark": "durability", "producers": asked.producers, "jobs": asked.jobs, "rows": rows})


if __name__ == "__main__":
    main()
