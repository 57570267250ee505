"""``engine control``: a run at work obeys at once, and so does the process that comes after it."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import ended, engine, provider_with, results, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

ONE_AT_A_TIME = ("limits.max_in_flight=1",)


@pytest.fixture(scope="module")
def steady() -> Iterator[Provider]:
    """A provider whose jobs take three tenths of a second."""
    with provider_with("work.duration_median_s=0.3", "work.duration_sigma=0", "rate.requests_per_window=0") as provider:
        yield provider


def _status(directory: Path) -> dict[str, Any]:
    return dict(json.loads(engine("status", "jobs.run", "--json", cwd=directory).out))


def _wait_for_lines(directory: Path, count: int) -> None:
    output = directory / "jobs.run" / "results.jsonl"
    wait_in_thread_until(
        lambda: output.is_file() and output.read_bytes().count(b"\n") >= count, description=f"{count} jobs are at rest"
    )


def test_a_pause_holds_across_a_restart_until_it_is_taken_back(steady: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 12)
    options = steady.options(*ONE_AT_A_TIME)
    with started("run", jobs, *options, cwd=tmp_path) as process:
        _wait_for_lines(tmp_path, 2)
        done = engine("control", "jobs.run", "--pause", cwd=tmp_path)
        assert (done.code, "submissions pause" in done.err) == (0, True)
        wait_in_thread_until(lambda: _status(tmp_path)["in_flight"] == 0, description="what was in flight is home")
        at_rest = _status(tmp_path)["succeeded"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    with started("run", jobs, *options, cwd=tmp_path) as process:
        wait_in_thread_until(lambda: _status(tmp_path)["running"] is not None, description="it is at work again")
        assert engine("control", "jobs.run", "--set", "limits.max_in_flight=4", cwd=tmp_path).code == 0
        assert _status(tmp_path)["succeeded"] == at_rest < 12
        assert engine("control", "jobs.run", "--resume", cwd=tmp_path).code == 0
        done = ended(process)
    assert done.code == 0
    assert "submissions paused since" in done.err
    assert len(results(tmp_path / "jobs.run")) == 12


def test_a_drained_run_ends_with_everything_home_and_can_be_resumed(steady: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 12)
    with started("run", jobs, *steady.options(*ONE_AT_A_TIME), cwd=tmp_path) as process:
        _wait_for_lines(tmp_path, 1)
        assert engine("control", "jobs.run", "--drain", cwd=tmp_path).code == 0
        done = ended(process)
    assert (done.code, _status(tmp_path)["in_flight"]) == (3, 0)
    assert 0 < len(results(tmp_path / "jobs.run")) < 12
    assert engine("resume", "jobs.run", "--set", "limits.max_in_flight=12", cwd=tmp_path).code == 0
    assert len(results(tmp_path / "jobs.run")) == 12


def test_a_reset_that_comes_too_late_for_a_drain_says_so(tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 3)
    with (
        provider_with("work.duration_median_s=3600", "rate.requests_per_window=0") as endless,
        started("run", jobs, *endless.options(*ONE_AT_A_TIME), cwd=tmp_path) as process,
    ):
        wait_in_thread_until(
            lambda: (tmp_path / "jobs.run" / "run.db").is_file() and _status(tmp_path)["in_flight"] == 1,
            description="one is in flight",
        )
        assert engine("control", "jobs.run", "--drain", cwd=tmp_path).code == 0
        done = engine("control", "jobs.run", "--reset", cwd=tmp_path)
        process.kill()
        process.wait(10)
    assert (done.code, "the run ends all the same" in done.err) == (0, True), done.err
    assert "ends all the same" not in engine("control", "jobs.run", "--reset", cwd=tmp_path).err


def test_what_is_asked_while_nobody_works_holds_from_the_next_start(steady: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 6)
    assert engine("run", jobs, "--max-jobs", "1", *steady.options(), cwd=tmp_path).code == 3
    done = engine("control", "jobs.run", "--set", "limits.max_in_flight=1", cwd=tmp_path)
    assert (done.code, "from the next start" in done.err) == (0, True)
    assert "control    limits.max_in_flight = 1\n" in engine("status", "jobs.run", cwd=tmp_path).out
    assert engine("resume", "jobs.run", cwd=tmp_path).code == 0
    summary = json.loads((tmp_path / "jobs.run" / "summary.json").read_text())
    assert summary["process"]["in_flight_peak"] == 1


def test_the_command_line_wins_over_an_earlier_order_if_it_changes_the_key(steady: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 6)
    assert engine("run", jobs, "--max-jobs", "1", *steady.options(), cwd=tmp_path).code == 3
    assert engine("control", "jobs.run", "--set", "budget.cost_usd_max=0.01", cwd=tmp_path).code == 0
    assert _status(tmp_path)["control"]["settings"] == {"budget.cost_usd_max": 0.01}
    assert engine("resume", "jobs.run", cwd=tmp_path).code == 3
    done = engine("resume", "jobs.run", "--set", "budget.cost_usd_max=500", cwd=tmp_path)
    assert (done.code, "budget.cost_usd_max = 500, as the run is started now" in done.err) == (0, True), done.err
    assert _status(tmp_path)["control"]["settings"] == {}


def test_a_reset_takes_everything_back(steady: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 6)
    assert engine("run", jobs, "--max-jobs", "1", *steady.options(), cwd=tmp_path).code == 3
    assert engine("control", "jobs.run", "--set", "limits.max_in_flight=1", "--pause", cwd=tmp_path).code == 0
    assert engine("control", "jobs.run", "--reset", cwd=tmp_path).code == 0
    assert engine("resume", "jobs.run", cwd=tmp_path).code == 0
    summary = json.loads((tmp_path / "jobs.run" / "summary.json").read_text())
    assert summary["process"]["in_flight_peak"] > 1


def test_the_limits_of_each_provider_are_changed_by_themselves(provider: Provider, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("SG_0123456789abcdef")
    key.chmod(0o600)
    further = ("providers.fal.preset=fal", f"providers.fal.api_key_file={key}")
    jobs = some_jobs(tmp_path, 1)
    assert engine("run", jobs, *provider.options(*further), cwd=tmp_path).code == 0
    done = engine("control", "jobs.run", "--set", "limits.max_in_flight=5", cwd=tmp_path)
    assert (done.code, "the first provider alone; of another: --set providers.fal.limits" in done.err) == (0, True)
    asked = {"limits.max_in_flight": 5}
    for word, code in (("max_in_flight=6", 0), ("max_in_flight=0", 2), ("max_in_fligth=6", 2), ("shared=true", 2)):
        assert engine("control", "jobs.run", "--set", f"providers.fal.limits.{word}", cwd=tmp_path).code == code
    assert _status(tmp_path)["control"]["settings"] == {**asked, "providers.fal.limits.max_in_flight": 6}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is asked"),
        (("--pause", "--resume"), "contradict"),
        (("--drain",), "nothing to drain"),
        (("--set", "limits.max_in_fligth=5"), "did you mean 'limits.max_in_flight'?"),
        (("--set", "limits.max_in_flight=0"), "limits.max_in_flight"),
        (("--set", "downloads.concurrency=5"), "cannot be changed while a run works"),
        (("--set", "limits.max_in_flight"), "is not KEY=VALUE"),
        (("--set", "providers.fal.limits.max_in_flight=5"), "cannot be changed while a run works"),
        (("--cancel", "clip-00001", "--cancel", "clip-0001"), "the id 'clip-0001', did you mean 'clip-00001'?"),
        (("--cancel", "clip-00001", "--cancel", "nobody"), "nothing was begun or changed"),
        (("--cancel", "clip-1", "--cancel", "nobody"), "'clip-1', did you mean 'clip-00001'?; no job"),
    ],
)
def test_a_mistake_is_named_and_asks_nothing(
    provider: Provider, jobs: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    done = engine("control", "jobs.run", *words, cwd=tmp_path)
    assert (done.code, said in done.err) == (2, True), done.err
    assert not (tmp_path / "jobs.run" / "control.jsonl").exists()
