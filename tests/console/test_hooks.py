"""The commands of ``--on-finish`` and ``--on-stop``: told everything but the key, bounded, and of no consequence."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.console import hooks as module
from engine.console.hooks import FIGURES, Ending, Hooks, run_hook, variables
from engine.disk.run_dir import RunDir
from engine.ledger import schema
from engine.ledger.survey import Survey, survey
from engine.provider.api_key import SIMULATOR_KEY, without_key
from tests.console.conftest import ended, engine, environment, parsed, some_jobs, started
from tests.waiting import wait_in_thread_until, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.console.conftest import Ended, Provider

TOLD = "env | grep ^ENGINE_ | sort > told"
PATH = {"PATH": os.environ["PATH"]}
SHOWN = f"{sys.executable} -c 'import os; print(dict(os.environ))'"


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Survey]:
    """A run of four lines that are all at rest."""
    db = schema.open_for_writing(tmp_path / "run.db")
    yield msgspec.structs.replace(survey(db), lines=4, succeeded=2, failed=1, invalid=1, input_complete=True)
    db.close()


def an_ending(found: Survey | None, **changes: Any) -> Ending:
    usual: dict[str, Any] = {"exit_code": 1, "summarised": True, "stopped_kind": "", "stopped_message": ""}
    root = Path("some.run")
    return Ending(directory=RunDir(root), found=found, output=root / "results.jsonl", **{**usual, **changes})


async def hook(command: str, ending: Ending, *, enough: asyncio.Event | None = None) -> None:
    await run_hook(Hooks(on_stop=command), ending, inherited=PATH, enough=enough or asyncio.Event())


# --- what it is told ------------------------------------------------------------------------------


def test_a_command_is_told_the_summary(found: Survey) -> None:
    told = variables(an_ending(found), event="finish")
    assert (
        told
        | {
            "ENGINE_EVENT": "finish",
            "ENGINE_EXIT_CODE": "1",
            "ENGINE_RUN_DIR": str(Path.cwd() / "some.run"),
            "ENGINE_SUMMARY": str(Path.cwd() / "some.run" / "summary.json"),
            "ENGINE_SUCCEEDED": "2",
            "ENGINE_FAILED": "1",
            "ENGINE_STOPPED_KIND": "",
        }
        == told
    )
    assert {f"ENGINE_{name.upper()}" for name in FIGURES} <= set(told)


def test_what_is_not_known_is_empty() -> None:
    told = variables(an_ending(None, summarised=False), event="stop")
    assert [told[name] for name in ("ENGINE_SUMMARY", "ENGINE_SUCCEEDED", "ENGINE_SPENT_USD")] == ["", "", ""]


@pytest.mark.parametrize(("spent_usd", "text"), [(0.0, "0"), (13.425, "13.425"), (1e7, "10000000"), (1e-5, "0.00001")])
def test_money_is_written_as_a_plain_decimal(found: Survey, spent_usd: float, text: str) -> None:
    ending = an_ending(msgspec.structs.replace(found, spent_usd=spent_usd))
    assert variables(ending, event="stop")["ENGINE_SPENT_USD"] == text


def test_a_message_that_could_steer_a_terminal_is_harmless(found: Survey) -> None:
    told = variables(an_ending(found, stopped_message="no\x1b[2J\0\ud800 more"), event="stop")
    assert told["ENGINE_STOPPED_MESSAGE"] == "no\\x1b[2J\\x00\\ud800 more"


@pytest.mark.parametrize(
    ("change", "finished"),
    [({}, True), ({"lines": 5}, False), ({"input_complete": False}, False), ({"unknown": 1, "lines": 5}, False)],
)
def test_finished_means_that_every_line_is_at_rest(found: Survey, change: dict[str, Any], *, finished: bool) -> None:
    assert an_ending(msgspec.structs.replace(found, **change)).finished is finished


def test_a_run_of_which_nothing_can_be_read_is_not_finished() -> None:
    assert not an_ending(None).finished


# --- the key --------------------------------------------------------------------------------------


def test_no_variable_that_is_or_holds_the_key_is_handed_on() -> None:
    key = "SG_600d600d600d600d"
    environ = {"MY_KEY": "other", "COPY": f" {key}\n", "HEADER": f"x-api-key: {key}", "HOME": "/home/me"}
    assert without_key(environ, key=key, key_variables={"MY_KEY"}) == {"HOME": "/home/me"}


def test_a_short_key_takes_only_its_equals_away() -> None:
    environ = {"PATH": "/bin/a", "COPY": "a"}
    assert without_key(environ, key="a", key_variables=set()) == {"PATH": "/bin/a"}


# --- how it runs ----------------------------------------------------------------------------------


async def test_a_command_without_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "HOOK_S_MAX", 0.3)
    pids = tmp_path / "pids"
    await hook(f"sleep 600 & echo $$ $! > {pids}; wait", an_ending(None))
    assert "warning: the command of --on-stop was ended after 0 s" in capfd.readouterr().err
    await wait_until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()), description="all end")


async def test_a_command_that_will_not_hear_is_ended_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOOK_S_MAX", 0.3)
    monkeypatch.setattr(module, "END_S_MAX", 0.3)
    pid = tmp_path / "pid"
    await hook(f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.05; done", an_ending(None))
    await wait_until(lambda: not is_alive(int(pid.read_text())), description="it ends")


async def test_a_signal_ends_it_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    enough = asyncio.Event()
    enough.set()
    await hook("sleep 600", an_ending(None), enough=enough)
    assert "warning: the command of --on-stop was ended by a signal" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exit 7", "ended with exit code 7"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("a\0b", "could not be started (embedded null byte)"),
    ],
)
async def test_what_goes_wrong_with_it_is_a_warning(
    command: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await hook(command, an_ending(None))
    assert f"warning: the command of --on-stop {words}" in capfd.readouterr().err


async def test_a_good_command_is_not_talked_about(found: Survey, capfd: pytest.CaptureFixture[str]) -> None:
    await run_hook(Hooks(on_finish="true"), an_ending(found), inherited=PATH, enough=asyncio.Event())
    assert capfd.readouterr() == ("", "")


def is_alive(pid: int) -> bool:
    """Say whether a process still works; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# --- as its users meet it -------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.sockets
class TestRuns:
    def told(self, directory: Path) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (directory / "told").read_text().splitlines())

    def run(self, provider: Provider, directory: Path, *words: str, **more: Any) -> Ended:
        jobs = some_jobs(directory, 3)
        both = ("--on-finish", TOLD, "--on-stop", TOLD)
        return engine("run", jobs, *both, *provider.options(), *words, cwd=directory, **more)

    def test_a_finished_run_calls_on_finish(self, provider: Provider, tmp_path: Path) -> None:
        assert self.run(provider, tmp_path).code == 0
        told = self.told(tmp_path)
        assert (told["ENGINE_EVENT"], told["ENGINE_SUCCEEDED"], told["ENGINE_EXIT_CODE"]) == ("finish", "3", "0")
        assert Path(told["ENGINE_SUMMARY"]).is_file()
        assert Path(told["ENGINE_OUTPUT"]).is_file()

    def test_a_stopped_run_calls_on_stop_and_resume_calls_on_finish(self, provider: Provider, tmp_path: Path) -> None:
        assert self.run(provider, tmp_path, "--max-jobs", "1").code == 3
        told = self.told(tmp_path)
        assert (told["ENGINE_EVENT"], told["ENGINE_STOPPED_KIND"], told["ENGINE_REMAINING"]) == ("stop", "budget", "2")
        assert engine("resume", "jobs.run", "--on-finish", TOLD, cwd=tmp_path).code == 0
        assert self.told(tmp_path)["ENGINE_EVENT"] == "finish"

    def test_a_run_that_breaks_calls_on_stop_with_what_the_ledger_has(self, provider: Provider, tmp_path: Path) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

        some_jobs(tmp_path, 40)
        words = ("--on-finish", "echo finished", "--on-stop", TOLD)
        done = engine("run", "jobs.jsonl", *words, *provider.options(), cwd=tmp_path, preexec_fn=limit)
        assert done.code == 4
        assert done.err.count("error: ") == 1
        told = self.told(tmp_path)
        assert (told["ENGINE_EXIT_CODE"], told["ENGINE_STOPPED_KIND"]) == ("4", "error")
        assert told["ENGINE_STOPPED_MESSAGE"] in done.err
        assert "finished" not in done.err

    def test_a_run_that_never_began_calls_nothing(self, tmp_path: Path) -> None:
        some_jobs(tmp_path, 1)
        done = engine("run", "jobs.jsonl", "--on-stop", TOLD, cwd=tmp_path)
        assert done.code == 5  # there is no key
        assert not (tmp_path / "told").exists()

    def test_the_run_is_free_for_the_next_command(self, provider: Provider, tmp_path: Path) -> None:
        again = f"{sys.executable} -m engine resume jobs.run"
        done = self.run(provider, tmp_path, "--max-jobs", "1", "--on-stop", again)
        assert done.code == 3
        assert "3 lines: 3 succeeded" in done.err

    def test_what_it_prints_goes_to_stderr(self, provider: Provider, tmp_path: Path) -> None:
        done = self.run(provider, tmp_path, "--on-finish", "echo noise", "-o", "-")
        assert len(parsed(done.out)) == 3
        assert done.err.endswith("noise\n")

    def test_its_failure_changes_nothing(self, provider: Provider, tmp_path: Path) -> None:
        done = self.run(provider, tmp_path, "--on-finish", "exit 9")
        assert done.code == 0
        assert "warning: the command of --on-finish ended with exit code 9" in done.err

    @pytest.mark.parametrize("source", ["provider.api_key_env=MINE", "provider.api_key_file=key"])
    def test_it_never_sees_the_key(self, provider: Provider, tmp_path: Path, source: str) -> None:
        (tmp_path / "key").write_text(SIMULATOR_KEY)
        own = {"MINE": SIMULATOR_KEY, "SEGMIND_API_KEY": "SG_0000000000000000"} if "env" in source else {}
        env = environment(COPY=f"key={SIMULATOR_KEY}", OTHER="there", **own)
        done = self.run(provider, tmp_path, "--set", source, "--on-finish", SHOWN, env=env)  # and the key not in stderr
        assert done.code == 0
        assert "'OTHER': 'there'" in done.err
        assert not [name for name in ("SEGMIND_API_KEY", "COPY", "MINE") if name in done.err]

    def test_one_signal_leaves_it_its_time_and_the_next_ends_it(self, slow_provider: Provider, tmp_path: Path) -> None:
        some_jobs(tmp_path, 2)
        words = ("--on-stop", "echo begun; sleep 600", *slow_provider.options("limits.max_in_flight=1"))
        with started("run", "jobs.jsonl", *words, cwd=tmp_path) as process:
            self.wait_for_a_job(tmp_path)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            while b"begun" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGTERM)
            done = ended(process)
        assert done.code == 143
        assert "--on-stop was ended by a signal" in done.err

    def test_after_a_second_signal_there_is_no_time_for_it(self, slow_provider: Provider, tmp_path: Path) -> None:
        some_jobs(tmp_path, 2)
        words = ("--on-stop", "echo begun", *slow_provider.options("limits.max_in_flight=1"))
        with started("run", "jobs.jsonl", *words, cwd=tmp_path) as process:
            self.wait_for_a_job(tmp_path)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while b"Once more" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            done = ended(process)
        assert done.code == 130
        assert "begun" not in done.err

    def wait_for_a_job(self, directory: Path) -> None:
        log = directory / "jobs.run" / "run.log"
        wait_in_thread_until(lambda: log.is_file() and '"submitted"' in log.read_text(), description="a job runs")
