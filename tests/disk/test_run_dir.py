"""One run directory, one process; whoever only looks never stands in the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from engine.clock import SystemClock
from engine.disk.run_dir import RunDir, RunLock, lock_holder
from engine.errors import ExitCode, RunDirectoryBusyError, StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from engine.clock import SystemClock
from engine.disk.run_dir import RunDir, RunLock
with RunLock(RunDir(Path(sys.argv[1])), SystemClock()):
    print("held", flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from pathlib import Path
from engine.clock import SystemClock
from engine.errors import EngineError
from engine.disk.run_dir import RunDir, RunLock
try:
    with RunLock(RunDir(Path(sys.argv[1])), SystemClock()):
        pass
except EngineError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    directory = RunDir(tmp_path / "deep" / "night.run")
    directory.create()
    return directory


def lock(run_dir: RunDir) -> RunLock:
    return RunLock(run_dir, SystemClock())


def test_the_directory_is_made_private_with_its_parents(run_dir: RunDir) -> None:
    assert [path.stat().st_mode & 0o777 for path in (run_dir.root, run_dir.root.parent)] == [0o700, 0o700]


def test_an_existing_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    RunDir(tmp_path).create()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_file_in_its_place_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for root in (tmp_path / "x", tmp_path / "x" / "night.run"):
        with pytest.raises(UsageError, match="cannot be used"):
            RunDir(root).create()


def test_a_directory_without_a_ledger_is_no_run(run_dir: RunDir) -> None:
    with pytest.raises(UsageError, match=r"holds no run\.db"):
        run_dir.must_exist()
    run_dir.ledger.touch()
    run_dir.must_exist()


def test_the_holder_is_shown_while_the_lock_is_held_and_no_longer(run_dir: RunDir) -> None:
    assert lock_holder(run_dir) is None
    with lock(run_dir):
        holder = lock_holder(run_dir)
        assert holder is not None
        assert holder.startswith(f"process {os.getpid()} on ")
    assert lock_holder(run_dir) is None


def test_a_second_lock_in_this_process_is_refused_too(run_dir: RunDir) -> None:
    with lock(run_dir), pytest.raises(RunDirectoryBusyError, match=f"process {os.getpid()}"), lock(run_dir):
        pytest.fail("both hold it")


def test_a_lock_left_by_a_dead_process_is_no_lock(run_dir: RunDir) -> None:
    run_dir.lock.write_text("process 1 on elsewhere since yesterday\n")
    with lock(run_dir):
        pass


def test_a_lock_that_is_a_symbolic_link_is_refused(run_dir: RunDir, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("data")
    run_dir.lock.symlink_to(precious)
    with pytest.raises(StorageError, match="cannot be opened"), lock(run_dir):
        pass
    assert precious.read_text() == "data"


@pytest.mark.processes
def test_a_second_process_exits_75_and_says_who_has_it(run_dir: RunDir) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        shown = lock_holder(run_dir)
        tried = subprocess.run(
            [sys.executable, "-c", TRY, str(run_dir.root)], capture_output=True, text=True, check=False, timeout=30
        )
    finally:
        holder.communicate()
    assert tried.returncode == ExitCode.BUSY
    assert f"process {holder.pid} on " in tried.stdout
    assert shown is not None
    assert str(holder.pid) in shown


@pytest.mark.processes
def test_a_killed_process_releases_the_lock(run_dir: RunDir) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    with lock(run_dir):
        pass


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_refuses_the_directory_is_no_mistake_of_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_directory: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("engine.disk.run_dir.make_directory", refuse)
    with pytest.raises(StorageError, match="cannot be used"):
        RunDir(tmp_path / "night.run").create()
