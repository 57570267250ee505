"""``engine status``: beside whoever works, and without touching anything."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.console.status_command import _vital_lines
from engine.ledger.vitals import Vitals
from tests.console.conftest import ended, engine, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

TEXTS = {"waits_for": None, "fleet": "2 nodes, 16 places"}


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


def test_it_says_afterwards_why_a_run_stopped(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    options = provider.options("budget.price_usd=4.0", "budget.cost_usd_max=5", "limits.max_in_flight=1")
    assert engine("run", jobs, *options, cwd=tmp_path).code == 3
    summary = json.loads((tmp_path / "jobs.run" / "summary.json").read_text())
    stopped = _status(tmp_path)["stopped"]
    assert stopped == summary["stopped"]
    assert (stopped["kind"], "raise budget.cost_usd_max" in stopped["hint"]) == ("budget", True)
    text = engine("status", "jobs.run", cwd=tmp_path).out
    assert f"stopped    {stopped['message']}\n" in text
    assert "stopped early: the budget" in engine("report", "jobs.run", "--format", "md", cwd=tmp_path).out
    assert engine("resume", "jobs.run", "--set", "budget.cost_usd_max=500", cwd=tmp_path).code == 0
    assert _status(tmp_path)["stopped"] is None


def test_it_says_that_a_process_was_killed(slow_provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 3)
    with started("run", jobs, *slow_provider.options(), cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(
            lambda: log.is_file() and log.read_text().count('"submitted"') == 3, description="all is in flight"
        )
        assert _status(tmp_path)["stopped"] is None
        process.kill()
        process.wait(10)
    assert _status(tmp_path)["stopped"]["kind"] == "killed"
    assert "without closing its books" in engine("status", "jobs.run", cwd=tmp_path).out


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


def test_a_run_at_work_shows_its_speed_and_what_it_waits_for(slow_provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 12)
    with started("run", jobs, *slow_provider.options("limits.max_in_flight=3"), cwd=tmp_path) as process:
        wait_in_thread_until(
            lambda: (
                (tmp_path / "jobs.run" / "results.jsonl").is_file()
                and "at the provider" in (_vitals(tmp_path).get("waits_for") or "")
                and bool(_vitals(tmp_path).get("eta_s"))
            ),
            description="there is an estimate, and a word on what it waits for",
        )
        shown, vitals = engine("status", "jobs.run", cwd=tmp_path).out, _vitals(tmp_path)
        process.send_signal(signal.SIGINT)
        ended(process)
    assert vitals["finished_per_minute"] > 0
    assert vitals["eta_spread_s"] > 0
    assert vitals["polls_per_job"] >= 1
    assert "eta        " in shown
    assert _status(tmp_path)["vitals"] is None


def _vitals(directory: Path) -> dict[str, Any]:
    return dict(_status(directory)["vitals"] or {})


def test_how_the_fleet_does_is_shown_while_somebody_works() -> None:
    measured = msgspec.convert(dict.fromkeys(Vitals.__struct_fields__, 0.0) | TEXTS, Vitals)
    assert "fleet      2 nodes, 16 places" in _vital_lines(measured)


def test_jobs_are_listed_by_where_they_are(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 2)
    with jobs.open("a") as lines:
        lines.write("not a job\n")
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    assert engine("status", "jobs.run", "--jobs", "failed", cwd=tmp_path).out == "no job is failed\n"
    assert "line 3  done  bad_line" in engine("status", "jobs.run", "--jobs", "invalid", cwd=tmp_path).out
    listed = engine("status", "jobs.run", "--jobs", "succeeded", "--json", cwd=tmp_path).out.splitlines()
    assert [json.loads(line)["id"] for line in listed] == ["clip-00000", "clip-00001"]
    assert all(json.loads(line)["path"].startswith("media/") for line in listed)


def test_the_whole_history_of_a_job_is_told_with_times(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    events = json.loads(engine("status", "jobs.run", "--job", "clip-00001", "--json", cwd=tmp_path).out)
    assert [event["what"] for event in events] == [
        "read", "intended", "accepted", "completed", "stored", "file", "done",
    ]  # fmt: skip
    times = [event["utc"] for event in events if event["utc"]]
    assert times == sorted(times)
    shown = engine("status", "jobs.run", "--job", "clip-00001", cwd=tmp_path).out
    assert "$4.48 charged" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--jobs", "faild"), "did you mean 'failed'?"), (("--job", "clip-9"), "no job of this run has the id 'clip-9'")],
)
def test_a_mistake_is_named(provider: Provider, jobs: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    engine("run", jobs, *provider.options(), cwd=tmp_path)
    done = engine("status", "jobs.run", *words, cwd=tmp_path)
    assert (done.code, said in done.err) == (2, True)
