"""What a request in flight costs in memory, and whether a hundred thousand of them work.

    .venv/bin/python -m tests.benchmarks.in_flight [--places 100 1000 10000 100000]

Each batch is as large as what may be in flight, and its jobs take long enough that all of them are in flight at once;
then every one is polled, fetched and written. One core for the engine, another for the provider; polls are limited to
what a core answers. The 100,000 take ten minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.clients import SERVER_CORE, engine_command, measure, write_input
from tests.benchmarks.fast_server import fast_server
from tests.benchmarks.tables import print_table, write_json

GOAL_MIB_PER_1000 = 10.0
SUBMITS_PER_S = 400.0
"""What a core can surely submit; a batch takes longer than that to complete."""
DURATION_S_MIN = 10.0
POLLS_PER_MINUTE = 30_000


def measure_places(places: int, duration_s: float) -> dict[str, object]:
    settings = (
        f"polling.expected_duration_s={duration_s}",
        f"limits.polls_per_minute={POLLS_PER_MINUTE}",
        "downloads.enabled=false",
    )
    with fast_server(core=SERVER_CORE, duration_s=duration_s) as addresses, tempfile.TemporaryDirectory() as directory:
        source, run_dir = Path(directory) / "jobs.jsonl", Path(directory) / "jobs.run"
        write_input(source, places)
        cost = measure(engine_command(addresses, source, run_dir, places, *settings))
        written = sum(1 for _ in (run_dir / "results.jsonl").open("rb"))
    return {
        "in flight": places,
        "done": written,
        "wall s": round(cost.wall_s, 1),
        "CPU ms/job": round(cost.cpu_s / places * 1000, 2),
        "peak MiB": round(cost.peak_mib, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, nargs="*", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/in_flight.json"))
    asked = parser.parse_args()
    rows = [measure_places(places, max(DURATION_S_MIN, places / SUBMITS_PER_S)) for places in sorted(asked.places)]
    least = rows[0]
    for row in rows[1:]:
        more = (row["in flight"] - least["in flight"]) / 1000  # type: ignore[operator]
        row["MiB per 1,000 more"] = round((row["peak MiB"] - least["peak MiB"]) / more, 1)  # type: ignore[operator]
        row["goal"] = GOAL_MIB_PER_1000
    print_table(
        [{**row, "MiB per 1,000 more": row.get("MiB per 1,000 more", ""), "goal": row.get("goal", "")} for row in rows]
    )
    write_json(asked.json, {"benchmark": "in_flight", "rows": rows})


if __name__ == "__main__":
    main()
