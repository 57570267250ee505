"""Room kept for the worst moment: a file that is given up when the disk is full, so that what is known is recorded.

A reply that says what was paid for may arrive when nothing can be written any more. The ledger then throws the
ballast away, records the reply in the room it had, and the run stops in order.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Self

from engine.disk.durable import PRIVATE_FILE_MODE

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

BALLAST_BYTES = 8 * 2**20
"""Room for the write-ahead log of thousands of commits."""


class Ballast:
    """The file, for as long as the block lasts; on a disk that has no room for it there is none."""

    def __init__(self, path: Path, *, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE_MODE)
        except OSError:
            return self
        try:
            os.posix_fallocate(fd, 0, self._size_bytes)
        except OSError:
            self.release()
        finally:
            os.close(fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> bool:
        """Give the room up; returns whether there was any."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
