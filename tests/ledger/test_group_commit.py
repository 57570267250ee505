"""Many small changes, few durable commits, and what a failure does to those who wait."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from engine.errors import LedgerError, StorageError
from engine.ledger.group_commit import GroupCommitter, InlineCommitter, LedgerFullError, RefusedChange, storage_error
from tests.waiting import turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Committers = type[GroupCommitter] | type[InlineCommitter]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "t.db", isolation_level=None, check_same_thread=False)
    opened.execute("PRAGMA journal_mode = WAL").fetchone()
    opened.execute("CREATE TABLE t (n INTEGER UNIQUE)")
    yield opened
    opened.close()


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    def change(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    return change


def refuse(_db: sqlite3.Connection) -> None:
    raise RefusedChange("not now")


def break_down(_db: sqlite3.Connection) -> None:
    raise ZeroDivisionError


def stored(path: Path) -> list[int]:
    other = sqlite3.connect(path / "t.db")
    try:
        return [number for (number,) in other.execute("SELECT n FROM t ORDER BY n")]
    finally:
        other.close()


both = pytest.mark.parametrize("kind", [GroupCommitter, InlineCommitter])


@both
async def test_every_producer_gets_its_own_value_once_it_is_durable(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    committer = kind(db)

    async def produce(first: int) -> None:
        for number in range(first, first + 20):
            assert await committer.commit(insert(number)) == number
            assert number in stored(tmp_path)

    await asyncio.gather(*(produce(1000 * producer) for producer in range(10)))
    committer.close()
    assert len(stored(tmp_path)) == 200


async def test_changes_that_gather_during_a_commit_share_the_next_one(db: sqlite3.Connection) -> None:
    commits, gate = list[str](), threading.Event()
    db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    committer = GroupCommitter(db)

    def block(_db: sqlite3.Connection) -> None:
        gate.wait(10)

    first = committer.commit(block)
    waiting = [committer.commit(insert(number)) for number in range(500)]
    gate.set()
    await asyncio.gather(first, *waiting)
    committer.close()
    assert 1 <= len(commits) <= 2


@both
async def test_changes_run_in_the_order_they_were_handed_in(kind: Committers, db: sqlite3.Connection) -> None:
    committer = kind(db)
    await asyncio.gather(*(committer.commit(insert(number)) for number in reversed(range(100))))
    order = await committer.commit(lambda db: [number for (number,) in db.execute("SELECT n FROM t ORDER BY rowid")])
    committer.close()
    assert order == list(reversed(range(100)))


@both
async def test_a_change_that_refuses_itself_fails_alone(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    committer = kind(db)
    before, refused, after = committer.commit(insert(1)), committer.commit(refuse), committer.commit(insert(2))
    assert (await before, await after) == (1, 2)
    with pytest.raises(RefusedChange, match="not now"):
        await refused
    committer.close()
    assert stored(tmp_path) == [1, 2]


@both
async def test_a_refusal_after_a_write_undoes_the_group_because_half_a_change_must_not_stay(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    def half(db: sqlite3.Connection) -> None:
        insert(1)(db)
        raise RefusedChange("too late")

    committer = kind(db)
    with pytest.raises(LedgerError, match="too late"):
        await committer.commit(half)
    committer.close()
    assert stored(tmp_path) == []


@both
async def test_a_defect_in_a_change_undoes_its_group_and_ends_the_ledger(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    committer = kind(db)
    good, bad = committer.commit(insert(1)), committer.commit(break_down)
    for future in (good, bad):
        with pytest.raises(LedgerError, match="ZeroDivisionError"):
            await future
    with pytest.raises(LedgerError):
        await committer.commit(insert(2))
    committer.close()
    assert stored(tmp_path) == []


@both
async def test_a_failing_disk_breaks_everything_that_waits_and_stays_broken(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    committer = kind(db)
    await committer.commit(insert(1))
    await committer.commit(lambda db: db.execute("PRAGMA max_page_count = 2").fetchone())

    def too_much(db: sqlite3.Connection) -> None:
        db.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(10, 100_000)))

    failing, beside = committer.commit(too_much), committer.commit(insert(2))
    with pytest.raises(StorageError, match="disk is full"):
        await failing
    with pytest.raises(StorageError, match="disk is full"):
        await beside
    with pytest.raises(StorageError, match="disk is full"):
        await committer.commit(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    committer.close()
    assert stored(tmp_path) == [1]


@both
async def test_a_cancelled_caller_does_not_undo_its_change(
    kind: Committers, db: sqlite3.Connection, tmp_path: Path
) -> None:
    committer = kind(db)
    committer.commit(insert(1)).cancel()
    assert await committer.commit(insert(2)) == 2
    committer.close()
    assert stored(tmp_path) == [1, 2]


@both
async def test_closing_finishes_what_was_handed_in(kind: Committers, db: sqlite3.Connection, tmp_path: Path) -> None:
    committer = kind(db)
    handed_in = [committer.commit(insert(number)) for number in range(50)]
    committer.close()
    await turns()
    assert [future.result() for future in handed_in] == stored(tmp_path) == list(range(50))


@both
async def test_after_closing_a_change_is_refused_instead_of_waiting_for_ever(
    kind: Committers, db: sqlite3.Connection
) -> None:
    committer = kind(db)
    committer.close()
    with pytest.raises(StorageError, match="closed"):
        committer.commit(insert(1))


def test_a_change_under_way_when_the_loop_is_closed_is_committed_all_the_same(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    gate = threading.Event()

    async def leave_at_once() -> GroupCommitter:
        committer = GroupCommitter(db)
        committer.commit(lambda _db: gate.wait(10))
        committer.commit(insert(1))
        return committer

    with asyncio.Runner() as runner:
        committer = runner.run(leave_at_once())
    gate.set()
    committer.close()
    assert stored(tmp_path) == [1]


class _DeadDisk:
    """A connection whose disk is gone: even undoing fails."""

    in_transaction = True
    total_changes = 0

    def execute(self, _sql: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    def close(self) -> None:
        pass


@both
async def test_a_disk_that_refuses_even_the_rollback_is_a_storage_error(kind: Committers) -> None:
    dead: Any = _DeadDisk()
    committer = kind(dead)
    with pytest.raises(StorageError, match="disk I/O error"):
        await committer.commit(refuse)
    with pytest.raises(StorageError):
        await committer.commit(refuse)
    committer.close()


@pytest.mark.parametrize(
    ("said", "told", "kind"),
    [
        ("database or disk is full", "disk is full", LedgerFullError),
        ("attempt to write a readonly database", "read-only", StorageError),
        ("database disk image is malformed", "damaged", LedgerError),
        ("file is not a database", "damaged", LedgerError),
        ("disk I/O error", "disk I/O error", StorageError),
    ],
)
def test_what_sqlite_says_is_translated_with_a_hint(said: str, told: str, kind: type[StorageError]) -> None:
    error = storage_error(sqlite3.OperationalError(said))
    assert type(error) is kind
    assert told in str(error)
    assert error.hint
