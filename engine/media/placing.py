"""Give a verified part its final name, durably and without overwriting anything.

A file of that name with the very same bytes is adopted: it is what a killed run had stored already. Anything else
that has the name (other bytes, a link, a directory) stays as it is, and the next free number is taken. Stems end in
a hash, so that no stem is another's numbered variant. All of it blocks.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from engine.disk import durable
from engine.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

NAMES_MAX = 1_000


def place(part: Path, fd: int, *, stem: str, extension: str, sha256: str, names_max: int = NAMES_MAX) -> str:
    """Make the part durable under ``stem + extension`` in its own directory and return the name it got.

    Raises:
        StorageError: the disk refuses, or no name is free.
        OSError: the disk refuses, in its own words.
    """
    durable.sync_file(fd)
    size = os.fstat(fd).st_size
    for number in range(1, names_max + 1):
        name = f"{stem}{extension}" if number == 1 else f"{stem}-{number}{extension}"
        target = part.with_name(name)
        try:
            durable.publish(part, target)
        except FileExistsError:
            if _adopt(target, size=size, sha256=sha256):
                part.unlink(missing_ok=True)
                return name
        else:
            return name
    raise StorageError(
        f"{names_max} files named {stem}{extension} or numbered like it stand in {part.parent}",
        hint="move them away, then run the same command again",
    )


def _adopt(target: Path, *, size: int, sha256: str) -> bool:
    """Tell whether ``target`` is a regular file with these very bytes, and if so make it durable."""
    try:
        fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a link, a directory without the right to read it, gone: nothing to adopt
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != size or _sha256(fd) != sha256:
            return False
        # Who wrote it may have been killed before it was synced.
        durable.sync_file(fd)
        durable.sync_directory(target.parent)
        return True
    finally:
        os.close(fd)


def _sha256(fd: int) -> str:
    with os.fdopen(fd, "rb", closefd=False) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
