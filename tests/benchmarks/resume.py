"""How long a resumed run takes to its first poll, and what a look at it takes, against the size of what it has done.

    .venv/bin/python -m tests.benchmarks.resume [--done 10000 100000 1000000] [--in-flight 10000]

The clock runs from the start of the process to the moment at which the provider sees the first status request. The
script beside it does what resuming takes at the least where results are a JSONL file: it reads which ids are there.
Then ``engine status`` and ``engine report`` look at the same ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from engine.clock import SystemClock
from tests.benchmarks.clients import CLIENT_CORE, SERVER_CORE, UNLIMITED_PER_MINUTE, measure
from tests.benchmarks.fast_server import fast_server
from tests.benchmarks.tables import print_table, write_json

GOAL_S = 1.0
PATIENCE_S = 120.0
READ_IDS = "import json, sys; ids = {json.loads(line)['id'] for line in open(sys.argv[1])}"


def first_poll(addresses: dict[str, str]) -> float:
    """Return when the provider saw its first status request (monotonic seconds of this machine); 0 before."""
    with urllib.request.urlopen(f"{addresses['base_url']}/counts", timeout=30) as reply:
        return float(json.load(reply)["first_poll_at"])


def measure_resume(done: int, in_flight: int) -> dict[str, object]:
    clock, pause = SystemClock(), threading.Event()
    with fast_server(core=SERVER_CORE, duration_s=3_600.0) as addresses, tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "night.run"
        settings = (
            "provider.preset=simulator",
            f"provider.base_url={addresses['base_url']}",
            f"provider.history_url={addresses['history_url']}",
            f"limits.polls_per_minute={UNLIMITED_PER_MINUTE}",
            f"limits.max_in_flight={in_flight}",
            "storage.reserve_bytes=0",
        )
        builder = [sys.executable, "-m", "tests.benchmarks.ledgers", str(root)]
        builder += ["--done", str(done), "--in-flight", str(in_flight)]
        for setting in settings:
            builder += ["--set", setting]
        subprocess.run(builder, check=True)
        command = [sys.executable, "-m", "engine", "resume", str(root), "--quiet"]
        began = clock.now()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        os.sched_setaffinity(process.pid, {CLIENT_CORE})
        try:
            while not (at := first_poll(addresses)):
                if clock.now() > began + PATIENCE_S or process.poll() is not None:
                    raise RuntimeError("the engine asked about nothing")
                pause.wait(0.02)
            peak = Path(f"/proc/{process.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        finally:
            process.kill()
            process.wait()
        script = measure([sys.executable, "-c", READ_IDS, str(root / "results.jsonl")])
        status, report = (measure([sys.executable, "-m", "engine", look, str(root)]) for look in ("status", "report"))
        return {
            "done": done,
            "in flight": in_flight,
            "to the first poll s": round(at - began, 2),
            "goal s": GOAL_S,
            "peak MiB": round(int(peak) / 1024),
            "script reads ids s": round(script.wall_s, 2),
            "script MiB": round(script.peak_mib),
            "status s": round(status.wall_s, 2),
            "report s": round(report.wall_s, 2),
            "report MiB": round(report.peak_mib),
            "ledger MB": round((root / "run.db").stat().st_size / 1e6),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--done", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--in-flight", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/resume.json"))
    asked = parser.parse_args()
    rows = [measure_resume(done, asked.in_flight) for done in asked.done]
    print_table(rows)
    write_json(asked.json, {"benchmark": "resume", "rows": rows})


if __name__ == "__main__":
    main()
