"""Make bytes survive a power cut: the only file that syncs, renames and truncates.

The order is always: write, sync the file, rename it within its directory, sync the directory. Until the
directory is synced, a crash may bring the old name back. A failed sync is final: the kernel may have
dropped the very pages it could not write, so a second, successful sync would prove nothing.

All functions block; call them from a thread when the event loop must stay smooth.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from engine.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE_FILE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700


def sync_file(fd: int) -> None:
    """Force the written bytes of an open file to the disk.

    Raises:
        StorageError: the disk refused; the run must stop, and the sync must not be tried again.
    """
    try:
        os.fsync(fd)  # noqa: TID251 (this is the file that durability lives in)
    except OSError as error:
        raise StorageError(
            f"the disk refused to make written data durable ({error.strerror})",
            hint="check the disk (dmesg, smartctl) and its free space; then run the same command again",
        ) from error


def sync_directory(directory: Path) -> None:
    """Force the names in a directory (creations, renames, removals) to the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(fd)
    finally:
        os.close(fd)


def publish(part: Path, target: Path) -> None:
    """Give a complete, synced file its final name, durably.

    Never overwrites: the caller holds the run's lock, so that looking first is enough.

    Raises:
        FileExistsError: something (a file, a directory, a symbolic link) already has the name.
    """
    if os.path.lexists(target):
        raise FileExistsError(str(target))
    os.rename(part, target)  # noqa: PTH104, TID251 (this is the file that durability lives in)
    sync_directory(target.parent)


@contextmanager
def replacement(target: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``target`` when the block ends well: old content or new, never a mixture.

    When it ends in an error, what was written is removed; a process that is killed leaves it as ``NAME.part``.
    """
    part = target.with_name(target.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE_MODE)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            sync_file(file.fileno())
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    os.replace(part, target)  # noqa: PTH105, TID251 (this is the file that durability lives in)
    sync_directory(target.parent)


def append(fd: int, content: bytes, *, name: str, hint: str) -> None:
    """Write all of ``content`` at the end of an open file and force it to the disk.

    A full disk can make a write return short without an error, so what is left is written until the
    system says why it cannot be.

    Args:
        fd: the open file.
        content: what is written.
        name: what a person calls the file; a message begins with it.
        hint: what helps where there is no room.

    Raises:
        StorageError: the disk is full or failing.
    """
    left = memoryview(content)
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError as error:
        raise StorageError(f"{name} could not be written ({error.strerror})", hint=hint) from error
    sync_file(fd)


def cut(fd: int, length_bytes: int) -> None:
    """Shorten an open file to ``length_bytes``, durably."""
    os.ftruncate(fd, length_bytes)
    sync_file(fd)


def make_directory(directory: Path) -> None:
    """Create a private directory durably, with its parents; one that exists is left as it is."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
        sync_directory(path.parent)
