"""One writer thread that turns many small changes into few durable commits.

Callers hand in a change (a function of the connection) and await its durability. Whatever gathers while the
last commit is being synced, and for a moment after it began, is one transaction, and all its callers are woken
at once: the busier the engine, the larger the groups. A change that refuses itself (raises ``RefusedChange``
before it writes) fails alone; any other error undoes the whole group and ends the ledger's life: whatever
is handed in afterwards is refused with the same error.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from engine.errors import LedgerError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Change: TypeAlias = Callable[[sqlite3.Connection], Any]
    Group: TypeAlias = list[tuple[Change, asyncio.Future[Any]]]
    Outcomes: TypeAlias = list[tuple[asyncio.Future[Any], Any, bool]]

T = TypeVar("T")
GROUP_CHANGES_MAX = 2_000
SPACING_S = 0.003
"""A commit begins no sooner after the one before: on a quick disk every change would else have one of its own, and the
two threads would hand the interpreter to each other at each. A change after a pause does not wait."""


class LedgerFullError(StorageError):
    """The disk has no room for what the ledger must record."""


class RefusedChange(Exception):  # noqa: N818 (a refusal, not an error of the ledger)
    """A change found, before writing anything, that it must not be made."""


class Committer(Protocol):
    """Runs changes durably, in the order they were handed in."""

    def commit(self, change: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Hand in a change; the future resolves to its return value once it is durable."""
        ...

    def close(self) -> None:
        """Finish everything handed in, then close the connection. Blocks."""
        ...


class GroupCommitter:
    """The committer of a real run: a thread that owns the connection.

    Args:
        make_room: gives up what can be given up on a full disk, and says whether there was anything.
    """

    def __init__(self, db: sqlite3.Connection, make_room: Callable[[], bool] = lambda: False) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._transactions = _Transactions(db, make_room)
        self._gathered: Group = []
        self._is_committing = False
        self._begun_at = -SPACING_S
        self._inbox: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def commit(self, change: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Hand in a change; see ``Committer.commit``."""
        if self._closed:
            raise StorageError("the ledger is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._gathered.append((change, future))
        if len(self._gathered) == 1 and not self._is_committing:
            self._hand_over_soon()
        return future

    def close(self) -> None:
        """Finish everything handed in, then close the connection."""
        self._closed = True
        self._inbox.put(self._gathered)
        self._inbox.put(None)
        self._gathered = []
        self._thread.join()
        self._db.close()

    def _hand_over_soon(self) -> None:
        self._loop.call_at(max(self._begun_at + SPACING_S, self._loop.time()), self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what has gathered."""
        group, self._gathered = self._gathered[:GROUP_CHANGES_MAX], self._gathered[GROUP_CHANGES_MAX:]
        if group:
            self._is_committing, self._begun_at = True, self._loop.time()
            self._inbox.put(group)

    def _committed(self, outcomes: Outcomes) -> None:
        """Wake the callers of a group, and go on with what gathered meanwhile."""
        self._is_committing = False
        _resolve(outcomes)
        if self._gathered:
            self._hand_over_soon()

    def _work(self) -> None:
        while (group := self._inbox.get()) is not None:
            outcomes = self._transactions.run(group)
            try:
                self._loop.call_soon_threadsafe(self._committed, outcomes)
            except RuntimeError:
                # The loop was closed by a hard stop. What is committed is committed; nobody waits for it.
                continue


class InlineCommitter:
    """The committer of a simulated run: no thread, so that a virtual clock decides what happens when."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._transactions = _Transactions(db)
        self._group: Group = []
        self._closed = False

    def commit(self, change: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Hand in a change; it runs with all others of this turn of the loop."""
        if self._closed:
            raise StorageError("the ledger is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._group:
            self._loop.call_soon(self._flush)
        self._group.append((change, future))
        return future

    def close(self) -> None:
        """Finish everything handed in, then close the connection."""
        self._flush()
        self._closed = True
        self._db.close()

    def _flush(self) -> None:
        group, self._group = self._group, []
        if group:
            _resolve(self._transactions.run(group))


class _Transactions:
    """Runs one group after the other, until one fails as a whole; from then on it refuses them all."""

    def __init__(self, db: sqlite3.Connection, make_room: Callable[[], bool] = lambda: False) -> None:
        self._db = db
        self._make_room = make_room
        self._broken: StorageError | None = None

    def run(self, group: Group) -> Outcomes:
        """Return what became of each change; never raises."""
        if self._broken is None:
            try:
                return self._run_with_room(group)
            except StorageError as error:
                self._broken = error
        return [(future, self._broken, False) for _, future in group]

    def _run_with_room(self, group: Group) -> Outcomes:
        """Run a group; on a full disk once more in the room that can be made."""
        try:
            return run_group(self._db, group)
        except LedgerFullError:
            if not self._make_room():
                raise
            return run_group(self._db, group)


def run_group(db: sqlite3.Connection, group: Group) -> Outcomes:
    """Run changes as one transaction; return (future, value or exception, whether it went well) for each.

    Raises:
        StorageError: the disk or the database failed; nothing of the group is recorded.
    """
    outcomes: Outcomes = []
    try:
        db.execute("BEGIN IMMEDIATE")
        for change, future in group:
            written = db.total_changes
            try:
                outcomes.append((future, change(db), True))
            except RefusedChange as refusal:
                if db.total_changes != written:
                    raise  # half a change must not stay
                outcomes.append((future, refusal, False))
        db.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(db)
        raise storage_error(error) from error
    except BaseException as error:
        # A defect in a change: its group is undone, and the run must not go on with half a memory.
        _roll_back(db)
        raise LedgerError(f"the ledger refused a change ({type(error).__name__}: {error})") from error
    return outcomes


def _roll_back(db: sqlite3.Connection) -> None:
    """Undo what was begun; a disk that refuses even that is rolled back from its journal at the next start."""
    with contextlib.suppress(sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")


def storage_error(error: sqlite3.Error) -> StorageError:
    """Translate what SQLite says into what happened and what to do."""
    text = str(error)
    if "full" in text:
        return LedgerFullError(
            "the disk is full: the ledger cannot record what happens",
            hint="free some space, then run the same command again; nothing that was recorded is lost",
        )
    if "readonly" in text or "read-only" in text:
        return StorageError("the ledger has become read-only", hint="check how its disk is mounted, then run again")
    if "malformed" in text or "not a database" in text:
        return LedgerError(f"the ledger is damaged ({text})", hint="restore run.db and run.db-wal from a backup")
    return StorageError(
        f"the ledger could not be written ({text})", hint="check the disk, then run the same command again"
    )


def _resolve(outcomes: Outcomes) -> None:
    for future, value, went_well in outcomes:
        if future.done():
            continue  # its caller was cancelled; the change is durable all the same
        if went_well:
            future.set_result(value)
        else:
            future.set_exception(value)
