"""Bytes are synced before they are named, and names before anybody relies on them."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import pytest

from engine.disk import durable
from engine.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every sync and every change of a name, in order; a directory's sync is told from a file's."""
    seen: list[str] = []
    sync, rename, replace = os.fsync, os.rename, os.replace  # noqa: TID251 (what is watched)

    def watched_sync(fd: int) -> None:
        seen.append("sync directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync file")  # noqa: PTH112 (a descriptor)
        sync(fd)

    def watched_rename(source: Path, target: Path) -> None:
        seen.append("rename")
        rename(source, target)

    def watched_replace(source: Path, target: Path) -> None:
        seen.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(os, "replace", watched_replace)
    return seen


def fail_with(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_published_file_has_its_name_before_the_directory_is_synced(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "a.part").write_bytes(b"film")
    durable.publish(tmp_path / "a.part", tmp_path / "a.mp4")
    assert calls == ["rename", "sync directory"]
    assert (tmp_path / "a.mp4").read_bytes() == b"film"


@pytest.mark.parametrize("what", ["file", "directory", "dangling link"])
def test_publishing_never_overwrites(tmp_path: Path, what: str) -> None:
    target = tmp_path / "a.mp4"
    if what == "file":
        target.write_bytes(b"old")
    elif what == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.part").write_bytes(b"new")
    with pytest.raises(FileExistsError):
        durable.publish(tmp_path / "a.part", target)
    assert (tmp_path / "a.part").read_bytes() == b"new"


def test_a_replacement_is_synced_named_and_synced_again(tmp_path: Path, calls: list[str]) -> None:
    target = tmp_path / "summary.json"
    target.write_bytes(b"old")
    with durable.replacement(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert calls == ["sync file", "replace", "sync directory"]
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_replacement_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    target.write_bytes(b"old")

    def break_off() -> None:
        with durable.replacement(target) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[:3]))
    with (tmp_path / "out").open("wb", buffering=0) as file:
        durable.append(file.fileno(), b"a line of results\n", name="the output", hint="")
    assert (tmp_path / "out").read_bytes() == b"a line of results\n"
    assert calls == ["sync file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG])
def test_a_write_that_fails_is_a_storage_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as file:
        monkeypatch.setattr(os, "write", fail_with(code))
        with pytest.raises(
            StorageError, match=re.escape(f"the output could not be written ({os.strerror(code)})")
        ) as failure:
            durable.append(file.fileno(), b"line\n", name="the output", hint="free some space")
        monkeypatch.undo()
    assert failure.value.hint == "free some space"


def test_a_failed_sync_is_final_and_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fail(fd: int) -> None:
        tries.append(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    target = tmp_path / "summary.json"
    with pytest.raises(StorageError, match="durable"), durable.replacement(target) as file:
        file.write(b"new")
    assert len(tries) == 1
    assert not target.exists()


def test_cutting_is_durable(tmp_path: Path, calls: list[str]) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"line\nto")
    with path.open("rb+", buffering=0) as file:
        durable.cut(file.fileno(), 5)
    assert (path.read_bytes(), calls) == (b"line\n", ["sync file"])


def test_each_new_directory_is_synced_into_its_parent(tmp_path: Path, calls: list[str]) -> None:
    durable.make_directory(tmp_path / "a" / "b")
    assert calls == ["sync directory", "sync directory"]
    durable.make_directory(tmp_path / "a" / "b")
    assert len(calls) == 2
