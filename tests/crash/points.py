"""Kill a run at every point where something becomes durable, one after the other; and its recovery too.

A point is the ordinal of a call in ``wrapped.py``. Threads take turns differently in every run, so that an ordinal is
not always the same call; a sweep over all of them, until runs end before they reach theirs, has them all, and the
verdict says which were met.
"""

from __future__ import annotations

import itertools
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.crash.batch import Batch, Plan, batch, tidy
from tests.crash.harness import finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.crash.judge import Verdict

UNREACHED_MAX = 4
"""A sweep ends when so many runs one after the other ended before they reached their point."""


def strike(crashed: Batch, at: int, action: str = "kill") -> str:
    """Run until point ``at`` and strike there; returns where that was, or nothing if the run ended before it."""
    report = crashed.directory / "struck.json"
    report.unlink(missing_ok=True)
    words = (sys.executable, "-m", "tests.crash.wrapped", action, str(at), str(report), *crashed.words)
    done = finish(words)
    where = str(json.loads(report.read_text())["where"])
    if where:
        crashed.verdict.note_struck(where)
        crashed.verdict.kills += action == "kill"
        crashed.verdict.errors += action != "kill"
    if done.returncode >= 0:
        crashed.verdict.note_end(done.returncode, done.stderr)
    return where


def count(directory: Path, plan: Plan) -> int:
    """Return how many points a run has that nobody kills; no two runs have quite as many."""
    with batch(directory, plan) as whole:
        assert not strike(whole, sys.maxsize)
        return int(json.loads((directory / "struck.json").read_text())["count"])


def kill_at(directory: Path, plan: Plan, points: Sequence[int]) -> tuple[Verdict, bool]:
    """Kill a run at the first point, its recovery at the second, and so on; finish and judge.

    Returns:
        the verdict, and whether every point was reached.
    """
    with batch(directory, plan) as crashed:
        reached = all(strike(crashed, point) for point in points)
        return crashed.finish(), reached


def sweep(
    directory: Path,
    try_point: Callable[[Path, int], tuple[Verdict, bool]],
    what: str,
    *,
    step: int,
    workers: int,
    points: range = range(1, 1),
) -> Iterator[Verdict]:
    """Try every ``step``-th point: all of ``points``, and then on until several in a row are not reached."""

    def tried(at: int) -> tuple[Verdict, bool]:
        place = directory / f"{what} {at}"
        verdict, reached = try_point(place, at)
        return tidy(place, verdict, f"{what} {at}: {', '.join(verdict.struck)}"), reached

    unreached, at = 0, points.start
    with ThreadPoolExecutor(workers) as pool:
        while at < points.stop or unreached < UNREACHED_MAX:
            some = range(at, at + workers * step, step)
            at = some.stop
            for verdict, reached in pool.map(tried, some):
                unreached = 0 if reached else unreached + 1
                yield verdict


def every_point(directory: Path, plan: Plan, *, first: int = 1, step: int, workers: int) -> Iterator[Verdict]:
    """Kill one run after the other, each at its point; a busy machine's runs have fewer, so that one is counted."""
    points = range(first, count(directory / "whole", plan) + 1)

    def kill(place: Path, at: int) -> tuple[Verdict, bool]:
        return kill_at(place, plan, [at])

    return sweep(directory, kill, "point", step=step, workers=workers, points=points)


def second_kills(
    directory: Path, plan: Plan, *, first_points: Iterable[int], seconds_max: int, workers: int
) -> Iterator[Verdict]:
    """For each first point: kill the recovery at its points 1, 2, ... up to ``seconds_max``, or at all of them (0)."""
    for first in first_points:

        def kill_twice(place: Path, second: int, first: int = first) -> tuple[Verdict, bool]:
            return kill_at(place, plan, [first, second])

        seconds = sweep(directory, kill_twice, f"point {first}, then", step=1, workers=workers)
        yield from itertools.islice(seconds, seconds_max or None)
