"""The run directory and the output: nothing that is not ours is touched, nothing that is ours is guessed at."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import ended, engine, parsed, results, some_jobs, started
from tests.waiting import wait_in_thread_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.console.conftest import Ended, Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a device node")


@pytest.fixture(scope="module")
def original(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original")
    some_jobs(directory, 3)
    assert engine("run", "jobs.jsonl", *provider.options(), cwd=directory).code == 0
    return directory


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, with its input."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _again(provider: Provider, directory: Path, *words: str) -> Ended:
    return engine("run", "jobs.jsonl", "--run-dir", "jobs.run", *provider.options(), *words, cwd=directory)


def test_what_the_engine_makes_is_private(finished: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (finished / "jobs.run").rglob("*")}
    assert {mode for name, mode in modes.items() if name != "media"} == {0o600}
    assert modes["media"] == 0o700


def test_a_file_is_no_run_directory(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs.run").write_text("precious")
    done = _again(provider, tmp_path)
    assert done.code == 2
    assert "not a directory" in done.err
    assert (tmp_path / "jobs.run").read_text() == "precious"


def _make_foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name)")
        db.commit()


def _make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * 20_000)


def _garble(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(_make_foreign, "another program"), (_make_newer, "format 99"), (_damage, "damaged"), (_garble, "damaged")],
)
@pytest.mark.parametrize("command", ["run", "status"])
def test_a_database_that_is_not_ours_or_not_whole_is_refused_and_left_as_it_is(
    provider: Provider, finished: Path, spoil: Callable[[Path], None], said: str, command: str
) -> None:
    ledger = finished / "jobs.run" / "run.db"
    spoil(ledger)
    before = ledger.read_bytes()
    done = _again(provider, finished) if command == "run" else engine("status", "jobs.run", cwd=finished)
    assert done.code == 4
    assert said in done.err
    assert ledger.read_bytes() == before


def test_a_moved_run_directory_is_a_run_directory(provider: Provider, finished: Path) -> None:
    (finished / "elsewhere").mkdir()
    (finished / "jobs.run").rename(finished / "elsewhere" / "moved")
    (finished / "jobs.jsonl").unlink()
    done = engine("resume", "elsewhere/moved", cwd=finished)
    assert done.code == 0
    assert all((finished / "elsewhere" / "moved" / line["files"][0]["path"]).is_file() for line in results(
        finished / "elsewhere" / "moved"
    ))  # fmt: skip


def test_a_run_directory_in_use_names_the_process(slow_provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with started("run", jobs, *slow_provider.options("limits.max_in_flight=1"), cwd=tmp_path) as process:
        lock = tmp_path / "jobs.run" / "lock"
        wait_in_thread_until(lambda: lock.is_file() and lock.read_text(), description="the run is open")
        refused = engine("resume", "jobs.run", cwd=tmp_path) if (tmp_path / "jobs.run/run.db").exists() else None
        again = engine("run", jobs, *slow_provider.options(), cwd=tmp_path)
        assert ended(process).code == 0
    assert again.code == 75
    assert f"process {process.pid}" in again.err
    assert refused is None or refused.code in {2, 75}


# --- the output -----------------------------------------------------------------------------------


def _shorten(path: Path) -> None:
    os.truncate(path, 100)


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace("succeeded", "SUCCEEDED"))


@pytest.mark.parametrize("spoil", [_shorten, _edit, os.unlink])
def test_an_output_that_was_spoilt_is_refused_with_the_way_out(
    provider: Provider, finished: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(finished / "jobs.run" / "results.jsonl")
    done = _again(provider, finished)
    assert done.code == 4
    assert "--rebuild-output" in done.err


@pytest.mark.parametrize("spoil", [_shorten, _edit, os.unlink])
def test_an_output_is_rebuilt_line_for_line(provider: Provider, finished: Path, spoil: Callable[[Path], None]) -> None:
    output = finished / "jobs.run" / "results.jsonl"
    before = output.read_bytes()
    spoil(output)
    assert _again(provider, finished, "--rebuild-output").code == 0
    assert output.read_bytes() == before


def test_what_a_crash_left_behind_the_last_line_is_cut_off(provider: Provider, finished: Path) -> None:
    output = finished / "jobs.run" / "results.jsonl"
    before = output.read_bytes()
    with output.open("ab") as file:
        file.write(b'{"id":"torn')
    assert _again(provider, finished).code == 0
    assert output.read_bytes() == before


def test_lines_go_where_they_are_told(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    assert _again(provider, tmp_path, "-o", "out.jsonl").code == 0
    assert len(parsed((tmp_path / "out.jsonl").read_text())) == 3
    assert not (tmp_path / "jobs.run" / "results.jsonl").exists()


def test_a_file_of_somebody_else_is_no_output(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("precious")
    before = provider.bill()["submits"]
    done = _again(provider, tmp_path, "-o", "out.jsonl")
    assert done.code == 2
    assert (tmp_path / "out.jsonl").read_text() == "precious"
    assert provider.bill()["submits"] == before


@pytest.mark.parametrize("output", ["absent/out.jsonl", "."])
def test_an_output_that_cannot_be_made_costs_nothing(
    provider: Provider, jobs: Path, tmp_path: Path, output: str
) -> None:
    before = provider.bill()["submits"]
    assert _again(provider, tmp_path, "-o", output).code == 2
    assert provider.bill()["submits"] == before


def test_an_output_that_is_no_file_costs_nothing(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    before = provider.bill()["submits"]
    done = _again(provider, tmp_path, "-o", "/dev/null")
    assert done.code == 2
    assert provider.bill()["submits"] == before


@needs_root
def test_a_device_is_never_replaced_by_a_file(provider: Provider, finished: Path) -> None:
    device = finished / "null"
    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    engine("resume", "jobs.run", "-o", "null", cwd=finished)
    assert device.is_char_device()


def test_a_rebuilt_output_never_replaces_the_input(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    before = jobs.read_bytes()
    done = _again(provider, tmp_path, "--rebuild-output", "-o", "jobs.jsonl")
    assert jobs.read_bytes() == before
    assert done.code == 2
