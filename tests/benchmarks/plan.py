"""How much of a plan becomes videos: whole runs on virtual time beside a clairvoyant oracle.

    .venv/bin/python -m tests.benchmarks.plan [--seed 1] [--cells R,C,SHAPE] [--json FILE]

Every request counts in one budget of R requests a minute (``limits.shared``), C jobs may be in flight, records
live for an hour. The engine's scheduler, lanes, ledger and policies are those of a real run; the provider is in
memory, knows when each job ends, and forgets records as the real one does.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from engine.ledger.counts import count_jobs
from tests.benchmarks.oracle import RECORD_LIFE_S, Batch, best_makespan_s
from tests.benchmarks.shapes import SHAPES, Shape
from tests.benchmarks.tables import print_table, write_json
from tests.scheduling.conftest import World
from tests.virtual_clock import VirtualClock, run_virtual

REQUESTS = (50, 120, 500, 1_000)
PLACES = (50, 200, 1_000)
JOBS_MIN = 600
WAVES = 3


def batch_of(per_minute: int, places: int, shape: Shape, seed: int) -> Batch:
    jobs = max(JOBS_MIN, WAVES * places)
    return Batch(
        jobs,
        per_minute,
        places,
        partial(shape.duration_s, jobs=jobs, seed=seed),
        partial(shape.fails, seed=seed),
        shape.workers(places),
    )


def run_cell(per_minute: int, places: int, shape: Shape, seed: int) -> dict[str, object]:
    batch = batch_of(per_minute, places, shape, seed)
    figures: dict[str, object] = {}

    async def night(path: Path) -> None:
        world = World(
            path, VirtualClock(), random.Random(seed), per_minute=per_minute, shared=True, max_in_flight=places
        )
        provider = world.provider
        provider.duration_of, provider.fails, provider.workers = batch.duration_s, batch.fails, batch.workers
        provider.record_life_s = RECORD_LIFE_S
        await (await world.with_jobs(batch.jobs)).run()
        counts = await world.ledger.read(count_jobs)
        done = counts.get("succeeded", 0) + counts.get("failed", 0)
        figures.update(
            R=per_minute,
            C=places,
            shape=shape.name,
            jobs=batch.jobs,
            makespan_s=round(world.clock.now(), 1),
            polls_per_job=round(world.tally.polls / batch.jobs, 2),
            lag_s=round(world.tally.lag_sum_s / max(1, world.tally.lag_jobs), 1),
            peak=world.tally.in_flight_peak,
            throttles=world.tally.throttles,
            lost=batch.jobs - done,
        )
        world.ledger.close()

    with tempfile.TemporaryDirectory() as directory:
        run_virtual(night(Path(directory) / "run.db"))
    oracle_s = best_makespan_s(batch)
    figures.update(oracle_s=round(oracle_s, 1), share=round(oracle_s / float(str(figures["makespan_s"])), 3))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", help="only cells of these R, C and shape numbers, as in 50,200,0")
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/plan.json"))
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    cells = [*itertools.product(REQUESTS, PLACES, SHAPES)]
    if asked.cells:
        per_minute, places, number = map(int, asked.cells.split(","))
        cells = [(per_minute, places, SHAPES[number])]
    with ProcessPoolExecutor(asked.processes) as pool:
        rows = [*pool.map(run_cell, *zip(*cells, strict=True), itertools.repeat(asked.seed))]
    print_table(rows)
    write_json(asked.json, {"benchmark": "plan", "seed": asked.seed, "rows": rows})
    print(f"seed {asked.seed}; worst share {min(float(str(row['share'])) for row in rows):.3f}", end="; ")
    print(f"lost {sum(int(str(row['lost'])) for row in rows)}")


if __name__ == "__main__":
    main()
