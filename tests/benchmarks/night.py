"""The rehearsal of a night: ten hours, ten thousand paid jobs, and all that goes wrong, in five minutes.

    .venv/bin/python -m tests.benchmarks.night [--jobs 10000] [--scale 120] [--keep DIRECTORY]

Real HTTP to the simulated provider, real files, the user's own command; every time is divided by the scale. While the
batch runs, the provider cuts the plan to a tenth (a storm of 429s), the credit runs dry, the network goes away, the
machine is rebooted (kill -9), the disk fills up, and the key is revoked and replaced. A run that stops is begun again
with the same command, as a person would. At last the provider's bill, the ledger, the output, the files and the report
are held against each other to the last line. The full disk needs root, to mount one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import ExitCode
from engine.provider.api_key import SIMULATOR_KEY
from tests.benchmarks.tables import print_table, write_json
from tests.crash.file_systems import small_disk, why_not
from tests.crash.harness import ENGINE, bill, operate, run_command, simulator, write_jobs
from tests.crash.judge import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS_MEDIAN_S, JOBS_SIGMA = 713.0, 0.15
PLACES = 200
PER_MINUTE, POLLS_PER_MINUTE, WINDOW_S = 50, 600, 60.0
RETENTION_S, GRACE_S = 3600.0, 900.0
NEW_KEY = "SG_fedcba9876543210"
LOOK_S = 0.1
DISK = "4g"
CHECK_S_MAX = 120.0
RESUMABLE = frozenset({ExitCode.STOPPED, ExitCode.STORAGE, ExitCode.ACCOUNT})


class Night:
    """One rehearsal: the provider, the run directory, and the processes that worked on it.

    Attributes:
        chapters: what happened when, and how it went on.
    """

    def __init__(self, directory: Path, addresses: dict[str, str], *, jobs: int, scale: float) -> None:
        self.directory = directory
        self.addresses = addresses
        self.jobs = jobs
        self.scale = scale
        self.source = directory / "jobs.jsonl"
        self.run_dir = directory / "disk" / "jobs.run"
        self.chapters: list[dict[str, object]] = []
        self.cpu_s = self.peak_mib = 0.0
        self.said = directory / "said.log"
        self._said_before_bytes = 0
        self._key = directory / "key"
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.perf_counter()
        write_jobs(self.source, jobs)
        self.use_key(SIMULATOR_KEY)
        settings = (
            f"provider.api_key_file='{self._key}'",
            f"limits.submits_per_minute={PER_MINUTE * scale}",
            f"limits.polls_per_minute={POLLS_PER_MINUTE * scale}",
            f"limits.max_in_flight={PLACES}",
            f"polling.expected_duration_s={JOBS_MEDIAN_S / scale}",
            f"recovery.grace_s={GRACE_S / scale}",
            "storage.reserve_bytes=0",
        )
        self.command = run_command(self.source, self.run_dir, addresses, settings)
        self.command.remove("--quiet")

    @property
    def wall_s(self) -> float:
        return time.perf_counter() - self._began

    def done(self) -> int:
        """Return how many jobs have succeeded, by the ledger."""
        with contextlib.closing(sqlite3.connect(f"file:{self.run_dir / 'run.db'}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT value FROM total WHERE name = 'succeeded'").fetchone()[0])

    def begin(self) -> None:
        """Start the command, or go on with it."""
        with self.said.open("ab") as log:
            self._said_before_bytes = log.tell()
            self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log)

    def ended(self, *, within_s: float) -> int | None:
        """Return the exit code if the process ends in time; what it used is then added up."""
        assert self._process is not None
        until = time.perf_counter() + within_s
        while True:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s += used.ru_utime + used.ru_stime
                self.peak_mib = max(self.peak_mib, used.ru_maxrss / 1024)
                return self._process.returncode
            if time.perf_counter() > until:
                return None
            threading.Event().wait(LOOK_S)

    def work_until(self, share: float) -> None:
        """Let the run go on until so much of the batch is done; begin it again if it stops, as a person would."""
        while self.done() < share * self.jobs:
            code = self.ended(within_s=LOOK_S)
            if code in RESUMABLE:
                self.begin()
                self.tell("the run had stopped for what happened before", f"exit {code}; begun again")
            elif code is not None:
                raise RuntimeError(f"the run ended with {code} before its end; see {self.directory}")

    def tell(self, what: str, how: str) -> None:
        hours = self.wall_s * self.scale / 3600
        self.chapters.append({"after h": round(hours, 2), "jobs done": self.done(), "what happened": what, "then": how})
        print(f"{hours:6.2f} h  {what}: {how}", file=sys.stderr)

    def change(self, **knobs: Any) -> None:
        operate(self.addresses, "scenario", knobs)

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self.ended(within_s=10)

    def last_words(self) -> str:
        """Return what the last process said to the person who began it."""
        return self.said.read_bytes()[self._said_before_bytes :].decode()

    def use_key(self, key: str) -> None:
        """Put another key where the user keeps it."""
        self._key.write_text(key)
        self._key.chmod(0o600)


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


# --- what happens in the night ---------------------------------------------------------------------------


def storm(night: Night) -> None:
    before = bill(night.addresses)["rate_limited"]
    night.change(rate={"requests_per_window": PER_MINUTE // 10})
    pause(1200 / night.scale)
    night.change(rate={"requests_per_window": PER_MINUTE})
    refused = bill(night.addresses)["rate_limited"] - before
    night.tell("the plan is cut to a tenth for 20 minutes", f"{refused} answers of 429")


def no_credit(night: Night) -> None:
    operate(night.addresses, "credits", {"add": -1e9})
    code = night.ended(within_s=1200 / night.scale)
    operate(night.addresses, "credits", {"add": 1e9})
    if code is not None:
        night.begin()
    how = "it waited, and went on by itself" if code is None else f"exit {code}; begun again once there was credit"
    night.tell("the credit is used up for 20 minutes", how)


def outage(night: Night) -> None:
    night.change(outage="drop")
    code = night.ended(within_s=600 / night.scale)
    night.change(outage="none")
    if code is not None:
        night.begin()
    night.tell("the network is away for 10 minutes", "it waited" if code is None else f"exit {code}; begun again")


def reboot(night: Night) -> None:
    night.kill()
    pause(120 / night.scale)
    night.begin()
    night.tell("the machine is rebooted (kill -9)", "begun again two minutes later")


def full_disk(night: Night) -> None:
    if why_not():
        night.tell("the disk fills up", f"left out: {why_not()}")
        return
    ballast = night.directory / "disk" / "somebody's backup"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**20))
    code = night.ended(within_s=600 / night.scale)
    ballast.unlink()
    if code is not None:
        night.begin()
    night.tell("the disk fills up", "it waited" if code is None else f"exit {code}; begun again once there was room")


def revoked_key(night: Night) -> None:
    night.change(access={"keys_revoked": True})
    code = night.ended(within_s=600 / night.scale)
    night.change(access={"keys_revoked": False, "accepted_keys": [NEW_KEY]})
    if code is None:
        night.kill()
    night.use_key(NEW_KEY)
    night.begin()
    how = "it waited, and was ended by hand" if code is None else f"exit {code}"
    night.tell("the key is revoked", f"{how}; begun again with a new one")


PLOT: tuple[tuple[float, Callable[[Night], None]], ...] = (
    (0.10, storm),
    (0.25, no_credit),
    (0.40, outage),
    (0.55, reboot),
    (0.70, full_disk),
    (0.85, revoked_key),
)


def live_through(night: Night) -> int:
    """Go through the night to the exit code of the run's end."""
    night.begin()
    while not (night.run_dir / "run.db").exists():
        pause(LOOK_S)
    pause(1.0)
    for share, event in PLOT:
        night.work_until(share)
        event(night)
    code = night.ended(within_s=3600)
    assert code is not None
    night.tell("morning", f"exit {code}")
    return code


# --- the morning -----------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """One thing that two sides must agree on."""

    what: str
    one: object
    other: object


def engine_json(*words: str | Path) -> dict[str, Any]:
    done = subprocess.run([*ENGINE, *map(str, words)], capture_output=True, text=True, timeout=CHECK_S_MAX, check=False)
    return dict(json.loads(done.stdout))


def compare(night: Night, verdict: Verdict) -> Iterator[Comparison]:
    """Hold every account of the night against every other."""
    paid = bill(night.addresses)
    judge(night.run_dir, night.source, paid, verdict)
    report = engine_json("report", night.run_dir, "--format", "json")
    checked = engine_json("verify", night.run_dir, "--json")
    summary = json.loads((night.run_dir / "summary.json").read_bytes())
    results = [json.loads(line) for line in (night.run_dir / "results.jsonl").read_bytes().splitlines()]
    good = [result for result in results if result["status"] == "succeeded"]
    files = [file for result in good for file in result["files"]]
    found = report["survey"]
    yield Comparison("jobs the provider was paid for / jobs with a video", paid["paid"], len(good))
    yield Comparison("bodies paid for more than once", paid["paid_more_than_once"], 0)
    yield Comparison(
        "US dollars by the bill / by the ledger", round(paid["billed_usd"], 3), round(found["spent_usd"], 3)
    )
    costs = sum(result["cost_usd"] or 0.0 for result in results)
    yield Comparison("US dollars by the bill / by the result lines", round(paid["billed_usd"], 3), round(costs, 3))
    yield Comparison("lines in / lines out", night.jobs, len({result["line"] for result in results}))
    yield Comparison("lines out / lines by the ledger", len(results), found["written"])
    yield Comparison("succeeded by the output / by the report", len(good), found["succeeded"])
    yield Comparison("failed by the output / by the report", len(results) - len(good), found["failed"])
    yield Comparison("succeeded by the summary / by the report", summary["succeeded"], found["succeeded"])
    yield Comparison("accepted by the bill / by the ledger", paid["accepted"], found["submissions"])
    yield Comparison("files on disk / files in the output", sum(1 for _ in night.run_dir.glob("media/*")), len(files))
    yield Comparison("bytes by the output / by the report", sum(file["bytes"] for file in files), found["media_bytes"])
    yield Comparison("files that are not what their line says", verdict.bad_files, 0)
    yield Comparison("jobs of the report's table / lines in", len(report["jobs"]), night.jobs)
    yield Comparison(
        "promises kept by the report", sum(promise["kept"] for promise in report["promises"]), len(report["promises"])
    )
    yield Comparison("findings of engine verify", len(checked["findings"]), 0)
    for name in ("paid_twice", "lost", "doubled", "missing", "torn", "parts_left", "unknown"):
        yield Comparison(name.replace("_", " "), getattr(verdict, name), 0)
    yield Comparison("key seen by a stranger", paid["key_leaks"], 0)
    yield Comparison("tracebacks", night.said.read_text().count("Traceback"), 0)


def rehearse(directory: Path, *, jobs: int, scale: float) -> dict[str, Any]:
    """Play one night and print what it came to."""
    knobs = (
        f"work.duration_median_s={JOBS_MEDIAN_S / scale}",
        f"work.duration_sigma={JOBS_SIGMA}",
        f"rate.requests_per_window={PER_MINUTE}",
        f"rate.window_s={WINDOW_S / scale}",
        f"retention.record_life_s={RETENTION_S / scale}",
        "faults.failed_job=0.01",
        "faults.reply_lost_after=0.002",
        "faults.poll_error_500=0.01",
        "faults.download_dropped=0.01",
    )
    with contextlib.ExitStack() as stack:
        addresses = stack.enter_context(simulator("calm", *knobs))
        if not why_not():
            stack.enter_context(small_disk(directory / "disk", DISK))
        night = Night(directory, addresses, jobs=jobs, scale=scale)
        code = live_through(night)
        wall_s = night.wall_s
        comparisons = list(compare(night, Verdict(jobs=jobs)))
    print_table(night.chapters)
    print()
    print_table([{**pair._asdict(), "agree": "yes" if pair.one == pair.other else "NO"} for pair in comparisons])
    print(f"\nWhat the run said in the morning:\n\n{night.last_words()}")
    ideal_s = jobs * JOBS_MEDIAN_S / scale / PLACES
    figures = {
        "exit code": code,
        "wall s": round(wall_s, 1),
        "hours unscaled": round(wall_s * scale / 3600, 2),
        "times an undisturbed night": round(wall_s / ideal_s, 2),
        "engine CPU s": round(night.cpu_s, 1),
        "engine CPU ms/job": round(night.cpu_s / jobs * 1000, 2),
        "engine peak MiB": round(night.peak_mib),
        "all agree": all(pair.one == pair.other for pair in comparisons),
    }
    print_table([figures])
    return {"figures": figures, "chapters": night.chapters, "comparisons": [pair._asdict() for pair in comparisons]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--scale", type=float, default=120.0)
    parser.add_argument("--keep", type=Path, help="a directory for everything; by default it is removed in the end")
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/night.json"))
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        found = rehearse(directory, jobs=asked.jobs, scale=asked.scale)
    write_json(asked.json, {"benchmark": "night", "jobs": asked.jobs, "scale": asked.scale, **found})


if __name__ == "__main__":
    main()
