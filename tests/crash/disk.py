"""A disk that is full or failing under each part of a run: the ledger, the output, the media, the log.

The parts lie on file systems of their own, one of them small. What the run could not do there is done by the same
command once there is room.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.crash import points, syscalls
from tests.crash.batch import Plan, batch
from tests.crash.file_systems import bound, make_room, small_disk
from tests.crash.harness import finish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.judge import Verdict

SIZES = {"ledger": "160k", "output": "8k", "media": "160k", "log": "4k"}
"""Each place with a size that is too small for the batch, and large enough to begin it."""

FULL_PLAN = Plan(jobs=40)
ERRORS = ("EIO", "ENOSPC")
IN_ORDER = frozenset({"0", "3", "4"})
"""How a run may end whose disk refused one call: what it can do without, it does without."""


def fill_and_finish(directory: Path, plan: Plan, small: str) -> Verdict:
    """Run with one place on a small disk until that is full, make room, finish, and judge what is there."""
    places = {name: directory / name for name in SIZES}
    run_dir, output = places["ledger"] / "jobs.run", places["output"] / "results.jsonl"
    extra = ("-o", str(output), "--set", f"storage.root='{places['media']}'")
    for place in places.values():
        place.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(small_disk(places[small], SIZES[small]))
        crashed = stack.enter_context(batch(directory, plan, run_dir=run_dir, extra=extra, output=output))
        if small == "log":
            run_dir.mkdir(mode=0o700)
            for path in (places["log"] / "run.log", run_dir / "run.log"):
                path.touch()
            stack.enter_context(bound(places["log"] / "run.log", run_dir / "run.log"))
        full = finish(crashed.command)
        crashed.verdict.note_end(full.returncode, full.stderr)
        crashed.verdict.errors += 1
        crashed.verdict.note_struck(f"{small} full: exit {full.returncode}")
        make_room(places[small])
        return crashed.finish()


def refuse_and_finish(directory: Path, plan: Plan, error: str, at: int) -> tuple[Verdict, bool]:
    """Let the Nth call fail, finish, and judge what is there; returns also whether the call was reached."""
    with batch(directory, plan) as crashed:
        where = points.strike(crashed, at, error)
        return crashed.finish(), bool(where)


def full_places(directory: Path) -> Iterator[Verdict]:
    """Fill each place in turn."""
    for small in SIZES:
        yield fill_and_finish(directory / f"full-{small}", FULL_PLAN, small)


def refused_calls(directory: Path, plan: Plan, *, step: int, workers: int) -> Iterator[Verdict]:
    """Let one call fail in each run: first as Python makes them, then those that SQLite makes."""
    for error in ERRORS:

        def refuse(place: Path, at: int, error: str = error) -> tuple[Verdict, bool]:
            return refuse_and_finish(place, plan, error, at)

        yield from points.sweep(directory, refuse, error, step=step, workers=workers)
    if reason := syscalls.why_not():
        print(f"errors inside SQLite are skipped: {reason}")
        return
    for call, error in syscalls.FAILING_CALLS:
        yield from syscalls.every_call(directory, plan, call, error, step=step, workers=workers)
