"""What a crashed and finished batch came to: its output, its files and its ledger against the provider's bill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TRACEBACK = "Traceback (most recent call last)"


@dataclass
class Verdict:
    """What a crashed and finished batch came to; verdicts can be added up.

    Attributes:
        jobs: input lines.
        batches: how many batches these figures are of.
        kills: processes ended with SIGKILL.
        cuts: file systems that lost what was not on the disk.
        errors: errors of the disk that were injected.
        exit_code: of the last run.
        crash_exit_codes: how often runs ended by themselves before the last one, by exit code.
        paid_twice: jobs that the provider was paid for more often than their body stands in the input.
        lost: paid for, yet without a succeeded line and its file.
        doubled, missing, torn: result lines; a job whose outcome is unknown, and reported so, misses none.
        bad_files: files that are not what their line says.
        parts_left: unfinished files beside the input or below.
        tracebacks: processes that showed one.
        unknown: jobs whose outcome stayed unknown.
        submits_in_window_max: the most submissions that the provider saw in one of its windows.
        struck: where the process was struck, with how often.
        unclean: how to repeat the batches that were not clean.
    """

    jobs: int = 0
    batches: int = 1
    kills: int = 0
    cuts: int = 0
    errors: int = 0
    exit_code: int = 0
    crash_exit_codes: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    paid: int = 0
    paid_twice: int = 0
    lost: int = 0
    doubled: int = 0
    missing: int = 0
    torn: int = 0
    bad_files: int = 0
    parts_left: int = 0
    tracebacks: int = 0
    unknown: int = 0
    in_flight_max: int = 0
    submits_in_window_max: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)
    unclean: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether no promise was broken."""
        broken = (self.paid_twice, self.lost, self.doubled, self.missing, self.torn, self.bad_files, self.parts_left)
        return not any((*broken, self.tracebacks))

    def note_end(self, exit_code: int, said: str) -> None:
        """Take down a run that ended by itself although it was to be struck."""
        code = str(exit_code)
        self.crash_exit_codes[code] = self.crash_exit_codes.get(code, 0) + 1
        self.tracebacks += TRACEBACK in said

    def note_struck(self, where: str) -> None:
        """Take down where a process was struck."""
        self.struck[where] = self.struck.get(where, 0) + 1

    def as_json(self) -> str:
        """Return the figures, without what does not occur in this kind of test."""
        figures = {name: value for name, value in asdict(self).items() if value not in ({}, [])}
        return json.dumps({**figures, "clean": self.is_clean})


def total(verdicts: Iterable[Verdict]) -> Verdict:
    """Add verdicts up; of maxima and exit codes the highest counts."""
    whole = Verdict(batches=0)
    for verdict in verdicts:
        for name, value in asdict(verdict).items():
            mine = getattr(whole, name)
            if isinstance(value, dict):
                setattr(whole, name, dict(Counter(mine) + Counter(value)))
            elif name in ("exit_code", "in_flight_max", "submits_in_window_max"):
                setattr(whole, name, max(mine, value))
            else:
                setattr(whole, name, mine + value)
    whole.wall_s = round(whole.wall_s, 1)
    return whole


def judge(run_dir: Path, source: Path, paid: dict[str, Any], verdict: Verdict, *, output: Path | None = None) -> None:
    """Hold output, files and ledger against the provider's bill."""
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    wanted = Counter(json.dumps(line["params"], sort_keys=True) for line in lines)
    results = _results(output or run_dir / "results.jsonl", verdict)
    times_written = Counter(result["line"] for result in results)
    verdict.doubled = sum(times - 1 for times in times_written.values())
    unknown = _unknown_lines(run_dir / "run.db")
    verdict.unknown = len(unknown)
    verdict.missing = len(set(range(1, len(lines) + 1)) - times_written.keys() - unknown)
    verdict.statuses = dict(Counter(result["status"] for result in results))
    verdict.bad_files = sum(not _file_is_right(run_dir, file) for result in results for file in result["files"])
    verdict.parts_left = sum(1 for _ in source.parent.glob("**/*.part"))
    verdict.paid = sum(body["paid"] for body in paid["bodies"])
    verdict.paid_twice = sum(
        max(0, body["paid"] - wanted[json.dumps(body["body"], sort_keys=True)]) for body in paid["bodies"]
    )
    succeeded = {result["request_id"] for result in results if result["status"] == "succeeded"}
    verdict.lost = max(0, verdict.paid - verdict.paid_twice - len(succeeded))
    verdict.in_flight_max = paid["in_flight_max"]
    verdict.submits_in_window_max = paid["submits_in_window_max"]


def _unknown_lines(ledger: Path) -> set[int]:
    """Return the lines whose submission may have been paid for, and which the run has reported so."""
    if not ledger.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        return {line for (line,) in db.execute("SELECT line FROM job JOIN input USING (job) WHERE state = 'unknown'")}


def _results(output: Path, verdict: Verdict) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    if not output.exists():
        return results
    *lines, rest = output.read_bytes().split(b"\n")
    verdict.torn = int(bool(rest))
    for text in lines:
        try:
            results.append(json.loads(text))
        except ValueError:
            verdict.torn += 1
    return results


def _file_is_right(run_dir: Path, file: dict[str, Any]) -> bool:
    path = run_dir / file["path"]
    if not path.is_file():
        return False
    content = path.read_bytes()
    return bool(len(content) == file["bytes"] and hashlib.sha256(content).hexdigest() == file["sha256"])
