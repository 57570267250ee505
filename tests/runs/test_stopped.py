"""Why a process ended stays in the ledger, whatever ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.errors import StorageError
from engine.ledger.schema import read_facts
from engine.ledger.stopped import Stopped, stopped_in
from engine.run.learning import Learning
from tests.runs.conftest import provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets


def _stopped(jobs: Path) -> Stopped | None:
    return stopped_in(read_facts(jobs.with_suffix(".run") / "run.db"), running=False)


async def test_an_error_that_ends_the_work_is_the_reason(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_self: Learning) -> None:
        raise StorageError("no room for it", hint="make some")

    write_jobs(jobs, 2)
    async with provider() as simulator:
        with monkeypatch.context() as patched:
            patched.setattr(Learning, "run", refuse)
            with pytest.raises(StorageError, match="no room"):
                await run(simulator, jobs)
        assert _stopped(jobs) == Stopped("error", "no room for it", "make some")
        await run(simulator, jobs)
        assert _stopped(jobs) is None


async def test_the_reason_is_there_until_the_books_are_closed_another_way(jobs: Path) -> None:
    write_jobs(jobs, 3)
    async with provider() as simulator:
        await run(simulator, jobs, jobs_max=1)
        stopped = _stopped(jobs)
        assert stopped is not None
        assert (stopped.kind, "--max-jobs" in stopped.message + stopped.hint) == ("budget", True)
        await run(simulator, jobs)
    assert _stopped(jobs) is None
