"""The engine in a pipe: stdout carries lines and nothing else, and a reader that leaves costs nobody a result."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import ended, engine, parsed, results, some_jobs, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Ended, Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

FULL = "/dev/full"
ALL_OF_THEM = (0, 1, 2)
JOBS = 24


def test_stdout_carries_the_result_lines_and_nothing_else(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    done = engine("run", jobs, "-o", "-", *provider.options(), cwd=tmp_path)
    assert done.code == 0
    assert done.out == (tmp_path / "jobs.run" / "results.jsonl").read_text()


def test_without_being_asked_nothing_goes_to_stdout(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).out == ""


def test_ordered_lines_come_in_the_order_of_the_input(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 30)
    done = engine("run", jobs, "-o", "-", "--ordered", *provider.options(), cwd=tmp_path)
    assert [(line["line"], line["seq"]) for line in parsed(done.out)] == [(n + 1, n) for n in range(30)]


@pytest.fixture(scope="module")
def head(slow_provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """A run whose reader took one line and left, and where it lies."""
    directory = tmp_path_factory.mktemp("head")
    jobs = some_jobs(directory, JOBS)
    command = ("run", "-", "--run-dir", "r", "-o", "-", *slow_provider.options("limits.max_in_flight=4"))
    with jobs.open("rb") as lines, started(*command, cwd=directory, stdin=lines) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"id":')
        process.stdout.close()
        process.stdout = None
        return ended(process), directory / "r"


def test_a_reader_that_left_ends_the_run_with_3(head: tuple[Ended, Path]) -> None:
    assert head[0].code == 3


def test_what_was_paid_for_is_harvested_when_the_reader_left(head: tuple[Ended, Path]) -> None:
    assert 4 <= len(results(head[1])) < JOBS
    (account,) = [line for line in head[0].err.splitlines() if line.startswith("24 lines: ")]
    assert "in flight" not in account


def test_resume_finishes_what_a_reader_left(head: tuple[Ended, Path], slow_provider: Provider, tmp_path: Path) -> None:
    shutil.copytree(head[1], tmp_path / "r")
    before = slow_provider.bill()["accepted"]
    had = len(results(tmp_path / "r"))
    assert engine("resume", "r", "--set", "limits.max_in_flight=200", cwd=tmp_path).code == 0
    assert slow_provider.bill()["accepted"] - before == JOBS - had
    assert len(results(tmp_path / "r")) == JOBS


def _closing(*fds: int) -> dict[str, Any]:
    """Return how a process is started without some of its standard streams."""

    def close() -> None:
        for fd in fds:
            os.close(fd)

    return {"preexec_fn": close}


@pytest.mark.parametrize("fds", [(0,), (1,), (2,), ALL_OF_THEM], ids=["stdin", "stdout", "stderr", "all"])
def test_a_closed_stream_does_not_harm_a_run(
    provider: Provider, jobs: Path, tmp_path: Path, fds: tuple[int, ...]
) -> None:
    done = engine("run", jobs, *provider.options(), cwd=tmp_path, **_closing(*fds))
    assert done.code == 0
    assert len(results(tmp_path / "jobs.run")) == 3


def test_lines_for_a_closed_stdout_go_into_no_file_of_the_run(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    engine("run", jobs, "-o", "-", *provider.options(), cwd=tmp_path, **_closing(1))
    assert len(results(tmp_path / "jobs.run")) == 3
    assert engine("status", "jobs.run", cwd=tmp_path).code == 0


def test_a_closed_stdin_is_no_empty_input(provider: Provider, tmp_path: Path) -> None:
    done = engine("run", "-", "--run-dir", "r", *provider.options(), cwd=tmp_path, **_closing(0))
    assert done.code == 2
    assert "stdin cannot be read" in done.err


def test_a_full_stderr_does_not_harm_a_run(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with open(FULL, "wb") as full:  # noqa: PTH123 (a device)
        done = engine("run", jobs, *provider.options(), cwd=tmp_path, stderr=full)
    assert done.code == 0
    assert len(results(tmp_path / "jobs.run")) == 3


@pytest.mark.parametrize("words", [("status", "jobs.run"), ("plan", "jobs.jsonl", "--offline"), ("--help",)])
def test_a_full_stdout_is_an_error_in_words(
    provider: Provider, jobs: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    if words[0] == "status":
        engine("run", jobs, *provider.options(), cwd=tmp_path)
    with open(FULL, "wb") as full:  # noqa: PTH123 (a device)
        done = engine(*words, cwd=tmp_path, stdout=full)
    assert done.code == 4
    assert "stdout (No space left on device)" in done.err


def test_lines_that_stdout_did_not_take_end_the_run_with_3(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with open(FULL, "wb") as full:  # noqa: PTH123 (a device)
        assert engine("run", jobs, "-o", "-", *provider.options(), cwd=tmp_path, stdout=full).code == 3
