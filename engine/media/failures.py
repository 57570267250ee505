"""What can go wrong with one download, and with the disk under all of them.

::

    DownloadError           this file cannot be had now; the caller decides what becomes of the job
    StorageError            (engine.errors) the disk fails: every download ends the same way
    ├── DiskFullError       less than the reserve is free; the download can wait and keeps its URL
    ├── StoreAwayError      the object store does not answer; what is to go there waits on this disk
    └── StoreRefusedError   the object store answers, and will not have it: no bucket, no rights, no credentials
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Literal

from engine.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

FailureKind = Literal["url_gone", "bad_media", "too_large", "blocked_address", "unauthorized", "unreachable"]

FIRST_BYTES_MAX = 256

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_HINTS = {
    errno.EROFS: "the file system is read-only: remount it writable, or choose another storage.root; then resume",
    errno.EIO: "the disk reports errors: check it (dmesg, smartctl) before you resume",
    errno.EACCES: "give this user the right to write there, or choose another storage.root; then resume",
    errno.EPERM: "give this user the right to write there, or choose another storage.root; then resume",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower downloads.concurrency; then resume",
    errno.ENFILE: "the machine is out of open files; close something, then resume",
    errno.EFBIG: "the file system or the shell (ulimit -f) limits the size of a file; raise it, then resume",
}


class DownloadError(Exception):
    """One file could not be had.

    Attributes:
        kind: ``url_gone`` (ask the provider for a fresh URL), ``bad_media`` (what the URL serves is no whole media
            file), ``too_large``, ``blocked_address`` (the URL must not be asked), ``unauthorized`` (the provider serves
            the file itself and refuses the key), ``unreachable`` (nothing is wrong with the result: hold it while its
            URL lives).
        message: a sentence.
        http_status: the status the host answered with, if that decided.
        first_bytes: the beginning of what came, escaped; empty when nothing came.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, http_status: int | None = None, first_bytes: str = ""
    ) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.http_status = http_status
        self.first_bytes = first_bytes


class DiskFullError(StorageError):
    """Less than the reserve is free on the disk the media go to."""


class StoreAwayError(StorageError):
    """The object store cannot be reached, or is not well; another try may find it back."""


class StoreRefusedError(StorageError):
    """The object store takes nothing from us as things are; another try would hear the same."""


def escaped(content: bytes) -> str:
    """Return the first bytes of ``content`` as text that is harmless in a log, a terminal and a JSON string."""
    return repr(content[:FIRST_BYTES_MAX])[2:-1]


def disk_full(directory: Path, detail: str) -> DiskFullError:
    """Return the error for a disk without room for media."""
    return DiskFullError(
        f"no room for media in {directory}: {detail}",
        hint="free some space there, or move the run directory to a larger disk; then run the same command again",
    )


def storage_error(error: OSError, path: Path) -> StorageError:
    """Translate what the operating system says about a file of ours."""
    if error.errno in _FULL:
        return disk_full(path.parent, error.strerror or "the disk is full")
    hint = _HINTS.get(error.errno or 0, "check the disk and the rights on it; then run the same command again")
    return StorageError(f"cannot write {path}: {error.strerror or error}", hint=hint)
