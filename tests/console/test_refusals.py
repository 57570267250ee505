"""Mistakes at the command line and in the configuration: one sentence, one hint, exit 2, nothing begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import count_of, engine, provider_with, results, some_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rnu", "jobs.jsonl"), "did you mean 'run'?"),
        (("run", "jobs.jsonl", "--max-job", "3"), "--max-jobs"),
        (("run",), "INPUT"),
        (("run", "absent.jsonl"), "absent.jsonl"),
        (("run", "."), "directory"),
        (("convert", "absent.csv"), "name a table that is there and may be read"),
        (("run", "jobs.jsonl", "--max-jobs", "0"), "--max-jobs"),
        (("run", "jobs.jsonl", "-c", "absent.toml"), "absent.toml"),
        (("run", "jobs.jsonl", "--set", "limits.max_inflight=3"), "did you mean 'limits.max_in_flight'?"),
        (("run", "jobs.jsonl", "--set", "limits.max_in_flight=many"), "'many'"),
        (("run", "jobs.jsonl", "--set", "limits.max_in_flight=0"), "from 1 to"),
        (("run", "jobs.jsonl", "--set", "halt.failed_share=2"), "from 0 to 1"),
        (("run", "jobs.jsonl", "--set", "provider.base_url=http://example.com"), "clear text"),
        (("run", "jobs.jsonl", "--set", "nothing"), "KEY=VALUE"),
        (("resume", "absent.run"), "run.db"),
        (("resume", "."), "run.db"),
        (("status", "absent.run"), "run.db"),
        (("retry", "absent.run", "--all-failed"), "run.db"),
        (("plan", "absent.jsonl"), "absent.jsonl"),
        (("simulate", "--scenario", "clam"), "did you mean 'calm'?"),
        (("simulate", "--port", "65536"), "--port"),
        (("simulate", "--port", "-1"), "--port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_named_and_ends_with_2(jobs: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = engine(*words, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("error: ")
    assert "\n\nhint: " in done.err
    assert done.out == ""
    assert list(tmp_path.iterdir()) == [jobs]


def test_a_run_directory_where_an_input_belongs_leads_to_resume(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    done = engine("run", "jobs.run", cwd=tmp_path)
    assert done.code == 2
    assert "hint: it is a run; go on with it: engine resume jobs.run\n" in done.err
    assert not (tmp_path / "jobs.run.run").exists()


def test_a_refusal_that_nobody_foresaw_says_what_to_do(jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "in-the-way").touch()
    done = engine(
        "run", jobs, "--set", "provider.preset=simulator", "--set", "storage.root=in-the-way/media", cwd=tmp_path
    )
    assert done.code == 4
    assert "hint: name another place: a file stands where a directory would have to" in done.err


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[limits", "not TOML"),
        ("limits = 3", "section"),
        ("[limitz]\na = 1", "limitz"),
        ("[limits]\nmax_in_flght = 3", "did you mean 'limits.max_in_flight'?"),
        ("[limits]\nmax_in_flight = true", "whole number"),
        ("[budget]\ncost_usd_max = -1", "from 0"),
        ("[budget]\ncost_usd_max = nan", "cost_usd_max"),
        ("[recovery]\non_unknown = 'pray'", "'hold'"),
        ("[provider]\npreset = 'simlator'", "did you mean 'simulator'?"),
        ("[provider]\npreset = 'simulator'\n[simulator]\nscenario = 'nix'", "'nix'"),
    ],
)
def test_an_error_in_a_configuration_file_is_named_with_the_file(
    jobs: Path, tmp_path: Path, toml: str, said: str
) -> None:
    (tmp_path / "bad.toml").write_text(toml)
    done = engine("run", jobs, "-c", "bad.toml", cwd=tmp_path)
    assert done.code == 2
    assert said in done.err


def test_an_unknown_model_stops_the_run_before_more_is_tried(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 200)
    before = provider.bill()["submits"]
    done = engine("run", jobs, *provider.options("provider.model=kling-9000", "limits.max_in_flight=2"), cwd=tmp_path)
    assert done.code == 2
    assert "kling-9000" in done.err
    assert provider.bill()["submits"] - before < 20
    assert results(tmp_path / "jobs.run") == []


def test_five_refused_models_in_a_row_stop_the_run(tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 30)
    with provider_with("access.forbidden_models=['kling-v1-pro-ai-avatar']", "rate.requests_per_window=0") as provider:
        done = engine("run", jobs, *provider.options("limits.max_in_flight=1"), cwd=tmp_path)
    assert done.code == 5
    assert 5 <= count_of(results(tmp_path / "jobs.run"), "failed") < 30


def test_the_hints_of_a_stopped_run_stand_on_lines_of_their_own(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    done = engine("run", jobs, *provider.options("provider.model=kling-9000"), cwd=tmp_path)
    assert "\n      go on with: engine resume" in done.err
    assert "\\x0a" not in done.err
