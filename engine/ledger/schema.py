"""The tables of the ledger, and how a database is recognised as one of ours.

``input`` never changes after a line is read; ``job`` is small and changes with every step, so that a step
rewrites a few bytes and not a prompt; ``attempt`` keeps each submission with what the provider said;
``file`` keeps what is on disk. FORMATS.md explains every column. A partial index serves a query only if its own
condition stands there word for word; the queries that run all night name theirs (``INDEXED BY``), so that they break
in the tests rather than read a million rows.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

from engine.disk.durable import PRIVATE_FILE_MODE
from engine.errors import LedgerError
from engine.ledger import totals

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x4D42454E
"""``MBEN`` in ASCII, in the database's header: tells a ledger from any other SQLite file."""

SCHEMA_VERSION = 2
HEADER_BYTES = 100
"""A SQLite database begins with a header of this length (https://sqlite.org/fileformat.html)."""

_TABLES = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE input (
    job         INTEGER PRIMARY KEY,
    line        INTEGER NOT NULL,
    id          TEXT,
    valid       INTEGER NOT NULL,
    model       TEXT,
    params      BLOB,
    metadata    BLOB,
    body_sha256 BLOB,
    occurrence  INTEGER NOT NULL DEFAULT 0,
    original    INTEGER
) STRICT;
CREATE INDEX input_copies ON input (original) WHERE original IS NOT NULL;
CREATE UNIQUE INDEX input_id ON input (id) WHERE valid = 1;
CREATE INDEX input_body ON input (body_sha256, occurrence) WHERE valid = 1;

CREATE TABLE job (
    job      INTEGER PRIMARY KEY,
    state    TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    attempts_before INTEGER NOT NULL DEFAULT 0,
    seq      INTEGER,
    status   TEXT,
    error    BLOB
) STRICT;
CREATE INDEX job_unfinished ON job (state, job) WHERE state <> 'done';
CREATE INDEX job_refused ON job (status, job) WHERE status IN ('failed', 'invalid');
CREATE UNIQUE INDEX job_seq ON job (seq) WHERE seq IS NOT NULL;

CREATE TABLE attempt (
    job           INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    intent_utc    REAL NOT NULL,
    sent          BLOB,
    price_usd     REAL,
    request_id    TEXT,
    addresses     BLOB,
    submitted_utc REAL,
    completed_utc REAL,
    stored_utc    REAL,
    cost_usd      REAL,
    queue_s       REAL,
    inference_s   REAL,
    lag_s         REAL,
    polls         INTEGER NOT NULL DEFAULT 0,
    output        BLOB,
    media         BLOB,
    error         BLOB,
    PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempt_request ON attempt (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX attempt_submitted ON attempt (submitted_utc) WHERE submitted_utc IS NOT NULL;
CREATE INDEX attempt_completed ON attempt (completed_utc) WHERE completed_utc IS NOT NULL;
CREATE INDEX attempt_unpriced ON attempt (job) WHERE cost_usd IS NULL;

CREATE TABLE upload (
    provider TEXT NOT NULL,
    sha256   BLOB NOT NULL,
    url      TEXT NOT NULL,
    utc      REAL NOT NULL,
    PRIMARY KEY (provider, sha256)
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
    job          INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    path         TEXT NOT NULL,
    url          TEXT NOT NULL,
    bytes        INTEGER NOT NULL,
    sha256       BLOB NOT NULL,
    content_type TEXT NOT NULL,
    checks       TEXT NOT NULL,
    PRIMARY KEY (job, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE cancellation (
    job       INTEGER PRIMARY KEY,
    asked_utc REAL NOT NULL,
    sent_utc  REAL
) STRICT;
"""

_QUICK_CHECK_BYTES_MAX = 256 * 2**20
"""A larger ledger is not read through at every start (a second per GiB); ``engine verify`` does it."""


def open_for_writing(path: Path, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """Open the ledger of a run, or create it where there is none.

    Raises:
        LedgerError: the file is not a ledger, is damaged, or was written by a newer version.
    """
    _check_whole(path)
    try:
        # SQLite gives its -wal and -shm files the mode of the database, so making it private is enough.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE_MODE))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except OSError as error:
        raise _unreadable(path, error) from error
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    try:
        if _is_blank(db):
            _create(db)
        check_is_ledger(db, path)
        db.execute("PRAGMA journal_mode = WAL").fetchone()
        db.execute(f"PRAGMA synchronous = {synchronous}")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
    except sqlite3.Error as error:
        db.close()
        raise _unreadable(path, error) from error
    except LedgerError:
        db.close()
        raise
    return db


def _check_whole(path: Path) -> None:
    """Refuse a file that SQLite would take for a new database although something was, or is, in it."""
    size_bytes = path.stat().st_size if path.exists() else 0
    log = path.with_name(path.name + "-wal")
    if 0 < size_bytes < HEADER_BYTES:
        raise _damaged(path, f"it is cut off after {size_bytes} bytes")
    if size_bytes == 0 and log.exists() and log.stat().st_size:
        raise _damaged(path, "it is empty, but its write-ahead log is not")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the ledger read-only, beside a process that may be writing to it.

    Raises:
        LedgerError: as ``open_for_writing``; also if there is no ledger at ``path``.
    """
    if not path.is_file():
        raise LedgerError(f"there is no run in {path.parent}: {path.name} is missing", hint="name a run directory")
    if path.stat().st_size == 0:
        raise LedgerError(
            f"there is no run in {path.parent} yet: {path.name} is empty", hint="begin it: engine run INPUT"
        )
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{_reading_mode(path)}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    try:
        check_is_ledger(db, path)
    except sqlite3.Error as error:
        db.close()
        raise _unreadable(path, error) from error
    except LedgerError:
        db.close()
        raise
    return db


def _reading_mode(path: Path) -> str:
    """Return how to open a database for reading: on a disk that nobody can write, SQLite must not look for writers."""
    read_only = bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    return "mode=ro&immutable=1" if read_only and not path.with_name(path.name + "-wal").exists() else "mode=ro"


def read_facts(path: Path) -> dict[str, Any]:
    """Return all facts about the run by name, read beside whoever works on it.

    Raises:
        LedgerError: as ``open_for_reading``.
    """
    db = open_for_reading(path)
    try:
        return facts_in(db)
    finally:
        db.close()


def facts_in(db: sqlite3.Connection) -> dict[str, Any]:
    """Return all facts about the run by name."""
    return dict(db.execute("SELECT key, value FROM meta").fetchall())


def check_is_ledger(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a ledger of this version, or is damaged.

    Raises:
        LedgerError: with what was found and what to do.
    """
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise LedgerError(
            f"{path} is a database of another program; it is left untouched",
            hint="choose another run directory with --run-dir",
        )
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has ledger format {version}; this version of the engine reads format {SCHEMA_VERSION}",
            hint="continue this run with the version of the engine that began it",
        )
    if path.stat().st_size <= _QUICK_CHECK_BYTES_MAX:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _damaged(path, str(verdict).splitlines()[-1])


def _is_blank(db: sqlite3.Connection) -> bool:
    """Tell a database that nothing was ever committed to (new, or cut off while it was created)."""
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    return bool(tables == 0 and application_id == 0)


def _create(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(
        f"BEGIN IMMEDIATE;{_TABLES}{totals.TABLES}"
        f"PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
    )


def _unreadable(path: Path, error: sqlite3.Error | OSError) -> LedgerError:
    text = error.strerror or "" if isinstance(error, OSError) else str(error)
    if "not a database" in text or "malformed" in text:
        return _damaged(path, text)
    return LedgerError(
        f"the ledger {path} cannot be opened ({text})", hint="check the permissions and the free space of its directory"
    )


def _damaged(path: Path, finding: str) -> LedgerError:
    return LedgerError(
        f"the ledger {path} is damaged ({finding}); it is left untouched",
        hint="restore run.db from a backup together with its -wal file; the engine never recreates it silently, "
        "because it alone knows what was paid for",
    )
