"""A disk that refuses: exit 4 in words, the state intact, and the same command finishes later."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.console.conftest import engine, results, some_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.console.conftest import Provider

pytestmark = [pytest.mark.processes, pytest.mark.sockets]

JOBS = 40


@contextmanager
def _disk(directory: Path, size: str) -> Iterator[Path]:
    """Mount a small file system; skip where that is not allowed."""
    place = directory / "disk"
    place.mkdir()
    if os.geteuid() != 0 or _mount("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)):
        pytest.skip("needs root and the right to mount: a file system that can be full")
    try:
        yield place
    finally:
        _mount("umount", str(place))


def _mount(*words: str) -> int:
    return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode


def test_a_full_disk_ends_with_4_and_room_finishes_the_batch(provider: Provider, tmp_path: Path) -> None:
    jobs = some_jobs(tmp_path, JOBS)
    with _disk(tmp_path, "600k") as disk:
        before = provider.bill()["paid"]
        full = engine("run", jobs, "--run-dir", disk / "r", *provider.options(), cwd=tmp_path)
        assert full.code == 4
        assert "hint: " in full.err
        assert _mount("mount", "-o", "remount,size=20m", str(disk)) == 0
        done = engine("run", jobs, "--run-dir", disk / "r", *provider.options(), cwd=tmp_path)
        assert done.code == 0, done.err
        assert len(results(disk / "r")) == JOBS
        assert provider.bill()["paid"] - before == JOBS


def test_a_read_only_disk_ends_with_4(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with _disk(tmp_path, "20m") as disk:
        assert engine("run", jobs, "--run-dir", disk / "r", *provider.options(), cwd=tmp_path).code == 0
        assert _mount("mount", "-o", "remount,ro", str(disk)) == 0
        done = engine("run", jobs, "--run-dir", disk / "r", *provider.options(), cwd=tmp_path)
        assert done.code == 4
        assert "Read-only file system" in done.err


def test_a_run_on_a_read_only_disk_can_be_looked_at(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    with _disk(tmp_path, "20m") as disk:
        assert engine("run", jobs, "--run-dir", disk / "r", *provider.options(), cwd=tmp_path).code == 0
        assert _mount("mount", "-o", "remount,ro", str(disk)) == 0
        assert engine("status", disk / "r", cwd=tmp_path).code == 0


def test_a_limit_on_file_sizes_ends_with_4_and_without_it_the_batch_finishes(
    provider: Provider, tmp_path: Path
) -> None:
    jobs = some_jobs(tmp_path, JOBS)
    before = provider.bill()["paid"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    assert engine("run", jobs, *provider.options(), cwd=tmp_path, preexec_fn=limit).code == 4
    assert engine("run", jobs, *provider.options(), cwd=tmp_path).code == 0
    assert provider.bill()["paid"] - before == JOBS


def test_a_place_for_media_that_cannot_be_made_is_named(provider: Provider, jobs: Path, tmp_path: Path) -> None:
    before = provider.bill()["submits"]
    done = engine("run", jobs, *provider.options("storage.root='/proc/nope'"), cwd=tmp_path)
    assert done.code == 4
    assert "/proc/nope" in done.err
    assert provider.bill()["submits"] == before
