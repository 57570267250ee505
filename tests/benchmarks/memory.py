"""What a batch costs against its size: CPU per job and peak memory, to the end of each batch.

    .venv/bin/python -m tests.benchmarks.memory [--jobs 1000 10000 100000] [--places 1000] [--others 10000]

One core for the engine, another for a provider that answers at once; nothing is downloaded. A batch of 100,000 takes
two to three minutes. What others take for one batch of ``--others`` jobs follows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.clients import (
    FLOOR,
    SCRIPT,
    SDK,
    SDK_THREADS_MAX,
    SERVER_CORE,
    client_command,
    engine_command,
    measure,
    write_input,
)
from tests.benchmarks.fast_server import fast_server
from tests.benchmarks.tables import print_table, write_json

GOAL_MIB = 150


def measure_batch(jobs: int, places: int) -> dict[str, object]:
    with fast_server(core=SERVER_CORE) as addresses, tempfile.TemporaryDirectory() as directory:
        source, run_dir = Path(directory) / "jobs.jsonl", Path(directory) / "jobs.run"
        write_input(source, jobs)
        cost = measure(engine_command(addresses, source, run_dir, places, "downloads.enabled=false"))
        return {
            "jobs": jobs,
            "in flight": places,
            "CPU ms/job, start included": round(cost.cpu_s / jobs * 1000, 2),
            "wall s": round(cost.wall_s, 1),
            "peak MiB": round(cost.peak_mib),
            "goal MiB": GOAL_MIB,
            "ledger B/job": round((run_dir / "run.db").stat().st_size / jobs),
        }


def measure_other(name: str, jobs: int, places: int) -> dict[str, object]:
    # With more threads beside each other, calls of the SDK fail and their jobs are lost.
    jobs, places = (jobs // 4, min(places, SDK_THREADS_MAX)) if name == SDK else (jobs, places)
    with fast_server(core=SERVER_CORE) as addresses:
        cost = measure(client_command(name, addresses["base_url"], jobs, places))
    return {"client": name, "jobs": jobs, "in flight": places, "peak MiB": round(cost.peak_mib)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--places", type=int, default=1_000)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/memory.json"))
    asked = parser.parse_args()
    rows = [measure_batch(jobs, asked.places) for jobs in asked.jobs]
    print_table(rows)
    others = [measure_other(name, asked.others, asked.places) for name in (FLOOR, SCRIPT, SDK)]
    print()
    print_table(others)
    write_json(asked.json, {"benchmark": "memory", "rows": rows, "others": others})


if __name__ == "__main__":
    main()
