"""Kill a run at random moments, until it has finished or the kills are used up; batch after batch."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.crash.batch import Plan, batch, engine_command, tidy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.batch import CommandOf
    from tests.crash.judge import Verdict

PAUSE_S = (0.4, 4.0)
"""A process that takes over asks the history first, at most once a second: shorter lives would all end there."""

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
    workers: int = 1,
    pause_s: tuple[float, float] = PAUSE_S,
    command_of: CommandOf = engine_command,
) -> Iterator[Verdict]:
    """Crash as many batches as it takes to use ``kills`` up, some at once; each has a seed of its own."""
    left = kills
    with ThreadPoolExecutor(workers) as pool:
        while left > 0:

            def crash_one(own_seed: int, share: int = -(-left // workers)) -> Verdict:
                place = directory / str(own_seed)
                verdict = crash_and_finish(
                    place, plan, kills=share, seed=own_seed, pause_s=pause_s, command_of=command_of
                )
                return tidy(place, verdict, f"seed {own_seed}")

            seeds = range(seed, seed + workers)
            verdicts = list(pool.map(crash_one, seeds))
            if not any(verdict.kills for verdict in verdicts):
                raise SystemExit("batches were over before their first kill: they need more jobs or shorter pauses")
            yield from verdicts
            left, seed = left - sum(verdict.kills for verdict in verdicts), seed + workers
