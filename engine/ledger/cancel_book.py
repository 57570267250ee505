"""Which jobs a person wants cancelled, and whether the provider was asked: what an order comes to in the ledger.

A wish is recorded in the transaction that notes up to where the orders were read, so each order is taken once; from
then on the wish is what counts, until its job is at rest. That the provider is asked is on disk before it is asked:
a request whose record is gone afterwards was cancelled. A job that a person tries again is rid of its wish.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.job.records import JobError, encode_json
from engine.job.states import UNWRITTEN, State
from engine.ledger.copies import answer_copies
from engine.ledger.moves import move, note

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from engine.ledger.ledger import Ledger

CANCELLED = "cancelled"
"""The kind of error of a job that was cancelled."""

IDS_LIKE_MAX = 2_000
"""More ids than these are not compared with a mistyped one: that takes a second."""


class Place(NamedTuple):
    """Where a job is that is to be cancelled.

    Attributes:
        id: as in the order.
        job: its number; None if there is no such job.
        state: its state.
        model, attempts: as in a flight.
        is_copy: whether it waits for the outcome of an equal job.
        status: its outcome, if that is decided.
        sent: whether the provider was asked by an earlier process.
    """

    id: str
    job: int | None = None
    state: str = ""
    model: str = ""
    attempts: int = 0
    is_copy: bool = False
    status: str | None = None
    sent: bool = False

    @property
    def at_rest(self) -> bool:
        """Whether its outcome is decided."""
        return self.state in {State.DONE, *UNWRITTEN}


class CancelBook:
    """The wishes in one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def ask(self, ids: Sequence[str], *, everything: bool, utc: float, control_bytes: int) -> list[Place]:
        """Record wishes, and up to which byte the orders were read for them; return where the jobs of ``ids`` are.

        Args:
            ids: of the jobs that are to be cancelled.
            everything: whether all that is in flight is to be cancelled.
            utc: when that was asked, seconds since the epoch.
            control_bytes: how far the control journal is read.
        """

        def change(db: sqlite3.Connection) -> list[Place]:
            places = [place_of(db, id_) for id_ in ids]
            wished = [(place.job, utc) for place in places if place.job is not None and not place.at_rest]
            db.executemany(_WISH, wished)
            if everything:
                db.execute(_WISH_ALL, (utc,))
            note(db, {"control_bytes": control_bytes})
            return places

        return await self._ledger.change(change)

    async def wishes(self) -> list[Place]:
        """Return where every job is that is to be cancelled and has no outcome yet."""
        return await self._ledger.change(lambda db: [Place(*row) for row in db.execute(_WISHES).fetchall()])

    async def sent(self, job: int, *, utc: float) -> None:
        """Record that the provider is asked; from the moment this returns, it may be."""

        def change(db: sqlite3.Connection) -> None:
            db.execute(_SENT, (job, utc, utc))

        await self._ledger.change(change)

    async def dropped(self, job: int) -> None:
        """Record that a job is not cancelled: it goes on."""
        await self._ledger.change(lambda db: drop_wish(db, job))

    async def end_waiting(self, job: int) -> tuple[JobError, int] | None:
        """PENDING → FAILED for a job that is never to be submitted; None if it does not wait any more.

        Returns the error, and how many copies of the job failed with it.
        """

        def change(db: sqlite3.Connection) -> tuple[JobError, int] | None:
            row = db.execute(_WAITING, (job,)).fetchone()
            if row is None:
                return None
            error = cancelled("cancelled before it was submitted", paid=bool(row[0]))
            move(db, job, State.FAILED, status="failed", error=encode_json(error))
            return error, answer_copies(db, job)

        return await self._ledger.change(change)


def cancelled(message: str, *, paid: bool) -> JobError:
    """Return the error of a job that ended because a person wanted it to."""
    return JobError(kind="cancelled", message=message, retryable=True, paid=paid)


def drop_wish(db: sqlite3.Connection, job: int) -> None:
    """Forget, in the present transaction, that a job was to be cancelled."""
    db.execute("DELETE FROM cancellation WHERE job = ?", (job,))


def place_of(db: sqlite3.Connection, id_: str) -> Place:
    """Return where the job with this id is."""
    row = db.execute(_PLACE, (id_,)).fetchone()
    return Place(id_) if row is None else Place(*row)


def ids_like(db: sqlite3.Connection, id_: str) -> list[str]:
    """Return ids of jobs that one may have meant: so many of about its length, beginning like it if there are any."""
    # What begins alike may be much longer: numbers in ids are often padded with zeros.
    for beginning, longer_max in ((id_[: len(id_) // 2], 6), ("", 2)):
        bounds = (beginning, beginning + "\U0010ffff", len(id_) - 2, len(id_) + longer_max, IDS_LIKE_MAX)
        found = db.execute(_LIKE, bounds).fetchall()
        if found:
            return [name for (name,) in found]
    return []


_COLUMNS = "id, job.job, state, coalesce(model, ''), attempts, original IS NOT NULL, status"
_PLACE = f"SELECT {_COLUMNS} FROM input JOIN job USING (job) WHERE id = ? AND valid = 1"  # noqa: S608 (our own names)
_LIKE = (
    "SELECT id FROM input INDEXED BY input_id WHERE valid = 1 AND id >= ? AND id < ?"
    " AND length(id) BETWEEN ? AND ? ORDER BY id LIMIT ?"
)
_WISH = "INSERT OR IGNORE INTO cancellation (job, asked_utc) VALUES (?, ?)"
_WISH_ALL = (
    "INSERT OR IGNORE INTO cancellation (job, asked_utc) SELECT job, ? FROM job INDEXED BY job_unfinished"
    " WHERE state IN ('submitting', 'submitted') AND state <> 'done'"
)
_WISHES = (
    f"SELECT {_COLUMNS}, sent_utc IS NOT NULL"  # noqa: S608 (our own names)
    " FROM cancellation JOIN job USING (job) JOIN input USING (job)"
    " WHERE state IN ('pending', 'submitting', 'submitted', 'unknown') ORDER BY job.job"
)
_SENT = (
    "INSERT INTO cancellation (job, asked_utc, sent_utc) VALUES (?, ?, ?)"
    " ON CONFLICT (job) DO UPDATE SET sent_utc = excluded.sent_utc"
)
_WAITING = (
    # A submission of it that was, or may have been, charged stays so.
    "SELECT EXISTS (SELECT 1 FROM attempt WHERE attempt.job = job.job AND attempt.attempt = job.attempts"
    " AND error ->> 'paid') FROM job WHERE job = ? AND state = 'pending'"
)
