"""A rehearsal of what can happen to a fleet: ``python -m tests.fleet [--jobs 500] [SCENARIO ...]``.

A head and its nodes on this machine, a provider of its own, one run for each scenario: undisturbed, with more or fewer
nodes, and with something killed, frozen, cut off or added when two fifths of the jobs are at rest. As root, each is a
machine in a network of its own, behind a line of its own. Prints what each came to: nothing may be paid twice or be
missing, and what was lost may cost time only.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from engine.clock import SystemClock
from tests.crash.harness import ENGINE, bill, simulator, write_jobs
from tests.fleet.cluster import Cluster, group
from tests.fleet.network import Network, is_possible
from tests.server_process import server_process
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE_BYTES = 5_000_000
FILE_BYTES_PER_S = 4_000_000
SUBMITS_PER_S = 50
PLACES = 8
RUN_S_MAX = 900.0
KNOBS = (
    "rate.requests_per_window=0",
    "work.duration_median_s=2",
    f"output.file_bytes={FILE_BYTES}",
    f"downloads.bytes_per_s={FILE_BYTES_PER_S}",
)


@dataclass
class Rehearsal:
    """One run and its cluster.

    Attributes:
        cpu_s: what the coordinator, and the bridge that it starts, took of the processor; complete at the end.
    """

    cluster: Cluster
    directory: Path
    pid: int = field(default=0, init=False)
    cpu_s: float = field(default=0.0, init=False)

    def start(self, *words: str | Path) -> None:
        """Start, or go on with, the run."""
        self.pid = subprocess.Popen(
            self.cluster.on("head", *ENGINE, *map(str, words)),
            env=self.cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
        ).pid

    @property
    def has_ended(self) -> bool:
        """Whether the process at work has ended and was not waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> int:
        """Wait for the process at work and return its exit code."""
        _, status, used = os.wait4(self.pid, 0)
        self.cpu_s += used.ru_utime + used.ru_stime
        return os.waitstatus_to_exitcode(status)


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


def cut_node(at: Rehearsal) -> None:
    assert at.cluster.network is not None, "only a machine with a line of its own can be cut off"
    at.cluster.network.cut("node-1")


def add_node(at: Rehearsal) -> None:
    at.cluster.start_node("node-3")


def kill_head(at: Rehearsal) -> None:
    at.cluster.kill("head")


def kill_coordinator(at: Rehearsal) -> None:
    os.kill(at.pid, signal.SIGKILL)
    at.wait()
    at.start("resume", at.directory, "--fleet", at.cluster.address, "-q")


class Scenario(NamedTuple):
    """How many nodes there are beside the head, or None for no fleet; and what happens in the middle."""

    nodes: int | None
    act: Callable[[Rehearsal], None] = nothing


SCENARIOS: dict[str, Scenario] = {
    "undisturbed": Scenario(2),
    "worker-killed": Scenario(2, kill_worker),
    "node-killed": Scenario(2, kill_node),
    "node-frozen": Scenario(2, freeze_node),
    "node-cut-off": Scenario(2, cut_node),
    "node-joining": Scenario(2, add_node),
    "head-killed": Scenario(2, kill_head),
    "coordinator-killed": Scenario(2, kill_coordinator),
    "no-fleet": Scenario(None),
    "head-alone": Scenario(0),
    "one-node": Scenario(1),
    "three-nodes": Scenario(3),
}


@contextlib.contextmanager
def stage(line_bytes_per_s: int | None) -> Iterator[tuple[Cluster, dict[str, str]]]:
    """Set up where a scenario plays: yields the cluster, without any node, and the addresses of the provider."""
    if not is_possible():
        with simulator("calm", *KNOBS) as addresses, Cluster() as cluster:
            yield cluster, addresses
        return
    with Network(line_bytes_per_s=line_bytes_per_s) as network:
        host = network.add("provider", is_limited=False)
        network.add("head")
        provider = network.inside("provider", sys.executable, "-m", "tests.fleet.provider", host, *KNOBS)
        with server_process(provider) as addresses, Cluster(network) as cluster:
            api = urlsplit(addresses["base_url"])
            relay = network.inside("head", sys.executable, "-m", "tests.fleet.relay", host, str(api.port))
            with server_process(relay) as near:
                history_url = addresses["history_url"].replace(addresses["base_url"], near["base_url"])
                yield cluster, {**addresses, **near, "history_url": history_url}


def rehearse(name: str, jobs: int, room: Path, line_bytes_per_s: int | None) -> dict[str, object]:
    """Carry one scenario out and return what it came to."""
    clock, directory, scenario = SystemClock(), room / name, SCENARIOS[name]
    write_jobs(room / "jobs.jsonl", jobs)
    with stage(line_bytes_per_s) as (cluster, addresses):
        if scenario.nodes is not None:
            cluster.start_head()
            for number in range(scenario.nodes):
                cluster.start_node(f"node-{number + 1}")
        fleet = [] if scenario.nodes is None else ["--fleet", cluster.address]
        began_at, at = clock.now(), Rehearsal(cluster, directory)
        at.start("run", room / "jobs.jsonl", "--run-dir", directory, *fleet, *settings(addresses, jobs), "-q")
        at_rest = directory / "results.jsonl"
        wait_in_thread_until(
            lambda: at.has_ended or (at_rest.exists() and at_rest.read_bytes().count(b"\n") >= jobs * 2 // 5),
            description="two fifths of the jobs are at rest",
            within_s=RUN_S_MAX,
        )
        scenario.act(at)
        code = at.wait()
        wall_s = clock.now() - began_at
        found = judged(directory, bill(addresses))
    shutil.rmtree(directory)
    whole = {
        "scenario": name,
        "wall_s": round(wall_s, 1),
        "exit": code,
        **found,
        "mb_per_s": round(jobs * FILE_BYTES / wall_s / 1e6, 1),
        "cpu_ms_a_job": round(1000 * at.cpu_s / jobs, 1),
    }
    print(json.dumps(whole), flush=True)
    return whole


def settings(addresses: dict[str, str], jobs: int) -> list[str]:
    """Return the settings of the run as words of its command."""
    keys = (
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
    return [word for key in keys for word in ("--set", key)]


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
    parser.add_argument("--line-mb-per-s", type=float, help="what each machine's line carries; needs root")
    asked = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # what runs in the background is started deaf to a Ctrl-C
        signal.signal(number, lambda *_: sys.exit("ended; what was started is ended with it"))
    line_bytes_per_s = None if asked.line_mb_per_s is None else int(asked.line_mb_per_s * 1e6)
    with tempfile.TemporaryDirectory(prefix="engine-fleet-") as room:
        found = [
            rehearse(name, asked.jobs, Path(room), line_bytes_per_s)
            for name in asked.scenarios or SCENARIOS
            if SCENARIOS[name].act is not cut_node or is_possible()
        ]
    print_table(found)


def print_table(found: list[dict[str, object]]) -> None:
    """Print what each scenario came to, beside the first."""
    first_s = float(str(found[0]["wall_s"]))
    columns = ("done", "paid", "paid_twice", "verified", "there", "instead", "mb_per_s", "cpu_ms_a_job")
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
