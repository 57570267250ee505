"""Kill a run at random moments, until it has finished or the kills are used up; batch after batch."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

from tests.crash.batch import Plan, batch, engine_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.batch import CommandOf
    from tests.crash.judge import Verdict

PAUSE_S = (0.4, 1.5)

KILLS_PLAN = Plan(
    jobs=60,
    scenario_settings=(
        "work.duration_median_s=1",
        "faults.reply_delayed=1",
        "fault_details.reply_delayed_s=0.3",
        "faults.reply_lost_after=0.03",
        "rate.window_s=2",
    ),
    settings=(
        "limits.submits_per_minute=1200",
        "limits.polls_per_minute=60000",
        "polling.expected_duration_s=1",
        "recovery.grace_s=3",
        "storage.reserve_bytes=0",
    ),
)
"""Three seconds of submissions whose replies take a while, and some of which never come."""


def crash_and_finish(
    directory: Path,
    plan: Plan,
    *,
    kills: int,
    seed: int,
    pause_s: tuple[float, float] = PAUSE_S,
    command_of: CommandOf = engine_command,
) -> Verdict:
    """Run a batch, kill it up to ``kills`` times at random moments, let it finish, and judge what is there."""
    dice = random.Random(seed)
    with batch(directory, plan, command_of=command_of) as crashed:
        while crashed.verdict.kills < kills and crashed.kill(after_s=dice.uniform(*pause_s)):
            pass
        return crashed.finish()


def batches(
    directory: Path,
    plan: Plan,
    *,
    kills: int,
    seed: int,
    pause_s: tuple[float, float] = PAUSE_S,
    command_of: CommandOf = engine_command,
) -> Iterator[Verdict]:
    """Crash as many batches as it takes to use ``kills`` up; each has a seed of its own."""
    left = kills
    while left > 0:
        place = directory / str(seed)
        verdict = crash_and_finish(place, plan, kills=left, seed=seed, pause_s=pause_s, command_of=command_of)
        if not verdict.kills:
            raise SystemExit("a batch was over before its first kill: it needs more jobs or shorter pauses")
        if verdict.is_clean:
            shutil.rmtree(place)
        else:
            verdict.unclean.append(f"seed {seed}")
        yield verdict
        left, seed = left - verdict.kills, seed + 1
