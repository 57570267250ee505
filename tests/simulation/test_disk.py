"""The simulated disk loses what was not synced, and keeps what was."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engine.disk.durable import publish, replacement, sync_directory, sync_file
from tests.simulation.disk import PowerCut, SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRIES = 40


def found_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], name: str
) -> set[bytes | None]:
    """Return everything that may be found in a file after a cut behind ``write``."""
    found: set[bytes | None] = set()
    for number in range(TRIES):
        root, after = tmp_path / f"{number}-before", tmp_path / f"{number}-after"
        root.mkdir()
        disk = SimulatedDisk(root, random.Random(number))
        with disk.watched(monkeypatch):
            write(root)
        disk.die()
        disk.cut(after)
        path = after / name
        found.add(path.read_bytes() if path.exists() else None)
    return found


def unsynced(root: Path) -> None:
    with _opened(root) as fd:
        os.write(fd, b"content")


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    fd = os.open(root / "file", os.O_WRONLY | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


def synced(root: Path) -> None:
    with _opened(root) as fd:
        os.write(fd, b"content")
        sync_file(fd)
    sync_directory(root)


def renamed_without_a_sync_of_the_directory(root: Path) -> None:
    synced(root)
    os.rename(root / "file", root / "renamed")  # noqa: PTH104, TID251 (what a careless program does)


def test_what_was_not_synced_may_be_lost_whole_or_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_after(tmp_path, monkeypatch, unsynced, "file")
    assert {None, b"", b"content"} < found


def test_what_was_synced_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_after(tmp_path, monkeypatch, synced, "file") == {b"content"}


def test_a_rename_may_be_undone_until_its_directory_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_after(tmp_path, monkeypatch, renamed_without_a_sync_of_the_directory, "renamed")
    assert found == {None, b"content"}


def test_the_engines_own_ways_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced(root: Path) -> None:
        synced(root)
        with replacement(root / "file") as file:
            file.write(b"newer")

    def published(root: Path) -> None:
        synced(root)
        publish(root / "file", root / "published")

    assert found_after(tmp_path / "r", monkeypatch, _in(tmp_path / "r", replaced), "file") == {b"newer"}
    assert found_after(tmp_path / "p", monkeypatch, _in(tmp_path / "p", published), "published") == {b"content"}


def _in(directory: Path, write: Callable[[Path], None]) -> Callable[[Path], None]:
    directory.mkdir()
    return write


def test_a_dead_disk_does_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimulatedDisk(tmp_path, random.Random(1), dies_at=2)
    with disk.watched(monkeypatch):
        with pytest.raises(PowerCut):
            synced(tmp_path)
        with pytest.raises(PowerCut):
            unsynced(tmp_path)
