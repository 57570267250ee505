"""One batch against one simulated provider: what it is run with, how it is struck, how it is finished and judged."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tests.crash.harness import ENGINE, bill, crash, finish, run_command, simulator, write_jobs
from tests.crash.judge import TRACEBACK, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    CommandOf: TypeAlias = Callable[[Path, Path, dict[str, str], "Plan"], list[str]]

QUICK_WORK = ("work.duration_median_s=0.2",)
QUICK_PACE = (
    "limits.submits_per_minute=2400",
    "limits.polls_per_minute=3000",
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
        directory: where everything of the batch lies, the input first.
        run_dir: where the run lies.
        command: what begins the run and goes on with it.
        output: where result lines go, if not to the run directory.
    """

    plan: Plan
    directory: Path
    addresses: dict[str, str]
    run_dir: Path
    command: list[str]
    output: Path | None = None
    verdict: Verdict = field(default_factory=Verdict)

    def __post_init__(self) -> None:
        self.source = self.directory / "jobs.jsonl"
        self.verdict.jobs = self.plan.jobs
        self._began = time.perf_counter()

    @property
    def words(self) -> list[str]:
        """What follows ``engine`` in the command."""
        return self.command[len(ENGINE) :]

    def started(self) -> subprocess.Popen[bytes]:
        """Run beside the caller, who sees to its end."""
        return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, *, after_s: float) -> bool:
        """Run, and kill the process after a while; returns whether it was still alive."""
        killed = crash(self.command, after_s=after_s)
        self.verdict.kills += killed
        return killed

    def finish(self) -> Verdict:
        """Run to the end and judge what is there."""
        last = finish(self.command)
        verdict = self.verdict
        verdict.exit_code = last.returncode
        verdict.tracebacks += TRACEBACK in last.stderr
        judge(self.run_dir, self.source, bill(self.addresses), verdict, output=self.output)
        verdict.wall_s = round(time.perf_counter() - self._began, 1)
        if not verdict.is_clean:
            print(last.stderr, file=sys.stderr)
        return verdict


def engine_command(source: Path, run_dir: Path, addresses: dict[str, str], plan: Plan) -> list[str]:
    """Return the engine's command."""
    return run_command(source, run_dir, addresses, plan.settings)


@contextlib.contextmanager
def batch(
    directory: Path,
    plan: Plan,
    *,
    run_dir: Path | None = None,
    command_of: CommandOf = engine_command,
    extra: Sequence[str] = (),
    output: Path | None = None,
) -> Iterator[Batch]:
    """Write the input, start the provider, and yield the batch; ``extra`` words end its command."""
    directory.mkdir(parents=True, exist_ok=True)
    source, run_dir = directory / "jobs.jsonl", run_dir or directory / "jobs.run"
    write_jobs(source, plan.jobs, copies=plan.copies)
    with simulator(plan.scenario, *plan.scenario_settings) as addresses:
        command = [*command_of(source, run_dir, addresses, plan), *extra]
        yield Batch(plan, directory, addresses, run_dir, command, output)


def tidy(directory: Path, verdict: Verdict, what: str) -> Verdict:
    """Remove a batch that is clean; of another, keep everything and say how to repeat it."""
    if verdict.is_clean:
        shutil.rmtree(directory)
    else:
        verdict.unclean.append(what)
    return verdict
