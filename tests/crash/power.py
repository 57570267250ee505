"""Cut the power of a run's disk at random moments, until the run has finished or the cuts are used up.

The process is stopped, its file system is shut down so that only what had reached the disk stays there, and then the
process is killed: as near to one instant as a machine that goes on living can come.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.crash.batch import Batch, Plan, batch, tidy
from tests.crash.file_systems import LOGFLUSH, NOLOGFLUSH, PowerDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.judge import Verdict

PAUSE_S = (0.3, 3.0)
LOGFLUSH_SHARE = 0.2
POWER_PLAN = Plan(jobs=80, scenario_settings=("work.duration_median_s=0.4",))


def run_and_cut(crashed: Batch, disk: PowerDisk, *, after_s: float, flag: int) -> bool:
    """Run for a while, cut the power and come back; returns whether the run was still at work."""
    process = crashed.started()
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            disk.cut(flag)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(30)
        disk.power_on()
        crashed.verdict.cuts += 1
        return True
    return False


def cut_and_finish(directory: Path, plan: Plan, *, cuts: int, seed: int) -> Verdict:
    """Run a batch, cut its power up to ``cuts`` times, let it finish, and judge what is there."""
    dice = random.Random(seed)
    with PowerDisk(directory) as disk, batch(directory, plan, run_dir=disk.place / "jobs.run") as crashed:
        while crashed.verdict.cuts < cuts:
            flag = LOGFLUSH if dice.random() < LOGFLUSH_SHARE else NOLOGFLUSH
            if not run_and_cut(crashed, disk, after_s=dice.uniform(*PAUSE_S), flag=flag):
                break
        return crashed.finish()


def batches(directory: Path, plan: Plan, *, cuts: int, seed: int) -> Iterator[Verdict]:
    """Cut as many batches as it takes to use ``cuts`` up; each has a seed of its own."""
    left = cuts
    while left > 0:
        verdict = cut_and_finish(directory / str(seed), plan, cuts=left, seed=seed)
        if not verdict.cuts:
            raise SystemExit("a batch was over before its first cut: it needs more jobs")
        yield tidy(directory / str(seed), verdict, f"seed {seed}")
        left, seed = left - verdict.cuts, seed + 1
