"""``engine retry``: only what was asked for, and always a word on what that came to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import count_of, engine, provider_with, results, some_jobs
from tests.crash.harness import operate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

JOBS = 4


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Path]]:
    """A provider that has failed every job and now works, and the run that met it."""
    directory = tmp_path_factory.mktemp("failed")
    jobs = some_jobs(directory, JOBS)
    with provider_with("work.duration_median_s=0.1", "rate.requests_per_window=0", "faults.failed_job=1.0") as provider:
        assert engine("run", jobs, *provider.options(), cwd=directory).code == 1
        operate(provider.addresses, "scenario", {"faults.failed_job": 0.0})
        yield provider, directory


@pytest.fixture
def failed(healed: tuple[Provider, Path], tmp_path: Path) -> Path:
    shutil.copytree(healed[1], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "succeeded"),
    [
        (("--all-failed",), JOBS),
        (("--error", "generation_failed"), JOBS),
        (("--id", "clip-00001", "--id", "clip-00003"), 2),
        (("--id", "clip-00001", "--error", "rejected"), 0),
    ],
)
def test_what_was_asked_for_is_tried_again(failed: Path, words: tuple[str, ...], succeeded: int) -> None:
    done = engine("retry", "jobs.run", *words, cwd=failed)
    lines = results(failed / "jobs.run")
    assert count_of(lines, "succeeded") == succeeded
    assert sorted(line["seq"] for line in lines) == list(range(JOBS))
    assert done.code == (0 if succeeded == JOBS else 1)


@pytest.mark.parametrize(
    "words", [("--error", "expired"), ("--id", "clip-00001", "--error", "rejected"), ("--unknown",)]
)
def test_a_choice_that_fits_no_job_is_said_to_and_asks_nothing(
    healed: tuple[Provider, Path], failed: Path, words: tuple[str, ...]
) -> None:
    before = healed[0].requests
    assert "nothing to try again" in engine("retry", "jobs.run", *words, cwd=failed).err
    assert healed[0].requests == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--error", "generation_fialed"), "kind 'generation_fialed', did you mean 'generation_failed'?"),
        (
            ("--error", "fnord"),
            "in this run jobs failed of generation_failed; the kinds are generation_failed, input_file, ",
        ),
        (("--id", "clip-1"), "no job of this run has the id 'clip-1', did you mean 'clip-00001'?"),
        (("--id", "clip-00001", "--id", "nobody"), "no job of this run has the id 'nobody'"),
        (("--id", "clip-00001", "--error", "fnord"), "nothing was begun"),
    ],
)
def test_a_choice_that_nothing_can_fit_is_refused_and_nothing_is_begun(
    healed: tuple[Provider, Path], failed: Path, words: tuple[str, ...], said: str
) -> None:
    before, log = healed[0].requests, (failed / "jobs.run" / "run.log").read_bytes()
    done = engine("retry", "jobs.run", *words, cwd=failed)
    assert (done.code, said in done.err) == (2, True), done.err
    assert "nothing was begun" in done.err
    assert healed[0].requests == before
    assert (failed / "jobs.run" / "run.log").read_bytes() == log
    assert len(results(failed / "jobs.run")) == JOBS


def test_an_id_of_an_invalid_line_is_said_to_be_of_no_job(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"id": "half", "params": {}}\n')
    assert engine("run", "jobs.jsonl", *provider.options(), cwd=tmp_path).code == 1
    done = engine("retry", "jobs.run", "--id", "half", cwd=tmp_path)
    assert done.code == 2
    assert "line 1 with the id 'half' is no job, because it is invalid: params.image_url is missing" in done.err


def test_without_a_choice_nothing_is_tried_again(failed: Path) -> None:
    done = engine("retry", "jobs.run", cwd=failed)
    assert done.code == 2
    assert "--all-failed" in done.err
