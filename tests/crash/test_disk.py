"""Full and failing disks under single parts of a run; every call by hand: ``python -m tests.crash disk``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash import disk, syscalls
from tests.crash.batch import Plan
from tests.crash.file_systems import NotPossibleError

if TYPE_CHECKING:
    import random
    from pathlib import Path

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

PLAN = Plan(jobs=10)


@pytest.mark.parametrize("place", disk.SIZES)
def test_a_full_disk_under_one_part_ends_the_run_with_4_and_room_finishes_it(tmp_path: Path, place: str) -> None:
    try:
        verdict = disk.fill_and_finish(tmp_path, disk.FULL_PLAN, place)
    except NotPossibleError as error:
        pytest.skip(str(error))
    assert verdict.crash_exit_codes == {"4": 1}
    assert verdict.is_clean, verdict
    assert verdict.exit_code == 0
    assert verdict.statuses == {"succeeded": disk.FULL_PLAN.jobs}


@pytest.mark.parametrize("error", disk.ERRORS)
def test_a_disk_that_refuses_one_call_ends_the_run_in_order_and_the_same_command_finishes_it(
    tmp_path: Path, rng: random.Random, error: str
) -> None:
    verdict, reached = disk.refuse_and_finish(tmp_path, PLAN, error, rng.randint(8, 40))
    assert verdict.is_clean, verdict
    assert reached
    assert verdict.crash_exit_codes.keys() <= disk.IN_ORDER
    assert verdict.statuses == {"succeeded": PLAN.jobs - verdict.unknown}


def test_a_sync_that_fails_inside_a_commit_ends_the_run_with_4(tmp_path: Path, rng: random.Random) -> None:
    if reason := syscalls.why_not():
        pytest.skip(reason)
    verdict, reached = syscalls.strike_and_finish(tmp_path, PLAN, "fdatasync", rng.randint(8, 12), "EIO")
    assert verdict.is_clean, verdict
    assert reached
    assert verdict.crash_exit_codes == {"4": 1}
