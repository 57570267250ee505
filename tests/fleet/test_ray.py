"""The real Ray on this machine: a batch with two private workers, one of which is killed in the middle."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import ended, engine, environment, provider_with, started
from tests.crash.harness import write_jobs
from tests.fleet.cluster import command_of
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.processes,
    pytest.mark.sockets,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
]

JOBS = 40
START_S_MAX = 120.0


@pytest.fixture
def ray_home() -> Iterator[str]:
    """A directory for Ray with a short name: its sockets' paths have a limit."""
    home = tempfile.mkdtemp(prefix="fl", dir="/tmp")
    yield home
    shutil.rmtree(home, ignore_errors=True)


def workers_under(home: str) -> list[int]:
    """Return the workers of the Ray that lives in a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and b"ray::Worker" in command_of(int(entry.name)):
            try:
                seen = (entry / "environ").read_bytes()
            except OSError:
                continue
            if home.encode() in seen:
                found.append(int(entry.name))
    return found


def events(run: Path) -> list[dict[str, object]]:
    try:
        return [json.loads(line) for line in (run / "run.log").read_text().splitlines()]
    except OSError:
        return []


def vitals(directory: Path) -> dict[str, object]:
    found = json.loads(engine("status", "jobs.run", "--json", cwd=directory).out)
    return dict(found["vitals"] or {})


def test_a_worker_that_is_killed_costs_time_and_no_job(tmp_path: Path, ray_home: str) -> None:
    write_jobs(tmp_path / "jobs.jsonl", JOBS)
    run = tmp_path / "jobs.run"
    knobs = ("work.duration_median_s=0.2", "rate.requests_per_window=0", "output.file_bytes=300000")
    with provider_with(*knobs, "downloads.bytes_per_s=200000") as provider:
        options = provider.options("downloads.concurrency=2", "limits.max_in_flight=40")
        words = ("run", "jobs.jsonl", "--fleet", "local:2", *options)
        with started(*words, cwd=tmp_path, env=environment(RAY_TMPDIR=ray_home)) as process:
            wait_in_thread_until(
                lambda: sum(event["event"] == "fleet_joined" for event in events(run)) == 2,
                description="both workers have joined",
                within_s=START_S_MAX,
            )
            wait_in_thread_until(
                lambda: str(vitals(tmp_path).get("fleet")).startswith("2 workers, 4 places"),
                description="another terminal sees the fleet",
            )
            os.kill(workers_under(ray_home)[0], signal.SIGKILL)
            done = ended(process)
        paid = provider.bill()
    assert done.code == 0, done.err
    assert (paid["paid"], paid["paid_surplus"]) == (JOBS, 0)
    assert any(event["event"] == "fleet_left" for event in events(run))
    assert any(int(str(event["fetched_there"])) > 0 for event in events(run) if event["event"] == "fleet_closed")
    checked = engine("verify", run, "--json", cwd=tmp_path)
    assert (checked.code, json.loads(checked.out)["files"]) == (0, JOBS)
    assert workers_under(ray_home) == []


def test_the_doctor_looks_at_a_fleet(tmp_path: Path, ray_home: str) -> None:
    with provider_with("rate.requests_per_window=0") as provider:
        words = ("doctor", "--json", "--fleet", "local:1", *provider.options())
        with started(*words, cwd=tmp_path, env=environment(RAY_TMPDIR=ray_home)) as process:
            done = ended(process)
    checks = {check["check"]: check for check in json.loads(done.out)["checks"]}
    assert [checks[name]["level"] for name in ("fleet", "fleet_token", "fleet_node")] == ["ok", "ok", "ok"]
    assert "1 workers" not in checks["fleet"]["message"]
    assert "MB/s" in checks["fleet_node"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_what_ray_says_is_told_as_what_it_means() -> None:
    from engine.fleet.bridge import cause_of  # noqa: PLC0415 (needs Ray)

    def told(said: Exception, because: Exception | None = None) -> str:
        said.__cause__ = because
        return cause_of(said)[0]

    refused = RuntimeError("Failed to connect to GCS. Last connection error: ... InvalidAuthToken: ...")
    assert told(ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"), refused) == "token"
    assert told(RuntimeError("Version mismatch: The cluster was started with: Ray: 2.59.0")) == "version"
    assert told(ConnectionRefusedError(111, "Connection refused")) == "address"
    assert told(RuntimeError("something else")) == "ray"
