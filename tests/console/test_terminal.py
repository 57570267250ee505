"""The panel on a real terminal, as a terminal shows it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engine.disk.run_dir import RunDir, lock_holder
from tests.console.conftest import PROCESS_S_MAX, environment, results, some_jobs
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [
    pytest.mark.processes,
    pytest.mark.sockets,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: a terminal to look at"),
]

ENDED = "ended with "


class Screen:
    """A terminal of its own, with a command in it."""

    def __init__(self, server: str) -> None:
        self._server = server

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._server, "-f", os.devnull, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROCESS_S_MAX,
            env=environment(TERM="xterm-256color"),
        )
        return done.stdout

    def shown(self, *, colours: bool = False) -> str:
        """Return what stands on the screen."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else []))

    def wait_for(self, text: str) -> str:
        wait_in_thread_until(lambda: text in self.shown(), description=f"{text!r} is shown", within_s=30)
        return self.shown()


@contextmanager
def _screen(directory: Path, *words: str, columns: int, variables: str = "") -> Iterator[Screen]:
    screen = Screen(f"engine-{os.getpid()}-{directory.name}"[-60:])
    command = shlex.join([sys.executable, "-m", "engine", *words])
    script = f"cd {shlex.quote(str(directory))}; {variables} {command}; echo {ENDED}$?; read -r _"
    screen.tmux("new-session", "-d", "-x", str(columns), "-y", "30", script)
    try:
        yield screen
    finally:
        screen.tmux("kill-server")  # this test's own


@pytest.mark.parametrize("columns", [120, 60])
def test_the_panel_fits_and_the_account_follows_it(provider: Provider, tmp_path: Path, columns: int) -> None:
    some_jobs(tmp_path, 3)
    with _screen(tmp_path, "run", "jobs.jsonl", *provider.options(), columns=columns) as screen:
        shown = screen.wait_for(f"{ENDED}0")
    assert "3 succeeded · 0 failed · 0 invalid" in shown
    assert shown.count("at rest") == 1
    assert "3 lines: 3 succeeded" in shown.replace("\n", "")


def test_the_words_after_ctrl_c_stay_on_the_screen(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 4)
    options = slow_provider.options("limits.max_in_flight=2")
    with _screen(tmp_path, "run", "jobs.jsonl", *options, columns=120) as screen:
        screen.wait_for("2 generating")
        screen.tmux("send-keys", "C-c")
        shown = screen.wait_for(f"{ENDED}130")
    assert "SIGINT: no new submissions; 2 jobs in flight are harvested first" in shown
    assert "go on with: engine resume jobs.run" in shown


def test_no_color_is_honoured(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 1)
    options = slow_provider.options()
    with _screen(tmp_path, "run", "jobs.jsonl", *options, columns=120, variables="NO_COLOR=1") as screen:
        screen.wait_for("1 generating")
        shown = screen.shown(colours=True)
    assert not [colour for colour in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m") if colour in shown]


def test_a_dumb_terminal_is_not_redrawn(provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 3)
    with _screen(tmp_path, "run", "jobs.jsonl", *provider.options(), columns=120, variables="TERM=dumb") as screen:
        shown = screen.wait_for(f"{ENDED}0")
    assert shown.strip().splitlines()[0].startswith("3 lines: 3 succeeded")


def test_a_terminal_that_goes_away_does_not_end_a_run_that_ignores_it(slow_provider: Provider, tmp_path: Path) -> None:
    some_jobs(tmp_path, 2)
    options = slow_provider.options()
    with _screen(tmp_path, "run", "jobs.jsonl", *options, columns=120, variables="trap '' HUP;") as screen:
        screen.wait_for("2 generating")
    summary = tmp_path / "jobs.run" / "summary.json"
    wait_in_thread_until(summary.is_file, description="the run has ended in good order", within_s=20)
    assert len(results(tmp_path / "jobs.run")) == 2
    directory = RunDir(tmp_path / "jobs.run")
    wait_in_thread_until(lambda: lock_holder(directory) is None, description="its process has ended too")
