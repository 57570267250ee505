"""``engine doctor``: what a night would stumble over, said in the evening, for two free requests."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
from typing import TYPE_CHECKING, Any

import pytest

from engine.provider.api_key import SIMULATOR_KEY
from tests.console.conftest import ended, engine, environment, provider_with, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Ended, Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

NAMES = ["provider", "key", "credits", "clock", "history", "proxy", "certificates", "run_disk", "media_disk"]
NAMES += ["open_files", "python", "libraries", "sqlite"]
NOBODY = "provider.base_url=http://127.0.0.1:1"
OWN_KEY = "provider.api_key_env=MINE"


def doctor(provider: Provider, directory: Path, *settings: str, **more: Any) -> Ended:
    return engine("doctor", *provider.options(*settings), cwd=directory, **more)


def record(done: Ended) -> dict[str, Any]:
    return dict(json.loads(done.out))


def levels(done: Ended) -> dict[str, str]:
    """Return how each check came out, from the text."""
    lines = [line.split() for line in done.out.splitlines() if line.startswith(("ok ", "warning ", "problem "))]
    return {words[1]: words[0] for words in lines}


def json_of(provider: Provider, directory: Path, *settings: str, **more: Any) -> tuple[int, dict[str, Any]]:
    done = engine("doctor", "--json", *provider.options(*settings), cwd=directory, **more)
    assert done.err == ""
    found = record(done)
    assert found["exit_code"] == done.code
    return done.code, {check["check"]: check for check in found["checks"]} | {"": found}


def test_when_all_is_well_every_check_says_so(provider: Provider, tmp_path: Path) -> None:
    done = doctor(provider, tmp_path)
    assert (done.code, done.err) == (0, "")
    assert list(levels(done)) == NAMES
    assert "problem" not in levels(done).values()
    assert levels(done)["key"] == levels(done)["clock"] == levels(done)["history"] == "ok"


def test_it_makes_two_requests_submits_nothing_and_leaves_nothing(provider: Provider, tmp_path: Path) -> None:
    requests, submits = provider.requests, provider.bill()["submits"]
    assert doctor(provider, tmp_path).code == 0
    assert provider.requests == requests + 2
    assert provider.bill()["submits"] == submits
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_line_with_all_of_it(provider: Provider, tmp_path: Path) -> None:
    done = engine("doctor", "--json", *provider.options(), cwd=tmp_path)
    found = record(done)
    assert done.out.count("\n") == 1
    assert [check["check"] for check in found["checks"]] == NAMES
    assert (found["version"], found["problems"], found["exit_code"]) == (1, 0, 0)


def test_the_embedded_simulator_can_be_examined_too(tmp_path: Path) -> None:
    done = engine("doctor", "--set", "provider.preset=simulator", "--set", "storage.reserve_bytes=0", cwd=tmp_path)
    assert done.code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_history_is_shown_by_its_structure_alone(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, 2)
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    _, found = json_of(provider, tmp_path)
    (row,) = found[""]["history_shape"]["data"]
    assert row["request_id"] == "text"
    assert row["request_body"]["prompt"] == "text"
    shown = doctor(provider, tmp_path).out
    assert re.search(r"^ok +history +its rows are understood", shown, re.MULTILINE)
    assert "{" not in shown


@pytest.mark.parametrize(("key", "words"), [(None, "there is no API key"), ("SG_bad0bad0bad0bad0", "is refused")])
def test_a_key_that_is_missing_or_refused_ends_it_with_5(tmp_path: Path, key: str | None, words: str) -> None:
    with provider_with(scenario=str(careful(tmp_path))) as provider:
        env = environment(**({} if key is None else {"MINE": key}))
        done = doctor(provider, tmp_path, OWN_KEY, env=env)
    assert done.code == 5
    found = levels(done)
    assert [found[name] for name in ("provider", "key", "credits", "history")] == [
        "ok",
        "problem",
        "warning",
        "warning",
    ]
    assert words in done.out
    assert key is None or key not in done.out


def test_a_key_that_is_accepted_is_not_shown(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SIMULATOR_KEY)
    (tmp_path / "key").chmod(0o644)
    done = doctor(provider, tmp_path, "provider.api_key_file=key")  # and no stream has the key
    assert done.code == 0
    assert (levels(done)["key"], levels(done)["key_file"]) == ("ok", "warning")


def careful(directory: Path) -> Path:
    path = directory / "careful.toml"
    path.write_text('access.accepted_keys = ["SG_600d600d600d600d"]\n')
    return path


def test_credits_for_less_than_a_job_are_a_warning(tmp_path: Path) -> None:
    with provider_with("credits.start_usd=4.0") as provider:
        code, found = json_of(provider, tmp_path)
    assert code == 0
    assert found["credits"]["level"] == "warning"
    assert found["credits"]["message"] == "$4.00; a job of kling-v1-pro-ai-avatar is listed at $4.475"


def test_a_provider_that_is_away_is_one_problem_and_no_traceback(provider: Provider, tmp_path: Path) -> None:
    code, found = json_of(provider, tmp_path, NOBODY)
    assert code == 1
    assert found["provider"]["level"] == "problem"
    assert "127.0.0.1:1 cannot be reached" in found["provider"]["message"]
    assert {found[name]["level"] for name in ("key", "credits", "clock")} == {"warning"}
    assert found["run_disk"]["level"] == "ok"


def test_a_provider_that_never_answers_is_waited_for_briefly(provider: Provider, tmp_path: Path) -> None:
    with silent() as address:
        settings = (f"provider.base_url={address}", f"provider.history_url={address}", "provider.request_timeout_s=0.3")
        code, found = json_of(provider, tmp_path, *settings)
    assert code == 1
    assert "no answer in time" in found["provider"]["message"]
    assert "no answer in time" in found["history"]["message"]


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Listen and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_address_that_is_not_the_api_is_the_configurations_fault(provider: Provider, tmp_path: Path) -> None:
    code, found = json_of(provider, tmp_path, f"provider.base_url={provider.addresses['media_url']}")
    assert code == 2
    assert "does not answer as the API does" in found["provider"]["message"]
    assert "provider.base_url" in found["provider"]["hint"]


def test_a_provider_in_trouble_is_no_fault_of_the_key(tmp_path: Path) -> None:
    with provider_with('outage="error_503"') as provider:
        code, found = json_of(provider, tmp_path)
    assert code == 1
    assert "is in trouble" in found["provider"]["message"]
    assert (found["key"]["level"], found["history"]["level"]) == ("warning", "warning")


def test_too_few_open_files_are_a_problem(provider: Provider, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    done = doctor(provider, tmp_path, preexec_fn=limit)
    assert done.code == 1
    assert levels(done)["open_files"] == "problem"
    assert "ulimit -n" in done.out


@pytest.mark.parametrize("place", ["/proc/nowhere", "file"])
def test_a_place_that_takes_no_files_is_a_problem(provider: Provider, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    done = engine("doctor", "--run-dir", place, *provider.options(), cwd=tmp_path)
    assert done.code in {1, 2}
    assert (levels(done)["run_disk"], levels(done)["media_disk"]) == ("problem", "problem")


def test_a_disk_with_less_than_the_reserve_is_a_problem(provider: Provider, tmp_path: Path) -> None:
    code, found = json_of(provider, tmp_path, "storage.reserve_bytes=9007199254740992")
    assert code == 1
    assert "storage.reserve_bytes wants" in found["media_disk"]["message"]
    assert found["run_disk"]["level"] == "ok"


def test_a_wrong_configuration_ends_it_with_2(tmp_path: Path) -> None:
    done = engine("doctor", "--set", "limits.fnord=1", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")


def test_it_works_beside_a_run(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 2)
    with started("run", "jobs.jsonl", *slow_provider.options(), cwd=tmp_path) as process:
        log = tmp_path / "jobs.run" / "run.log"
        wait_in_thread_until(lambda: log.is_file() and '"submitted"' in log.read_text(), description="a job runs")
        assert engine("doctor", "--run-dir", "jobs.run", *slow_provider.options(), cwd=tmp_path).code == 0
        assert ended(process).code == 0
    assert not list((tmp_path / "jobs.run").glob(".engine-doctor*"))
