"""Kill a run at random moments, until it has finished or the kills are used up; batch after batch."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.crash.batch import Plan, batch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.judge import Verdict

PAUSE_S = (0.4, 1.5)


def crash_and_finish(
    directory: Path, plan: Plan, *, kills: int, seed: int, pause_s: tuple[float, float] = PAUSE_S
) -> Verdict:
    """Run a batch, kill it up to ``kills`` times at random moments, let it finish, and judge what is there."""
    dice = random.Random(seed)
    with batch(directory, plan) as crashed:
        while crashed.verdict.kills < kills and crashed.kill(after_s=dice.uniform(*pause_s)):
            pass
        return crashed.finish()


def batches(
    directory: Path, plan: Plan, *, kills: int, seed: int, pause_s: tuple[float, float] = PAUSE_S
) -> Iterator[Verdict]:
    """Crash as many batches as it takes to use ``kills`` up; each has a seed of its own."""
    left = kills
    while left > 0:
        verdict = crash_and_finish(directory / str(seed), plan, kills=left, seed=seed, pause_s=pause_s)
        if not verdict.kills:
            raise SystemExit("a batch was over before its first kill: it needs more jobs or shorter pauses")
        if not verdict.is_clean:
            verdict.unclean.append(f"seed {seed}")
        yield verdict
        left, seed = left - verdict.kills, seed + 1
