"""A finished run that each test may damage: real files, a real ledger, six jobs."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engine.audit.audit import Audit, audit
from engine.disk.run_dir import RunDir
from tests.runs.conftest import provider, run, write_jobs

if TYPE_CHECKING:
    from pathlib import Path

Audited = Callable[..., Audit]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a finished run once."""
    jobs = write_jobs(tmp_path_factory.mktemp("finished") / "jobs.jsonl", 6)

    async def finish() -> None:
        async with provider() as simulator:
            outcome = await run(simulator, jobs)
        assert outcome.statuses["succeeded"] == 6

    asyncio.run(finish())
    return jobs.with_suffix(".run")


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(finished, tmp_path / "night.run")
    return tmp_path / "night.run"


@pytest.fixture
def audited(root: Path) -> Audited:
    """Give a function that audits the run."""

    def audited(*, quick: bool = False, at_work: bool = False) -> Audit:
        return audit(RunDir(root), quick=quick, at_work=at_work)

    return audited


def change(root: Path, statement: str, *parameters: object) -> None:
    """Change the ledger behind the engine's back."""
    with closing(sqlite3.connect(root / "run.db", isolation_level=None)) as db:
        db.execute(statement, parameters)
