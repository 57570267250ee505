"""File systems that can be full or lose their power: a small tmpfs, and ext4 on a loop device.

Mounting needs root and a kernel that allows it; ``why_not`` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
LOGFLUSH, NOLOGFLUSH = 1, 2
"""What the shutdown does with the journal's running commit: write it first, or lose it as a power cut does."""

LOOP_MAJOR = 7
IMAGE_BYTES = 64 * 2**20
UNMOUNT_TRIES, UNMOUNT_PAUSE_S = 100, 0.05


class NotPossibleError(Exception):
    """This machine does not let us mount what the test needs."""


def _call(*words: object) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise NotPossibleError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def _unmount(place: Path) -> None:
    """Unmount; a process that was just killed may hold its files for a moment."""
    for left in reversed(range(UNMOUNT_TRIES)):
        try:
            return _call("umount", place)
        except NotPossibleError:
            if not left:
                raise
            threading.Event().wait(UNMOUNT_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def why_not(*tools: str) -> str:
    """Return why file systems cannot be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "needs root, to mount a file system"
    missing = [tool for tool in ("mount", "umount", *tools) if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """Mount a tmpfs of ``size`` at ``place``.

    Raises:
        NotPossibleError: not on this machine.
    """
    place.mkdir(parents=True, exist_ok=True)
    if reason := why_not():
        raise NotPossibleError(reason)
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "none", place)
    try:
        yield
    finally:
        _unmount(place)


def make_room(place: Path) -> None:
    """Let a small disk grow."""
    _call("mount", "-o", "remount,size=64m", place)


@contextlib.contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Let the file ``target`` lie on the file system of ``source``."""
    _call("mount", "--bind", source, target)
    try:
        yield
    finally:
        _unmount(target)


class PowerDisk:
    """An ext4 file system whose power can be cut; a context manager.

    Attributes:
        place: where it is mounted.
    """

    def __init__(self, directory: Path) -> None:
        self._image = directory / "disk.img"
        self.place = directory / "disk"

    def __enter__(self) -> Self:
        """Make and mount it.

        Raises:
            NotPossibleError: not on this machine.
        """
        if reason := why_not("mkfs.ext4"):
            raise NotPossibleError(reason)
        self.place.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _call("mkfs.ext4", "-q", "-F", self._image)
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self.place)
        self._image.unlink()

    def cut(self, flag: int = NOLOGFLUSH) -> None:
        """Cut the power: from now on nothing reaches the disk."""
        fd = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The very descriptor that is shut down is looked at: had the mount failed, it would be the machine's disk.
            if os.major(os.fstat(fd).st_dev) != LOOP_MAJOR:
                raise NotPossibleError(f"{self.place} is not on a loop device")
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(fd)

    def power_on(self) -> None:
        """Mount what reached the disk; ext4 replays its journal."""
        _unmount(self.place)
        self._mount()

    def _mount(self) -> None:
        _call("mount", "-t", "ext4", "-o", "loop", self._image, self.place)
