"""A rehearsal of what can happen to a fleet: ``python -m tests.fleet [--jobs 500] [SCENARIO ...]``.

A head and two nodes on this machine, a provider of its own, one run for each scenario: undisturbed, without a fleet,
and with something killed, frozen or added when two fifths of the jobs are at rest. Prints what each came to: nothing
may be paid twice or be missing, and what was lost may cost time only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.clock import SystemClock
from tests.crash.harness import ENGINE, bill, simulator, write_jobs
from tests.fleet.cluster import Cluster, group
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_BYTES = 5_000_000
FILE_BYTES_PER_S = 4_000_000
SUBMITS_PER_S = 10
PLACES = 8
RUN_S_MAX = 900.0


@dataclass
class Rehearsal:
    """One run and its cluster."""

    cluster: Cluster
    directory: Path
    process: subprocess.Popen[bytes]

    def start(self, *words: str | Path) -> None:
        """Start, or go on with, the run."""
        self.process = subprocess.Popen(
            [*ENGINE, *map(str, words)], env=self.cluster.environment, stdout=subprocess.DEVNULL, stderr=sys.stderr
        )


def nothing(_: Rehearsal) -> None:
    """Leave everything as it is."""


def kill_worker(at: Rehearsal) -> None:
    os.kill(at.cluster.workers("node-1")[0], signal.SIGKILL)


def kill_node(at: Rehearsal) -> None:
    at.cluster.kill("node-1")


def freeze_node(at: Rehearsal) -> None:
    for pid in group(at.cluster.leader("node-1")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def add_node(at: Rehearsal) -> None:
    at.cluster.start_node("node-3")


def kill_head(at: Rehearsal) -> None:
    at.cluster.kill("head")


def kill_coordinator(at: Rehearsal) -> None:
    at.process.kill()
    at.process.wait()
    at.start("resume", at.directory, "--fleet", at.cluster.address, "-q")


SCENARIOS: dict[str, Callable[[Rehearsal], None]] = {
    "undisturbed": nothing,
    "no-fleet": nothing,
    "worker-killed": kill_worker,
    "node-killed": kill_node,
    "node-frozen": freeze_node,
    "node-joining": add_node,
    "head-killed": kill_head,
    "coordinator-killed": kill_coordinator,
}


def rehearse(name: str, jobs: int, room: Path) -> dict[str, object]:
    """Carry one scenario out and return what it came to."""
    clock, directory = SystemClock(), room / name
    write_jobs(room / "jobs.jsonl", jobs)
    knobs = ("work.duration_median_s=2", f"output.file_bytes={FILE_BYTES}", f"downloads.bytes_per_s={FILE_BYTES_PER_S}")
    with simulator("calm", "rate.requests_per_window=0", *knobs) as addresses, Cluster() as cluster:
        if name != "no-fleet":
            cluster.start_head()
            cluster.start_node("node-1")
            cluster.start_node("node-2")
        settings = (
            "provider.preset=simulator",
            f"provider.base_url={addresses['base_url']}",
            f"provider.history_url={addresses['history_url']}",
            f"limits.submits_per_minute={60 * SUBMITS_PER_S}",
            "limits.polls_per_minute=60000",
            f"limits.max_in_flight={jobs}",
            "polling.expected_duration_s=2",
            "recovery.grace_s=2",
            "storage.reserve_bytes=0",
            f"downloads.concurrency={PLACES}",
        )
        words = [word for setting in settings for word in ("--set", setting)]
        fleet = [] if name == "no-fleet" else ["--fleet", cluster.address]
        began_at = clock.now()
        at = Rehearsal(cluster, directory, subprocess.Popen(["true"]))
        at.start("run", room / "jobs.jsonl", "--run-dir", directory, *fleet, *words, "-q")
        at_rest = directory / "results.jsonl"
        wait_in_thread_until(
            lambda: at_rest.exists() and at_rest.read_bytes().count(b"\n") >= jobs * 2 // 5,
            description="two fifths of the jobs are at rest",
            within_s=RUN_S_MAX,
        )
        SCENARIOS[name](at)
        code = at.process.wait(RUN_S_MAX)
        wall_s = clock.now() - began_at
        found = judged(directory, bill(addresses))
    print(json.dumps({"scenario": name, "wall_s": round(wall_s, 1), "exit": code, **found}), flush=True)
    shutil.rmtree(directory)
    return {"scenario": name, "wall_s": wall_s, "exit": code, **found}


def judged(directory: Path, paid: dict[str, object]) -> dict[str, object]:
    """Return what a run came to, by its output, by the provider's bill and by its own verification."""
    results = [json.loads(line) for line in (directory / "results.jsonl").read_text().splitlines()]
    events = [json.loads(line) for line in (directory / "run.log").read_text().splitlines()]
    closed = [event for event in events if event["event"] == "fleet_closed"]
    checked = subprocess.run([*ENGINE, "verify", directory, "--json"], capture_output=True, check=False, text=True)
    return {
        "done": sum(result["status"] == "succeeded" for result in results),
        "paid": paid["paid"],
        "paid_twice": paid["paid_surplus"],
        "verified": json.loads(checked.stdout)["files"] if checked.returncode == 0 else checked.stdout[-300:],
        "there": sum(event["fetched_there"] for event in closed),
        "instead": sum(event["event"] == "fetched_here_instead" for event in events),
    }


def main() -> None:
    """Rehearse, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--jobs", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engine-fleet-") as room:
        found = [rehearse(name, asked.jobs, Path(room)) for name in asked.scenarios or SCENARIOS]
    first_s = float(str(found[0]["wall_s"]))
    columns = ("done", "paid", "paid_twice", "verified", "there", "instead")
    print("| scenario | wall s | against the first |", " | ".join(columns), "|")
    for row in found:
        wall_s = float(str(row["wall_s"]))
        print(
            f"| {row['scenario']} | {wall_s:.0f} | {wall_s - first_s:+.0f} |",
            " | ".join(str(row[name]) for name in columns),
            "|",
        )


if __name__ == "__main__":
    main()
