"""The run directory: what lies where, and the lock that keeps it to one process.

The lock is an ``flock`` on the file ``lock``, which the kernel releases however the process ends; the text
in it (process id, host, since when) is for people only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from typing import TYPE_CHECKING, Self

from engine.clock import iso_utc
from engine.disk.durable import PRIVATE_FILE_MODE, make_directory
from engine.errors import RunDirectoryBusyError, StorageError, UsageError
from engine.refusals import refusal_hint

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from engine.clock import Clock

OF_THE_DISK = frozenset({errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of the disk itself, which no permission mends."""
TRIES = 5
PAUSE_S = 0.05


class RunDir:
    """Where each file of a run lies. Nothing else is needed to resume, and the directory can be moved."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = root / "run.db"
        self.results = root / "results.jsonl"
        self.media = root / "media"
        self.log = root / "run.log"
        self.summary = root / "summary.json"
        self.report = root / "report.html"
        self.control = root / "control.jsonl"
        self.ballast = root / "ballast"
        self.lock = root / "lock"
        self.simulator_journal = root / "simulator.jsonl"

    def create(self) -> None:
        """Make the directory and its parents, private to the user, if they are not there.

        Raises:
            UsageError: it cannot be made or written.
            StorageError: its file system is read-only.
        """
        try:
            make_directory(self.root)
            _check_writable(self.root)
        except OSError as error:
            raise (StorageError if error.errno in OF_THE_DISK else UsageError)(
                f"the run directory {self.root} cannot be used ({error.strerror})",
                hint="choose a directory you may write to with --run-dir",
            ) from error

    def must_exist(self) -> None:
        """Refuse a directory that holds no run.

        Raises:
            UsageError: with what was expected.
        """
        if not self.ledger.is_file():
            raise UsageError(
                f"{self.root} is not a run directory: it holds no run.db",
                hint="name the directory that 'engine run' made (for jobs.jsonl it is jobs.run)",
            )


def _check_writable(directory: Path) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is not a directory")
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "not writable")


class RunLock:
    """Holds a run directory for this process; a context manager."""

    def __init__(self, run_dir: RunDir, clock: Clock) -> None:
        self._path = run_dir.lock
        self._clock = clock
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            RunDirectoryBusyError: another process has it; says which.
            StorageError: the lock file cannot be made.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE_MODE)
        except OSError as error:
            raise StorageError(
                f"the lock {self._path} cannot be opened ({error.strerror})",
                hint=f"{refusal_hint(error)} with --run-dir",
            ) from error
        try:
            _take(fd)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(fd)
            raise RunDirectoryBusyError(
                f"the run directory {self._path.parent} is in use by {holder}",
                hint=f"watch it with: engine status {self._path.parent}",
            ) from None
        except OSError as error:
            os.close(fd)
            raise StorageError(
                f"the file system of {self._path} offers no locks ({error.strerror})",
                hint="put the run directory on a local disk with --run-dir",
            ) from error
        os.ftruncate(fd, 0)
        text = f"process {os.getpid()} on {socket.gethostname()} since {iso_utc(self._clock.utc())}\n"
        os.pwrite(fd, text.encode(), 0)
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def _take(fd: int) -> None:
    """Take the lock; ``lock_holder`` may have it for an instant, so a refusal is believed only when it lasts."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        threading.Event().wait(PAUSE_S)
    return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_holder(directory: RunDir) -> str | None:
    """Return who works on a run directory now, or None."""
    try:
        fd = os.open(directory.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 200, 0).decode(errors="replace").strip()
    else:
        return None
    finally:
        os.close(fd)
