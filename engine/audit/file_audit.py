"""Check every file that the ledger names: there, as long as it says, and byte for byte what was downloaded.

Files are read in threads, several at a time: hashing lets go of the interpreter, and a disk likes a queue.
Whatever else lies in the run's own media directory is an orphan; a directory that other runs may share
(``storage.root``) is not searched for them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from engine.audit.findings import Finding, Kind
from engine.media.names import media_name, stem_of
from engine.media.part import SUFFIX

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

THREADS = 4
SET_ASIDE = "set-aside"
"""Directory within the media directory for files that were found to be wrong or nobody's."""

_NAMED = (
    "SELECT file.job, id, path, bytes, sha256 FROM file JOIN job USING (job) JOIN input USING (job)"
    " WHERE status = 'succeeded' ORDER BY file.job, position"
)


class NamedFile(NamedTuple):
    """A file by the ledger's word."""

    job: int
    id: str
    path: str
    size_bytes: int
    sha256: bytes


def named_files(db: sqlite3.Connection) -> list[NamedFile]:
    """Return every file that a finished job is said to have."""
    return [NamedFile(*row) for row in db.execute(_NAMED)]


def audit_files(
    files: list[NamedFile], root: Path, *, quick: bool, on_checked: Callable[[int], None]
) -> Iterator[Finding]:
    """Yield what is wrong with ``files``.

    Args:
        files: as ``named_files`` gives them.
        root: the run directory, to which their paths are relative.
        quick: whether lengths are enough and nothing is read.
        on_checked: called with the length of each file when it was checked.
    """
    owners: dict[str, NamedFile] = {}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="audit") as pool:
        for file, checked in zip(files, pool.map(partial(_check, root=root, quick=quick), files), strict=True):
            on_checked(file.size_bytes)
            owner = owners.setdefault(file.path, file)
            doubled = (Kind.FILE_DOUBLED, f"it belongs to {owner.id!r} too")
            wrong = checked if owner is file else doubled
            if wrong is not None:
                yield Finding(kind=wrong[0], subject=file.path, detail=wrong[1], job=file.job, id=file.id)


def _check(file: NamedFile, *, root: Path, quick: bool) -> tuple[Kind, str] | None:
    path = root / file.path
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Kind.FILE_MISSING, "it is not there"
    except OSError as error:
        return Kind.FILE_ALTERED, f"it cannot be read ({error.strerror})"
    try:
        return _compare(fd, file, quick=quick)
    except OSError as error:
        return Kind.FILE_ALTERED, f"it cannot be read ({error.strerror})"
    finally:
        os.close(fd)


def _compare(fd: int, file: NamedFile, *, quick: bool) -> tuple[Kind, str] | None:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        return Kind.FILE_ALTERED, "it is no regular file"
    if facts.st_size != file.size_bytes:
        kind = Kind.FILE_TRUNCATED if facts.st_size < file.size_bytes else Kind.FILE_ALTERED
        return kind, f"it has {facts.st_size} bytes, {file.size_bytes} were stored"
    if quick:
        return None
    with os.fdopen(fd, "rb", closefd=False) as content:
        digest = hashlib.file_digest(content, "sha256").digest()
    return None if digest == file.sha256 else (Kind.FILE_ALTERED, "its bytes are not those that were stored")


def audit_orphans(db: sqlite3.Connection, files: list[NamedFile], media: Path, *, shown: str) -> Iterator[Finding]:
    """Yield the files in the run's own media directory that belong to no job.

    What a job in flight had stored before a crash is not one of them: its next download adopts it. Nor are
    unfinished downloads, which the next run removes.

    Args:
        db: the ledger.
        files: as ``named_files`` gives them.
        media: the directory to search.
        shown: what its path is called in ``files``.
    """
    if not media.is_dir():
        return
    known = {file.path for file in files}
    expected = _expected_stems(db)
    for entry in sorted(media.iterdir()):
        path = f"{shown}/{entry.name}"
        if path in known or entry.name == SET_ASIDE or entry.suffix == SUFFIX or stem_of(entry.name) in expected:
            continue
        yield Finding(kind=Kind.FILE_ORPHANED, subject=path, detail="no job of this run is said to have it")


def _expected_stems(db: sqlite3.Connection) -> frozenset[str]:
    rows = db.execute(
        "SELECT id, request_id, coalesce(json_array_length(media, '$.urls'), 0) FROM job JOIN input USING (job)"
        " JOIN attempt ON attempt.job = job.job AND attempt.attempt = job.attempts WHERE state = 'ready'"
    )
    return frozenset(media_name(id_, request_id, place) for id_, request_id, count in rows for place in range(count))
