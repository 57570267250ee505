"""One batch against one simulated provider: what it is run with, how it is struck, how it is finished and judged."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.crash.harness import ENGINE, bill, crash, finish, run_words, simulator, write_jobs
from tests.crash.judge import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

QUICK_WORK = ("work.duration_median_s=0.2",)
QUICK_PACE = (
    "limits.submits_per_minute=60000",
    "limits.polls_per_minute=60000",
    "polling.expected_duration_s=0.2",
    "recovery.grace_s=0.5",
    "storage.reserve_bytes=0",
)


class Plan(NamedTuple):
    """What a batch is run with; without more said, 20 jobs that take a second in all."""

    jobs: int = 20
    copies: int = 1
    scenario: str = "calm"
    scenario_settings: tuple[str, ...] = QUICK_WORK
    settings: tuple[str, ...] = QUICK_PACE


@dataclass
class Batch:
    """A batch under way.

    Attributes:
        directory: what the batch may write to, the input and the run directory.
        run_dir: where the run lies.
        extra: further words of the command.
        output: where result lines go, if not to the run directory.
    """

    plan: Plan
    directory: Path
    addresses: dict[str, str]
    run_dir: Path
    extra: tuple[str, ...] = ()
    output: Path | None = None
    verdict: Verdict = field(default_factory=Verdict)

    def __post_init__(self) -> None:
        self.source = self.directory / "jobs.jsonl"
        self.verdict.jobs = self.plan.jobs
        self._began = time.perf_counter()

    @property
    def words(self) -> list[str]:
        """What follows ``engine``."""
        return [*run_words(self.source, self.run_dir, self.addresses, self.plan.settings), *self.extra]

    @property
    def command(self) -> list[str]:
        """The command that begins the run and goes on with it."""
        return [*ENGINE, *self.words]

    def kill(self, *, after_s: float) -> bool:
        """Run, and kill the process after a while; returns whether it was still alive."""
        killed = crash(self.command, after_s=after_s)
        self.verdict.kills += killed
        return killed

    def finish(self, command: Sequence[str] = ()) -> Verdict:
        """Run to the end and judge what is there."""
        last = finish(command or self.command)
        verdict = self.verdict
        verdict.exit_code = last.returncode
        verdict.tracebacks += "Traceback" in last.stderr
        judge(self.run_dir, self.source, bill(self.addresses), verdict, output=self.output)
        verdict.wall_s = round(time.perf_counter() - self._began, 1)
        if not verdict.is_clean:
            print(last.stderr, file=sys.stderr)
        return verdict


@contextlib.contextmanager
def batch(
    directory: Path, plan: Plan, *, run_dir: Path | None = None, extra: Sequence[str] = (), output: Path | None = None
) -> Iterator[Batch]:
    """Write the input, start the provider, and yield the batch."""
    directory.mkdir(parents=True, exist_ok=True)
    write_jobs(directory / "jobs.jsonl", plan.jobs, copies=plan.copies)
    with simulator(plan.scenario, *plan.scenario_settings) as addresses:
        yield Batch(plan, directory, addresses, run_dir or directory / "jobs.run", tuple(extra), output)
