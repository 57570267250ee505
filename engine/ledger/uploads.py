"""Where the contents of local files were uploaded to, so that each is uploaded once for all jobs and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3


class Upload(NamedTuple):
    """Where a content was uploaded to, and when, in seconds since the epoch."""

    url: str
    utc: float


def last_upload(db: sqlite3.Connection, provider: str, sha256: bytes) -> Upload | None:
    """Return the last upload of a content to a provider, if there was one."""
    row = db.execute("SELECT url, utc FROM upload WHERE provider = ? AND sha256 = ?", (provider, sha256)).fetchone()
    return None if row is None else Upload(*row)


def note_upload(db: sqlite3.Connection, provider: str, sha256: bytes, upload: Upload) -> None:
    """Record where a content was uploaded to, in place of where it was before."""
    db.execute("INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?)", (provider, sha256, *upload))
