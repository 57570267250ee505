"""The file a download grows in: ``NAME.part`` beside its final place.

Blocks are hashed and written in one hop to a thread. The file is locked while somebody owns it, so that a sweep can
tell a leftover from a download. Errors of the disk leave here as ``StorageError``. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import io
import os
import stat
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from aiofiles.threadpool.binary import AsyncFileIO

from engine.disk.durable import PRIVATE_FILE_MODE
from engine.errors import StorageError
from engine.media.answer_head import Kept
from engine.media.failures import disk_full, storage_error
from engine.media.threads import settled

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override  # aiohttp depends on it for these versions

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Executor
    from pathlib import Path
    from typing import Any

    from _typeshed import ReadableBuffer

SUFFIX = ".part"
# The system takes 1,024 buffers in one call (IOV_MAX of Linux and macOS).
PIECES_MAX = 1024

Result = TypeVar("Result")


def free_bytes(directory: Path) -> int:
    """Return what an ordinary user can still write to the file system of ``directory``."""
    facts = os.statvfs(directory)
    return facts.f_bavail * facts.f_frsize


class _HashedFile(io.FileIO):
    """Writes all of a block or raises, and hashes what it writes.

    The lock makes closing wait for a write that is still in its thread.
    """

    def __init__(self, fd: int, require_room: Callable[[int], None]) -> None:
        super().__init__(fd, "r+")
        self._lock = threading.Lock()
        self.require_room = require_room
        self._hash = hashlib.sha256()
        self.length = 0

    @override
    def writelines(self, pieces: Iterable[ReadableBuffer], /) -> None:
        rest = [memoryview(piece) for piece in pieces]
        length = sum(piece.nbytes for piece in rest)
        with self._lock:
            self.require_room(length)
            for piece in rest:
                self._hash.update(piece)
            # A full disk can make a write short without an error; the next one then says why.
            while rest:
                rest = _after(rest, os.writev(self.fileno(), rest))
            self.length += length

    @override
    def truncate(self, size: int | None = None) -> int:
        assert not size, "a part is cut to nothing or not at all: a hash cannot go back"
        with self._lock:
            os.ftruncate(self.fileno(), 0)
            os.lseek(self.fileno(), 0, os.SEEK_SET)
            self._hash, self.length = hashlib.sha256(), 0
        return 0

    @override
    def close(self) -> None:
        with self._lock:
            super().close()

    @property
    def sha256(self) -> str:
        """The digest of everything written."""
        return self._hash.hexdigest()


class PartFile:
    """One ``.part``: open, owned and growing.

    Attributes:
        path: where it is.
        validator: how the host can be asked whether the file is still the one these bytes come from.
        total: how long the host said the whole file is.
    """

    def __init__(self, path: Path, file: _HashedFile, executor: Executor | None) -> None:
        self.path = path
        self.validator: str | None = None
        self.total: int | None = None
        self._raw = file
        self._executor = executor
        self._file = AsyncFileIO(file, asyncio.get_running_loop(), executor)

    @classmethod
    async def open(
        cls, path: Path, *, reserve_bytes: int, executor: Executor | None, free: Callable[[Path], int] = free_bytes
    ) -> PartFile:
        """Create the file, or empty a leftover of that name, and own it.

        Raises:
            StorageError: it cannot be created, it is a link or no regular file, or somebody owns it.
        """
        work = partial(_open, path, reserve_bytes=reserve_bytes, free=free)
        opening = asyncio.get_running_loop().run_in_executor(executor, work)
        try:
            return cls(path, await settled(opening), executor)
        except asyncio.CancelledError:
            if not opening.cancelled() and opening.exception() is None:
                _discard(path, opening.result())
            raise

    @override
    def __repr__(self) -> str:
        return f"<PartFile {self.path.name} {self.length} of {self.total} bytes>"

    @property
    def length(self) -> int:
        """The bytes on disk."""
        return self._raw.length

    @property
    def sha256(self) -> str:
        """The digest of the bytes on disk."""
        return self._raw.sha256

    @property
    def fd(self) -> int:
        """The descriptor, for reading what was written."""
        return self._raw.fileno()

    @property
    def kept(self) -> Kept:
        """What another try can build on."""
        return Kept(self.length, self.validator, self.total)

    def forget(self) -> None:
        """Make the next try ask for the file from its first byte."""
        self.validator = None

    async def write(self, pieces: list[bytes]) -> None:
        """Append at most ``PIECES_MAX`` pieces, in one hop to a thread and one call of the system."""
        await self._settled(self._file.writelines(pieces))

    async def require_room(self, length: int) -> None:
        """Make sure that ``length`` more bytes leave the reserve of the disk alone.

        Raises:
            DiskFullError: they would not.
        """
        await self.in_thread(partial(self._raw.require_room, length))

    async def restart(self) -> None:
        """Throw away what is there."""
        if self.length:
            await self._settled(self._file.truncate(0))

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        """Do blocking work on this file in a thread, with the errors of the disk translated."""
        loop = asyncio.get_running_loop()
        return await self._settled(loop.run_in_executor(self._executor, work))

    async def close(self, *, remove: bool) -> None:
        """Give the file up; with ``remove`` its name goes first, while nobody else can take it for a leftover."""

        def close() -> None:
            with suppress(OSError):
                if remove:
                    self.path.unlink(missing_ok=True)
            with suppress(OSError):
                self._raw.close()

        await settled(asyncio.get_running_loop().run_in_executor(self._executor, close))

    async def _settled(self, work: Coroutine[Any, Any, Result] | asyncio.Future[Result]) -> Result:
        try:
            return await settled(work)
        except OSError as error:
            raise storage_error(error, self.path) from error


def _after(pieces: list[memoryview], written: int) -> list[memoryview]:
    """Return what is left of ``pieces`` when their first ``written`` bytes are gone."""
    for number, piece in enumerate(pieces):
        if written < piece.nbytes:
            return [piece[written:], *pieces[number + 1 :]]
        written -= piece.nbytes
    return []


def _open(path: Path, *, reserve_bytes: int, free: Callable[[Path], int]) -> _HashedFile:
    """Create and own a part; blocks."""

    def require_room(length: int) -> None:
        left = free(path.parent) - length
        if left < reserve_bytes:
            raise disk_full(path.parent, f"{max(0, left)} bytes would be left, the reserve is {reserve_bytes}")

    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE_MODE)
    except OSError as error:
        if path.is_symlink():
            raise _foreign(path, "is a symbolic link") from error
        raise storage_error(error, path) from error
    try:
        _own(fd, path)
        return _HashedFile(fd, require_room)
    except BaseException:
        os.close(fd)
        raise


def _discard(path: Path, file: _HashedFile) -> None:
    """Take back a part that nobody will use."""
    path.unlink(missing_ok=True)
    file.close()


def _own(fd: int, path: Path) -> None:
    """Lock a part and empty it, if it is one of ours: emptying a hard link would empty somebody's file."""
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        raise _foreign(path, "is not a file of its own")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(fd, PRIVATE_FILE_MODE)
        os.ftruncate(fd, 0)
    except BlockingIOError as error:
        raise _foreign(path, "belongs to a running download") from error
    except OSError as error:
        raise storage_error(error, path) from error


def _foreign(path: Path, what: str) -> StorageError:
    return StorageError(f"{path} {what}", hint="the engine writes there: remove it, then run the same command again")


def sweep_parts(media_dir: Path) -> int:
    """Remove the ``.part`` files that nobody owns and return how many there were; blocks.

    Links are removed, not followed; directories and parts of a running download stay.
    """
    removed = 0
    if not media_dir.is_dir():
        return 0
    for path in sorted(media_dir.glob(f"*{SUFFIX}")):
        if path.is_symlink() or (path.is_file() and _is_leftover(path)):
            with suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _is_leftover(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)
