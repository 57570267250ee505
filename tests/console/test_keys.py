"""The key: found, refused in plain words, and never seen again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import count_of, ended, engine, environment, provider_with, results, some_jobs, started
from tests.crash.harness import operate
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Ended, Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

GOOD, BAD = "SG_600d600d600d600d", "SG_bad0bad0bad0bad0"
SCENARIO = f"""
access.accepted_keys = ["{GOOD}"]
work.duration_median_s = 0.1
rate.requests_per_window = 0
"""


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    scenario = tmp_path_factory.mktemp("scenario") / "careful.toml"
    scenario.write_text(SCENARIO)
    with provider_with(scenario=str(scenario)) as provider:
        yield provider


def _run(provider: Provider, directory: Path, *words: str, key: str | None) -> Ended:
    env = environment(**({} if key is None else {"SEGMIND_API_KEY": key}))
    options = provider.options("provider.api_key_env=SEGMIND_API_KEY")
    return engine("run", "jobs.jsonl", *options, *words, cwd=directory, env=env)


def test_a_refused_key_ends_the_run_and_fails_no_job(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    done = _run(careful, tmp_path, key=BAD)
    assert done.code == 5
    assert "3 remaining" in done.err
    assert results(tmp_path / "jobs.run") == []


def test_the_right_key_goes_on_with_the_run(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    _run(careful, tmp_path, key=BAD)
    assert _run(careful, tmp_path, key=GOOD).code == 0


@pytest.mark.parametrize("key", [GOOD, BAD])
def test_the_key_is_written_nowhere(careful: Provider, jobs: Path, tmp_path: Path, key: str) -> None:
    done = _run(careful, tmp_path, "--log-level", "debug", key=key)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.encode() not in written
    assert key not in done.out + done.err


def test_the_key_is_in_no_command_line(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    options = careful.options("provider.api_key_env=SEGMIND_API_KEY")
    with started(
        "run", jobs, *options, cwd=tmp_path, env=environment(SEGMIND_API_KEY=GOOD)
    ) as process:  # fmt: skip
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:  # noqa: PTH123 (a plain file of the kernel)
            assert GOOD.encode() not in file.read()
        assert ended(process).code == 0


def test_a_process_leaves_no_core(slow_provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with started("run", jobs, *slow_provider.options(), cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(log.is_file, description="it is at work")
        with open(f"/proc/{process.pid}/limits", encoding="ascii") as file:  # noqa: PTH123 (a plain file of the kernel)
            (limit,) = [line.split() for line in file if line.startswith("Max core file size")]
        assert limit[4:6] == ["0", "0"]
        assert ended(process).code == 0


def test_a_missing_key_names_the_variable(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    done = _run(careful, tmp_path, key=None)
    assert done.code == 5
    assert "SEGMIND_API_KEY" in done.err


def test_a_key_with_a_space_in_it_is_refused_here(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    before = careful.requests
    done = _run(careful, tmp_path, key="SG_bad0 bad0")
    assert done.code == 5
    assert "bad0" not in done.err
    assert careful.requests == before


def test_a_key_file_will_do(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(GOOD + "\n")
    assert _run(careful, tmp_path, "--set", "provider.api_key_file=key", key=None).code == 0


def test_a_key_file_that_is_missing_is_named(careful: Provider, jobs: Path, tmp_path: Path) -> None:
    done = _run(careful, tmp_path, "--set", "provider.api_key_file=absent", key=None)
    assert done.code == 5
    assert "absent" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--set", f"provider.api_key={BAD}"),
        ("--set", f"provider.api_key_env={BAD}"),
        ("--set", BAD),
        ("-c", "with-key.toml"),
    ],
    ids=["as a value", "as a variable", "as a word", "in a file"],
)
def test_a_key_in_the_configuration_is_refused_and_not_repeated(
    jobs: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "with-key.toml").write_text(f'[provider]\napi_key = "{BAD}"\n')
    done = engine("run", jobs, *words, cwd=tmp_path)
    assert done.code == 2
    assert BAD not in done.err
    assert not (tmp_path / "jobs.run").exists()


def test_a_key_revoked_in_the_middle_fails_no_job(tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 8)
    with provider_with("work.duration_median_s=0.3", "rate.requests_per_window=0") as provider:
        with started("run", jobs, *provider.options("limits.max_in_flight=2"), cwd=tmp_path) as process:
            output = tmp_path / "jobs.run" / "results.jsonl"
            wait_in_thread_until(lambda: output.is_file() and output.stat().st_size, description="a job is at rest")
            operate(provider.addresses, "scenario", {"access.keys_revoked": True})
            assert ended(process).code == 5
        assert count_of(results(tmp_path / "jobs.run"), "failed") == 0
        operate(provider.addresses, "scenario", {"access.keys_revoked": False})
        assert engine("resume", "jobs.run", cwd=tmp_path).code == 0
        assert provider.bill()["paid"] == 8
