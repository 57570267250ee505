"""Kill a real run again and again, and compare what is left with what the provider was paid for.

The provider is ``engine simulate`` in a process of its own, so that it lives on as a real one would. Every
process that is ended here was started here and is ended by its id. By hand::

    python -m tests.crash.harness --jobs 600 --kills 100 --scenario hostile
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENGINE = (sys.executable, "-m", "engine")
RUN_S_MAX = 300.0


@dataclass
class Verdict:
    """What a crashed and finished batch came to.

    Attributes:
        jobs: input lines.
        kills: processes ended with SIGKILL.
        exit_code: of the last run.
        paid_twice: jobs that the provider was paid for more often than their body stands in the input.
        lost: paid for, yet without a succeeded line and its file.
        doubled, missing, torn: result lines.
        bad_files: files that are not what their line says.
        parts_left: unfinished downloads in the media directory.
        unknown: jobs whose outcome stayed unknown.
        submits_in_window_max: the most submissions that the provider saw in one of its windows.
    """

    jobs: int
    kills: int = 0
    exit_code: int = -1
    wall_s: float = 0.0
    paid: int = 0
    paid_twice: int = 0
    lost: int = 0
    doubled: int = 0
    missing: int = 0
    torn: int = 0
    bad_files: int = 0
    parts_left: int = 0
    unknown: int = 0
    in_flight_max: int = 0
    submits_in_window_max: int = 0
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Whether no promise was broken."""
        return not any(
            (self.paid_twice, self.lost, self.doubled, self.missing, self.torn, self.bad_files, self.parts_left)
        )


@contextlib.contextmanager
def simulator(scenario: str, *settings: str) -> Iterator[dict[str, str]]:
    """Run the provider as a process; yield its addresses."""
    command = [*ENGINE, "simulate", "--port", "0", "--scenario", scenario]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def bill(addresses: dict[str, str]) -> dict[str, Any]:
    """Read what the provider was paid for."""
    with urllib.request.urlopen(addresses["bill_url"], timeout=30) as reply:
        return dict(json.load(reply))


def operate(addresses: dict[str, str], path: str, change: dict[str, Any]) -> None:
    """Change the simulated provider while it runs."""
    request = urllib.request.Request(
        f"{addresses['base_url']}/_simulator/{path}",
        data=json.dumps(change).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


def write_jobs(path: Path, count: int, *, copies: int = 1) -> None:
    """Write ``count`` job lines; each body stands ``copies`` times."""
    with path.open("w") as file:
        for number in range(count):
            params = {
                "image_url": f"https://example.com/face-{number // copies}.png",
                "audio_url": f"https://example.com/take-{number // copies}.wav",
                "prompt": f"says sentence {number // copies}",
            }
            file.write(json.dumps({"id": f"clip-{number:05}", "params": params}) + "\n")


def run_command(jobs: Path, run_dir: Path, addresses: dict[str, str], settings: Sequence[str]) -> list[str]:
    """Return the command that begins the run and goes on with it."""
    command = [*ENGINE, "run", str(jobs), "--run-dir", str(run_dir), "--quiet"]
    fixed = (
        "provider.preset=simulator",
        f"provider.base_url={addresses['base_url']}",
        f"provider.history_url={addresses['history_url']}",
    )
    for setting in (*fixed, *settings):
        command += ["--set", setting]
    return command


def finish(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)


def crash(command: Sequence[str], *, after_s: float) -> bool:
    """Start a command and end it with SIGKILL after a while; returns whether it was still alive."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        return True
    return False


def crash_and_finish(
    directory: Path,
    *,
    jobs: int,
    kills: int,
    seed: int,
    scenario: str = "calm",
    scenario_settings: Sequence[str] = (),
    settings: Sequence[str] = (),
    pause_s: tuple[float, float] = (0.4, 1.5),
    copies: int = 1,
) -> Verdict:
    """Run a batch, kill it ``kills`` times at random moments, let it finish, and judge what is there."""
    dice = random.Random(seed)
    source, run_dir = directory / "jobs.jsonl", directory / "jobs.run"
    write_jobs(source, jobs, copies=copies)
    verdict = Verdict(jobs)
    began = time.perf_counter()
    with simulator(scenario, *scenario_settings) as addresses:
        command = run_command(source, run_dir, addresses, settings)
        while verdict.kills < kills:
            if not crash(command, after_s=dice.uniform(*pause_s)):
                break
            verdict.kills += 1
        last = finish(command)
        verdict.exit_code = last.returncode
        judge(run_dir, source, bill(addresses), verdict)
    verdict.wall_s = round(time.perf_counter() - began, 1)
    if not verdict.is_clean:
        print(last.stderr, file=sys.stderr)
    return verdict


def judge(run_dir: Path, source: Path, paid: dict[str, Any], verdict: Verdict) -> None:
    """Hold output, files and ledger against the provider's bill."""
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    wanted = Counter(json.dumps(line["params"], sort_keys=True) for line in lines)
    results: list[dict[str, Any]] = []
    for text in (run_dir / "results.jsonl").read_bytes().split(b"\n")[:-1]:
        try:
            results.append(json.loads(text))
        except ValueError:
            verdict.torn += 1
    times_written = Counter(result["line"] for result in results)
    verdict.doubled = sum(times - 1 for times in times_written.values())
    verdict.missing = sum(1 for number in range(1, len(lines) + 1) if number not in times_written)
    verdict.statuses = dict(Counter(result["status"] for result in results))
    verdict.bad_files = sum(not _file_is_right(run_dir, file) for result in results for file in result["files"])
    verdict.parts_left = sum(1 for _ in (run_dir / "media").glob("*.part"))
    verdict.paid = sum(body["paid"] for body in paid["bodies"])
    verdict.paid_twice = sum(
        max(0, body["paid"] - wanted[json.dumps(body["body"], sort_keys=True)]) for body in paid["bodies"]
    )
    succeeded = {result["request_id"] for result in results if result["status"] == "succeeded"}
    verdict.lost = max(0, verdict.paid - verdict.paid_twice - len(succeeded))
    verdict.in_flight_max = paid["in_flight_max"]
    verdict.submits_in_window_max = paid["submits_in_window_max"]
    with contextlib.closing(sqlite3.connect(f"file:{run_dir / 'run.db'}?mode=ro", uri=True)) as db:
        (verdict.unknown,) = db.execute("SELECT count(*) FROM job WHERE state = 'unknown'").fetchone()


def _file_is_right(run_dir: Path, file: dict[str, Any]) -> bool:
    path = run_dir / file["path"]
    if not path.is_file():
        return False
    content = path.read_bytes()
    return bool(len(content) == file["bytes"] and hashlib.sha256(content).hexdigest() == file["sha256"])


def main() -> None:
    """Run the harness by hand and print the verdict as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, nargs=2, default=(0.4, 1.5), metavar=("MIN_S", "MAX_S"))
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--scenario", default="calm")
    parser.add_argument("--scenario-set", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--keep", type=Path, help="a directory to work in and keep")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(exist_ok=True)
        verdict = crash_and_finish(
            directory,
            jobs=options.jobs,
            kills=options.kills,
            seed=options.seed,
            scenario=options.scenario,
            scenario_settings=options.scenario_set,
            settings=options.settings,
            copies=options.copies,
            pause_s=tuple(options.pause),
        )
    print(json.dumps({**asdict(verdict), "clean": verdict.is_clean}, indent=1))
    sys.exit(0 if verdict.is_clean else 1)


if __name__ == "__main__":
    main()
