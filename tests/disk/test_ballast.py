"""On a full disk the ledger still records what is known, in the room of the ballast."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from engine.disk.ballast import BALLAST_BYTES, Ballast
from engine.errors import StorageError
from engine.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTE = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB that can be filled."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("a file system that can be full needs root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> None:
    """Leave no byte free."""
    with (place / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4_096) == 4_096:
                pass
        except OSError:
            return


async def test_a_full_disk_still_takes_what_is_known_and_then_says_that_it_is_full(disk: Path) -> None:
    with Ballast(disk / "ballast") as ballast:
        assert (disk / "ballast").stat().st_size == BALLAST_BYTES
        ledger = Ledger.open(disk / "run.db", make_room=ballast.release)
        await ledger.note(before="x" * MEGABYTE)
        fill(disk)
        await ledger.note(after="y" * MEGABYTE)
        assert not (disk / "ballast").exists()
        assert len((await ledger.facts())["after"]) == MEGABYTE
        with pytest.raises(StorageError, match="the disk is full"):
            await ledger.note(too_much="z" * 12 * MEGABYTE)
        ledger.close()


def test_it_is_gone_when_the_block_ends(tmp_path: Path) -> None:
    with Ballast(tmp_path / "ballast"):
        assert (tmp_path / "ballast").stat().st_size == BALLAST_BYTES
    assert list(tmp_path.iterdir()) == []


def test_on_a_disk_without_room_for_it_there_is_none_and_nothing_is_left(disk: Path) -> None:
    fill(disk)
    with Ballast(disk / "ballast") as ballast:
        assert not (disk / "ballast").exists()
        assert not ballast.release()


def test_a_link_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "ballast").symlink_to(tmp_path / "mine")
    with Ballast(tmp_path / "ballast", size_bytes=10):
        assert (tmp_path / "mine").read_text() == "mine"
