"""``engine status``: beside whoever works, and without touching anything."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import ended, engine, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


def _status(directory: Path) -> dict[str, Any]:
    return dict(json.loads(engine("status", "jobs.run", "--json", cwd=directory).out))


def test_it_shows_a_run_at_work_and_does_not_disturb_it(slow_provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 3)
    with started("run", jobs, *slow_provider.options(), cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(
            lambda: log.is_file() and log.read_text().count('"submitted"') == 3, description="all is in flight"
        )
        found = _status(tmp_path)
        assert ended(process).code == 0
    assert found["in_flight"] == 3
    assert f"process {process.pid} " in found["running"]


def test_its_places_add_up_to_the_lines(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, "--max-jobs", "1", *provider.options(), cwd=tmp_path)
    found = _status(tmp_path)
    places = ("succeeded", "failed", "invalid", "unknown", "held", "in_flight", "remaining")
    assert sum(found[place] for place in places) == found["lines"] == 3


def test_a_run_nobody_works_on_is_said_to_be_so(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    assert "nobody works on it now" in engine("status", "jobs.run", cwd=tmp_path).out
    assert _status(tmp_path)["running"] is None


def test_it_writes_nothing(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (tmp_path / "jobs.run").rglob("*")}
    engine("status", "jobs.run", cwd=tmp_path)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in before} == before


def test_watching_ends_quietly_with_ctrl_c(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    with started("status", "jobs.run", "--watch", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"run ")
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert (done.code, done.err.strip()) == (130, "")
