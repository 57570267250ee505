"""A sample of kill points in every test run; all of them by hand: ``python -m tests.crash points``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import points, syscalls
from tests.crash.batch import Plan

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.crash.judge import Verdict

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

PLAN = Plan(jobs=10)
SAMPLE = 4
OPENING_POINTS = 20
"""What a recovery does before it goes on like any run."""


def _holds(verdict: Verdict) -> None:
    assert verdict.is_clean, verdict
    assert verdict.statuses == {"succeeded": PLAN.jobs - verdict.unknown}


def test_a_run_killed_where_something_becomes_durable_keeps_every_promise(tmp_path: Path, rng: random.Random) -> None:
    count = points.count(tmp_path / "whole", PLAN)
    assert count > OPENING_POINTS
    sample = rng.sample(range(1, count + 1), SAMPLE)
    verdicts = [points.kill_at(tmp_path / str(point), PLAN, [point])[0] for point in sample]
    for verdict in verdicts:
        _holds(verdict)
    assert sum(verdict.kills for verdict in verdicts) >= SAMPLE - 2  # a run may have fewer points than the one counted


def test_a_recovery_that_is_killed_too_keeps_every_promise(tmp_path: Path, rng: random.Random) -> None:
    first, second = rng.randint(OPENING_POINTS, 2 * OPENING_POINTS), rng.randint(1, OPENING_POINTS)
    verdict, reached = points.kill_at(tmp_path, PLAN, [first, second])
    _holds(verdict)
    assert reached
    assert verdict.kills == 2


def test_a_run_killed_inside_a_commit_keeps_every_promise(tmp_path: Path, rng: random.Random) -> None:
    if reason := syscalls.why_not():
        pytest.skip(reason)
    verdict, reached = syscalls.strike_and_finish(tmp_path, PLAN, "pwrite64", rng.randint(1, 60), syscalls.KILL)
    _holds(verdict)
    assert reached
