"""The command itself: help, version, and the demo from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine as package
from engine.clock import SystemClock
from tests.console.conftest import engine, results

pytestmark = pytest.mark.processes

CONFIGS = Path(__file__).parents[2] / "configs"
COMMANDS = ("run", "resume", "plan", "status", "retry", "simulate")
HELP_S = 0.25
BUSY_MACHINE = 6


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda words: "".join(words) or "engine")
def test_every_command_explains_itself_on_stdout(tmp_path: Path, command: tuple[str, ...], flag: str) -> None:
    done = engine(*command, flag, cwd=tmp_path)
    assert done.code == 0
    assert done.out.startswith("Usage: engine")
    assert done.err == ""


def test_without_a_command_help_goes_to_stderr(tmp_path: Path) -> None:
    done = engine(cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "Commands:" in done.err


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_one_line(tmp_path: Path, flag: str) -> None:
    assert engine(flag, cwd=tmp_path).out == f"engine {package.__version__}\n"


def test_help_is_immediate(tmp_path: Path) -> None:
    clock = SystemClock()
    times_s = []
    for _ in range(3):
        began_at = clock.now()
        engine("--help", cwd=tmp_path)
        times_s.append(clock.now() - began_at)
    assert min(times_s) < HELP_S * BUSY_MACHINE


@pytest.mark.sockets
def test_the_demo_runs_from_any_directory_without_a_key(tmp_path: Path) -> None:
    demo = (CONFIGS / "demo.jsonl", "-c", CONFIGS / "demo.toml")
    done = engine("run", *demo, "--run-dir", "demo.run", "--max-jobs", "3", cwd=tmp_path)
    assert done.code == 3
    assert len(results(tmp_path / "demo.run")) == 3


def test_the_options_of_a_run_are_shown_in_groups(tmp_path: Path) -> None:
    shown = engine("run", "--help", cwd=tmp_path).out
    titles = ("Options:", "Configuration:", "Results:", "Money:", "Time:", "What is seen:", "Afterwards:")
    places = [shown.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)


def test_a_word_after_dashboard_that_is_no_port_is_told_where_to_go(tmp_path: Path) -> None:
    done = engine("run", "--dashboard", "jobs.jsonl", cwd=tmp_path)
    assert (done.code, "put --dashboard last" in done.err) == (2, True)
