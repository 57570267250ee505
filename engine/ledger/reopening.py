"""Give jobs another try, at a person's wish: what ``engine retry`` and ``engine verify`` do to the ledger.

A job whose generation was paid for and whose files can still be asked for goes back to READY: its download
is tried again and nothing is paid. Any other goes back to PENDING with fresh attempts; one that was paid for
only if the person said that it may be paid for again, or had cancelled it: nothing of it is left to lose. A copy that
was cancelled by itself is given what became of its original, or waits for that. The lines of reopened jobs leave the
output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.job.records import decode_json
from engine.job.states import State
from engine.ledger.cancel_book import CANCELLED, drop_wish
from engine.ledger.copies import answer_copies
from engine.ledger.moves import move

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs are meant.

    Attributes:
        failed: failed jobs, as far as ``kinds`` and ``ids`` allow.
        kinds: only jobs that failed of one of these kinds; empty for any.
        ids: only jobs with one of these ids; empty for any.
        unknown: jobs whose submission has an unknown outcome, as far as ``ids`` allow; they may be paid for twice.
        pay_again: also jobs that were paid for and have no files to ask for.
        downloads: numbers of succeeded jobs whose files are to be downloaded again.
    """

    failed: bool = True
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    unknown: bool = False
    pay_again: bool = False
    downloads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reopened:
    """What became of a selection.

    Attributes:
        submit: jobs to be submitted.
        download: jobs to be downloaded.
        left: jobs left because they were paid for.
        follow: copies that follow their originals again.
    """

    submit: int = 0
    download: int = 0
    left: int = 0
    follow: int = 0


def reopen(db: sqlite3.Connection, chosen: Selection) -> Reopened:
    """Reopen the chosen jobs, and with each its copies, in the present transaction."""
    _count_owed_as_written(db)
    submit = download = left = 0
    for job, attempts, error, media in db.execute(_FAILED).fetchall() if chosen.failed else ():
        cause = decode_json(error)
        if (chosen.kinds and cause["kind"] not in chosen.kinds) or not _is_named(db, job, chosen.ids):
            continue
        if cause["paid"] and media is not None and decode_json(media)["urls"]:
            move(db, job, State.READY, seq=None, status=None, error=None)
            download += 1
        elif cause["paid"] and cause["kind"] != CANCELLED and not chosen.pay_again:
            left += 1
            continue
        else:
            move(db, job, State.PENDING, seq=None, status=None, error=None, attempts_before=attempts)
            submit += 1
        drop_wish(db, job)
        _reopen_copies(db, job)
    follow = _follow_again(db, chosen) if chosen.failed else 0
    if chosen.unknown:
        for job, attempts in db.execute(_UNKNOWN).fetchall():
            if _is_named(db, job, chosen.ids):
                move(db, job, State.PENDING, attempts_before=attempts)
                drop_wish(db, job)
                submit += 1
    for job in chosen.downloads:
        if _can_be_asked_for(db, job):
            move(db, job, State.READY, seq=None, status=None, error=None)
            _reopen_copies(db, job)
            download += 1
        else:
            left += 1
    _close_gaps(db)
    return Reopened(submit, download, left, follow)


_FAILED = (
    "SELECT job.job, attempts, job.error, media FROM job"
    " LEFT JOIN attempt ON attempt.job = job.job AND attempt.attempt = job.attempts"
    " JOIN input ON input.job = job.job"
    " WHERE status = 'failed' AND state = 'done' AND original IS NULL ORDER BY job.job"
)
_APART = (
    # What failed with its original has the very same error, and is tried again with it.
    "SELECT copy.job, id, original, copy.error FROM job AS copy JOIN input USING (job) JOIN job AS first"
    " ON first.job = original WHERE original IS NOT NULL AND copy.status = 'failed' AND copy.state = 'done'"
    " AND copy.error IS NOT first.error ORDER BY copy.job"
)
_UNKNOWN = "SELECT job, attempts FROM job INDEXED BY job_unfinished WHERE state = 'unknown' AND state <> 'done'"
_COPIES = "SELECT job FROM job JOIN input USING (job) WHERE original = ? AND state = 'done'"


def _reopen_copies(db: sqlite3.Connection, job: int) -> None:
    for (copy,) in db.execute(_COPIES, (job,)).fetchall():
        move(db, copy, State.PENDING, seq=None, status=None, error=None)
        drop_wish(db, copy)


def _follow_again(db: sqlite3.Connection, chosen: Selection) -> int:
    """Give chosen copies that failed by themselves what became of their originals; return how many there were."""
    followed = 0
    for copy, id_, original, error in db.execute(_APART).fetchall():
        if (chosen.kinds and decode_json(error)["kind"] not in chosen.kinds) or (chosen.ids and id_ not in chosen.ids):
            continue
        move(db, copy, State.PENDING, seq=None, status=None, error=None)
        drop_wish(db, copy)
        answer_copies(db, original)  # nothing, if that is not decided yet
        followed += 1
    return followed


def _can_be_asked_for(db: sqlite3.Connection, job: int) -> bool:
    """Whether a job is at rest with a line that is written, and its result says where its files are."""
    row = db.execute(
        "SELECT media FROM job JOIN attempt ON attempt.job = job.job AND attempt.attempt = job.attempts"
        " WHERE job.job = ? AND state = 'done'",
        (job,),
    ).fetchone()
    return row is not None and row[0] is not None and bool(decode_json(row[0])["urls"])


def _is_named(db: sqlite3.Connection, job: int, ids: tuple[str, ...]) -> bool:
    """Whether a job, or a copy of it, has one of the ids; no ids name every job."""
    if not ids:
        return True
    family = db.execute("SELECT id FROM input WHERE job = ? OR original = ?", (job, job)).fetchall()
    return any(id_ in ids for (id_,) in family)


def _count_owed_as_written(db: sqlite3.Connection) -> None:
    """Take failed jobs whose line is still owed (input order held it back) for written: the output is made anew."""
    for (job,) in db.execute("SELECT job FROM job WHERE state = 'failed' ORDER BY job").fetchall():
        move(db, job, State.DONE)


def _close_gaps(db: sqlite3.Connection) -> None:
    """Number the lines that stay from 0 again, and have the output written anew when it is next opened."""
    # A place that was promised to a stream but not recorded as written counts from the former lines: it goes.
    db.execute("UPDATE job SET seq = NULL WHERE state <> 'done'")
    stay = [job for (job,) in db.execute("SELECT job FROM job WHERE state = 'done' ORDER BY seq IS NULL, seq, job")]
    # In two steps, because a place may be taken only once.
    db.executemany("UPDATE job SET seq = ? WHERE job = ?", [(-1 - seq, job) for seq, job in enumerate(stay)])
    db.execute("UPDATE job SET seq = -1 - seq WHERE seq < 0")
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('output_stale', 1)")
