"""A full, refusing or short-writing disk, and the names that are already taken there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import StorageError
from engine.media.downloader import DownloadTask
from engine.media.failures import DiskFullError, storage_error
from engine.media.part import PartFile, sweep_parts
from engine.media.placing import place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sockets

NAME = "clip-001-3f9c12ab34cd"


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_disk_full_below_the_reserve_is_told_before_the_body(kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4(50_000)))
    downloader = await kit.downloader(reserve_bytes=1_000_000, free=lambda _directory: 1_040_000)
    with pytest.raises(DiskFullError) as caught:
        await downloader.fetch(DownloadTask(host.url(), NAME))
    assert caught.value.hint
    assert kit.names() == []


async def test_disk_full_while_downloading_stops_at_the_reserve(kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4(500_000), length=None))
    left = iter(range(1_000_000, 0, -50_000))
    downloader = await kit.downloader(reserve_bytes=800_000, free=lambda _directory: next(left), block_bytes=20_000)
    with pytest.raises(DiskFullError):
        await downloader.fetch(DownloadTask(host.url(), NAME))
    assert kit.names() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
async def test_disk_full_quota_read_only_eio_say_what_to_do(
    kit: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader()

    def refuse(_fd: int, _block: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("engine.media.part.os.writev", refuse)
    with pytest.raises(StorageError) as caught:
        await downloader.fetch(DownloadTask(host.url(), NAME))
    assert caught.value.hint
    assert isinstance(caught.value, DiskFullError) == (number in {errno.ENOSPC, errno.EDQUOT})
    assert len(host.asked) == 1


async def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call may end within a piece, at its end, or after several; empty pieces lie between."""
    pieces = [b"", b"a", bytes(range(250)), b"", b"bc", b"", b"defg" * 300, b"h", b""]
    content = b"".join(pieces)
    real_write = os.write
    for at_once in (1, 2, 3, 251, 777, len(content) - 1, len(content)):
        part = await PartFile.open(tmp_path / f"{at_once}.part", reserve_bytes=0, executor=None)
        with monkeypatch.context() as patched:
            patched.setattr(
                "engine.media.part.os.writev",
                lambda fd, rest, at_once=at_once: real_write(fd, b"".join(rest)[:at_once]),
            )
            await part.write(pieces)
        assert (part.length, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        await part.close(remove=False)
        assert part.path.read_bytes() == content


async def test_fsync_error_is_fatal_and_nothing_is_published(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader()
    calls = []

    def refuse(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr("engine.disk.durable.os.fsync", refuse)
    with pytest.raises(StorageError, match="durable"):
        await downloader.fetch(DownloadTask(host.url(), NAME))
    assert len(calls) == 1
    assert kit.names() == []


def test_a_file_size_limit_of_the_shell_is_a_storage_error(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, pathlib, resource, sys
        from engine.errors import StorageError
        from engine.media.part import PartFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        async def main():
            part = await PartFile.open(pathlib.Path(sys.argv[1]) / "a.part", reserve_bytes=0, executor=None)
            try:
                for _ in range(3):
                    await part.write([bytes(60_000)])
            except StorageError as error:
                print(part.length, error.hint)
            await part.close(remove=True)
        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("60000 ")
    assert "ulimit -f" in done.stdout
    assert names_in(tmp_path) == []


async def test_a_symlinked_part_is_refused(kit: Any) -> None:
    kit.media_dir.mkdir()
    precious = kit.media_dir.parent / "precious"
    precious.write_bytes(b"precious")
    (kit.media_dir / f"{NAME}.part").symlink_to(precious)
    with pytest.raises(StorageError, match="symbolic link"):
        await (await kit.downloader()).fetch(DownloadTask("http://127.0.0.1:9/", NAME))
    assert precious.read_bytes() == b"precious"


async def test_a_hard_linked_part_is_refused(kit: Any) -> None:
    kit.media_dir.mkdir()
    precious = kit.media_dir.parent / "precious"
    precious.write_bytes(b"precious")
    (kit.media_dir / f"{NAME}.part").hardlink_to(precious)
    with pytest.raises(StorageError, match="own"):
        await (await kit.downloader()).fetch(DownloadTask("http://127.0.0.1:9/", NAME))
    assert precious.read_bytes() == b"precious"


async def test_the_tail_of_a_leftover_part_is_not_trusted(kit: Any) -> None:
    kit.media_dir.mkdir()
    (kit.media_dir / f"{NAME}.part").write_bytes(bytes(99_999))
    body = kit.mp4()
    host = await kit.host(kit.answer(body))
    stored = await (await kit.downloader()).fetch(DownloadTask(host.url(), NAME))
    assert kit.stored(stored.path) == body
    assert "range" not in host.asked[0].headers


async def test_a_sweep_removes_leftovers_and_leaves_what_is_owned_or_foreign(tmp_path: Path) -> None:
    owned = await PartFile.open(tmp_path / "owned.part", reserve_bytes=0, executor=None)
    (tmp_path / "left.part").write_bytes(b"x")
    (tmp_path / "whole.mp4").write_bytes(b"x")
    (tmp_path / "link.part").symlink_to("whole.mp4")
    (tmp_path / "directory.part").mkdir()
    assert sweep_parts(tmp_path) == 2
    assert names_in(tmp_path) == ["directory.part", "owned.part", "whole.mp4"]
    await owned.close(remove=False)
    assert sweep_parts(tmp_path) == 1
    assert sweep_parts(tmp_path / "missing") == 0


async def test_a_part_is_owned_by_one(tmp_path: Path) -> None:
    part = await PartFile.open(tmp_path / "a.part", reserve_bytes=0, executor=None)
    with pytest.raises(StorageError, match="running download"):
        await PartFile.open(tmp_path / "a.part", reserve_bytes=0, executor=None)
    await part.close(remove=True)
    assert names_in(tmp_path) == []


async def test_a_write_that_is_cancelled_has_ended_before_the_file_is_closed(tmp_path: Path) -> None:
    part = await PartFile.open(tmp_path / "a.part", reserve_bytes=0, executor=None)
    for _ in range(20):
        work = asyncio.create_task(part.write([bytes(2_000_000)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        assert part.length == (tmp_path / "a.part").stat().st_size
    await part.close(remove=True)


def test_when_every_name_is_taken_it_is_said(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    part.write_bytes(b"new")
    for name in ("a.mp4", "a-2.mp4"):
        (tmp_path / name).write_bytes(b"old")
    with part.open("rb") as file, pytest.raises(StorageError, match="2 files"):
        place(part, file.fileno(), stem="a", extension=".mp4", sha256="0" * 64, names_max=2)
    assert (tmp_path / "a.mp4").read_bytes() == b"old"


def test_an_unforeseen_error_of_the_disk_still_has_a_hint(tmp_path: Path) -> None:
    assert storage_error(OSError(errno.ELOOP, "loop"), tmp_path).hint


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; needs root, else the test is skipped and says so."""
    place_ = tmp_path / "small"
    place_.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place_)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield place_
    subprocess.run(["umount", str(place_)], check=True)


async def test_a_really_full_file_system_is_a_storage_error(small_disk: Path, kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4(1_000_000), length=None))
    downloader = await kit.downloader(media_dir=small_disk / "media", block_bytes=65_536)
    with pytest.raises(DiskFullError):
        await downloader.fetch(DownloadTask(host.url(), NAME))
    assert names_in(small_disk / "media") == []
