"""Signals and the closing words: what is paid for comes home, and the way back is always said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from engine.__main__ import main
from engine.clock import SystemClock
from engine.config import RunConfig
from engine.console.conduct import conduct
from engine.run.request import RunRequest
from tests.console.conftest import ended, engine, results, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

JOBS, IN_FLIGHT = 8, 4
MORE_THAN_A_PIPE_HOLDS_BYTES = 1 << 18


@pytest.fixture
def running(slow_provider: Provider, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run with half of its jobs in flight, each for a second and a half."""
    some_jobs(tmp_path, JOBS)
    options = slow_provider.options(f"limits.max_in_flight={IN_FLIGHT}")
    with started("run", "jobs.jsonl", *options, cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(
            lambda: log.is_file() and log.read_text().count('"submitted"') == IN_FLIGHT,
            description="jobs are in flight",
        )
        yield process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_harvests_and_says_how_to_go_on(
    running: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    running.send_signal(number)
    done = ended(running)
    assert done.code == code
    assert f"{number.name}: no new submissions; {IN_FLIGHT} jobs in flight are harvested first" in done.err
    assert "hint: go on with: engine resume jobs.run" in done.err
    assert len(results(tmp_path / "jobs.run")) == IN_FLIGHT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_stops_within_two_seconds(
    running: subprocess.Popen[bytes], number: signal.Signals, code: int
) -> None:
    running.send_signal(number)
    assert running.stderr is not None
    while b"Once more" not in running.stderr.readline():
        pass
    clock = SystemClock()
    began_at = clock.now()
    running.send_signal(number)
    done = ended(running)
    assert done.code == code
    assert clock.now() - began_at < 2.5  # two, and a busy machine
    assert f"{IN_FLIGHT} in flight" in done.err


def test_the_third_signal_ends_the_process_where_it_stands(running: subprocess.Popen[bytes]) -> None:
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    while b"Once more" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGTERM)
    assert ended(running).code in {130, 143}


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGKILL,)])
def test_the_same_command_finishes_what_a_signal_stopped_and_pays_nothing_twice(
    running: subprocess.Popen[bytes], slow_provider: Provider, tmp_path: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    before = slow_provider.bill()["accepted"]
    for number in numbers:
        running.send_signal(number)
    running.communicate(timeout=30)
    assert engine("run", "jobs.jsonl", *slow_provider.options(), cwd=tmp_path).code == 0
    assert len(results(tmp_path / "jobs.run")) == JOBS
    assert slow_provider.bill()["accepted"] - before == JOBS - IN_FLIGHT


def test_the_command_that_resumes_can_be_copied_as_it_stands(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 2)
    done = engine("run", "jobs.jsonl", "--run-dir", "my run", "--max-jobs", "1", *slow_provider.options(), cwd=tmp_path)
    assert "engine resume 'my run'\n" in done.err


def test_a_signal_while_a_long_input_is_read_leaves_it_resumable(provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 100_000)
    options = provider.options("limits.max_in_flight=1", "limits.submits_per_minute=1")
    with started("run", "jobs.jsonl", *options, cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(lambda: log.is_file() and '"submitted"' in log.read_text(), description="a job runs")
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code == 130
    assert "engine resume jobs.run" in done.err
    assert "give the whole input" not in done.err  # the file is still there


def test_the_rest_of_an_interrupted_stdin_has_to_be_given_again(provider: Provider, tmp_path: Path) -> None:
    line = some_jobs(tmp_path, 1).read_bytes()
    out, into = os.pipe()
    with started("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path, stdin=out) as process:
        os.close(out)
        os.write(into, line)
        output = tmp_path / "r" / "results.jsonl"
        wait_in_thread_until(lambda: output.is_file() and output.stat().st_size, description="the job is at rest")
        process.send_signal(signal.SIGINT)
        done = ended(process)
        os.close(into)
    assert done.code == 130
    assert "give the whole input to 'engine run' again" in done.err


@pytest.mark.parametrize("sign", ["lock", "run.log", "run.db", "results.jsonl"])
def test_a_signal_while_the_run_is_opened_leaves_no_traceback(
    provider: Provider, jobs: Path, tmp_path: Path, sign: str
) -> None:
    with started("run", jobs, *provider.options(), cwd=tmp_path) as process:
        wait_in_thread_until((tmp_path / "jobs.run" / sign).exists, description=f"{sign} is made")
        process.send_signal(signal.SIGINT)
        done = ended(process)
    assert done.code in {130, -signal.SIGINT, 0}
    assert done.code == 0 or "SIGINT" in done.err


def test_an_interruption_before_the_run_is_open_says_that_nothing_was_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(work: Coroutine[None, None, int]) -> int:
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.console.conduct.run_to_end", interrupted)
    code = conduct(RunRequest(root=tmp_path / "a.run", config=RunConfig.load(None)), quiet=True, show_progress=False)
    assert code == 130
    assert capsys.readouterr().err == "SIGINT: stopped before anything was submitted; the same command goes on\n"


def test_an_interruption_before_the_command_line_is_there_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Importing(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "engine.console.cli", Importing("engine.console.cli"))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "stopped by SIGINT before anything was begun\n"


def test_an_interrupted_command_ends_in_a_sentence(provider: Provider, tmp_path: Path) -> None:
    with started("plan", "-", *provider.options(), cwd=tmp_path, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n" * MORE_THAN_A_PIPE_HOLDS_BYTES)
        process.stdin.flush()  # comes back only once the command reads
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert process.stderr.read().decode().strip() == "stopped by SIGINT"


@pytest.mark.parametrize("flag", ["--quiet", "--no-progress"])
def test_a_quiet_run_still_accounts_for_every_line(provider: Provider, jobs: Path, tmp_path: Path, flag: str) -> None:
    done = engine("run", jobs, flag, *provider.options(), cwd=tmp_path)
    assert done.err.startswith("3 lines: 3 succeeded, 0 failed, 0 invalid")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("flags", "said"), [((), True), (("--quiet",), False)])
def test_a_canary_that_succeeds_is_no_news_for_a_quiet_run(
    provider: Provider, jobs: Path, tmp_path: Path, flags: tuple[str, ...], *, said: bool
) -> None:
    done = engine("run", jobs, *flags, *provider.options("canary.jobs=2"), cwd=tmp_path)
    assert ("canary: 2 of 2 first jobs succeeded" in done.err) is said


def test_one_line_is_not_said_in_the_plural(provider: Provider, tmp_path: Path) -> None:
    done = engine("run", some_jobs(tmp_path, 1), "--quiet", *provider.options(), cwd=tmp_path)
    assert done.err.startswith("1 line: 1 succeeded")
