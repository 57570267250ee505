"""What the engine costs per job beside the bare aiohttp loop, a script, and the provider's SDK.

    .venv/bin/python -m tests.benchmarks.overhead [--jobs 4000] [--places 200] [--runs 5] [--loop uvloop|asyncio]

One core for the client, another for a provider whose jobs are done at once; submit, one poll, one result, no download.
CPU is what the system says a process used, less what the same client uses for a single job: its start. Medians of
interleaved runs. ``durability off`` is the engine with nothing synced to the disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
from pathlib import Path
from typing import TypeAlias

from tests.benchmarks.clients import (
    FLOOR,
    FRESH,
    SCRIPT,
    SDK,
    SERVER_CORE,
    client_command,
    engine_command,
    measure,
    write_input,
)
from tests.benchmarks.fast_server import fast_server
from tests.benchmarks.tables import print_table, write_json

ENGINE, CARELESS = "engine", "engine, durability off"
CLIENTS = (FLOOR, FRESH, ENGINE, CARELESS, SCRIPT, SDK)
GOAL_RATIO = 1.6

Call: TypeAlias = tuple[list[str], dict[str, str]]


class Bench:
    """Makes the commands; every call of the engine gets a run directory of its own."""

    def __init__(self, addresses: dict[str, str], directory: Path, places: int) -> None:
        self._addresses, self._directory, self._places = addresses, directory, places
        self._runs = itertools.count()

    def call(self, client: str, jobs: int) -> Call:
        if client not in {ENGINE, CARELESS}:
            return client_command(client, self._addresses["base_url"], jobs, self._places), {}
        source = self._directory / f"{jobs}.jsonl"
        if not source.exists():
            write_input(source, jobs)
        run_dir = self._directory / f"{next(self._runs)}.run"
        off = client == CARELESS
        module = "tests.benchmarks.watched" if off else "engine"
        settings = "downloads.enabled=false"
        command = engine_command(self._addresses, source, run_dir, self._places, settings, module=module)
        return command, {"WATCHED_DURABILITY": "off"} if off else {}

    def per_job_ms(self, client: str, jobs: int) -> float:
        many, one = measure(*self.call(client, jobs)), measure(*self.call(client, 1))
        return (many.cpu_s - one.cpu_s) / (jobs - 1) * 1000


def without_uvloop(directory: Path) -> None:
    """Have every client that is started from now on find no uvloop."""
    shim = directory / "shim"
    shim.mkdir()
    (shim / "uvloop.py").write_text("raise ImportError\n")
    os.environ["PYTHONPATH"] = str(shim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4_000)
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--clients", nargs="*", choices=CLIENTS, default=CLIENTS)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/overhead.json"))
    asked = parser.parse_args()
    found: dict[str, list[float]] = {client: [] for client in asked.clients}
    with tempfile.TemporaryDirectory() as directory, fast_server(core=SERVER_CORE) as addresses:
        if asked.loop == "asyncio":
            without_uvloop(Path(directory))
        bench = Bench(addresses, Path(directory), asked.places)
        for _, client in itertools.product(range(asked.runs), asked.clients):
            # The slowest need no thousands of jobs to show what one costs.
            found[client].append(bench.per_job_ms(client, asked.jobs // 4 if client == SDK else asked.jobs))
    medians = {client: statistics.median(costs) for client, costs in found.items()}
    floor = medians.get(FLOOR, min(medians.values()))
    rows = [
        {
            "client": client,
            "CPU ms/job": round(cost, 3),
            "spread": f"{min(found[client]):.2f} to {max(found[client]):.2f}",
            "times the bare loop": round(cost / floor, 2),
            "goal": GOAL_RATIO if client == ENGINE else "",
        }
        for client, cost in medians.items()
    ]
    print_table(rows)
    write_json(asked.json, {"benchmark": "overhead", "loop": asked.loop, "jobs": asked.jobs, "rows": rows})


if __name__ == "__main__":
    main()
