"""What is recognised as a ledger, and what is refused and left untouched."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from engine.errors import LedgerError
from engine.job.states import State
from engine.ledger.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    check_is_ledger,
    open_for_reading,
    open_for_writing,
    read_facts,
)
from tests.jobs import add_jobs, bring_to, open_inline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def create(path: Path) -> None:
    open_for_writing(path).close()


def fill(path: Path) -> None:
    """Write a ledger of a few hundred pages."""

    async def write() -> None:
        ledger = open_inline(path)
        await add_jobs(ledger, 2_000)
        ledger.close()

    asyncio.run(write())


def pragma(path: Path, sql: str) -> None:
    db = sqlite3.connect(path)
    db.execute(sql)
    db.commit()
    db.close()


both = pytest.mark.parametrize("opener", [open_for_writing, open_for_reading])


def test_a_new_ledger_is_private_durable_and_marked_as_ours(db_path: Path) -> None:
    db = open_for_writing(db_path)
    try:
        assert stat.S_IMODE(db_path.stat().st_mode) == 0o600
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        side_files = [path for path in db_path.parent.iterdir() if path != db_path]
        assert side_files
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in side_files)
    finally:
        db.close()


def test_what_is_there_is_opened_not_recreated(db_path: Path) -> None:
    create(db_path)
    pragma(db_path, "INSERT INTO meta VALUES ('model', 'kling-2.6')")
    create(db_path)
    assert read_facts(db_path) == {"model": "kling-2.6"}


@both
def test_a_database_of_another_program_is_refused_and_untouched(
    opener: Callable[[Path], sqlite3.Connection], db_path: Path
) -> None:
    pragma(db_path, "CREATE TABLE browser_history (url TEXT)")
    content = db_path.read_bytes()
    with pytest.raises(LedgerError, match="another program") as refusal:
        opener(db_path)
    assert "--run-dir" in refusal.value.hint
    assert db_path.read_bytes() == content


@both
@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, SCHEMA_VERSION - 1, 0])
def test_another_format_is_refused(opener: Callable[[Path], sqlite3.Connection], version: int, db_path: Path) -> None:
    create(db_path)
    pragma(db_path, f"PRAGMA user_version = {version}")
    with pytest.raises(LedgerError, match=f"format {version};"):
        opener(db_path)


@both
@pytest.mark.parametrize("content", [b"not a database, " * 500, b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused_and_untouched(
    opener: Callable[[Path], sqlite3.Connection], content: bytes, db_path: Path
) -> None:
    db_path.write_bytes(content)
    with pytest.raises(LedgerError):
        opener(db_path)
    assert db_path.read_bytes() == content


@both
def test_a_damaged_ledger_is_refused_and_untouched(opener: Callable[[Path], sqlite3.Connection], db_path: Path) -> None:
    fill(db_path)
    content = bytearray(db_path.read_bytes())
    content[8192:24_576] = b"\xa5" * 16_384
    db_path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged") as refusal:
        opener(db_path)
    assert "backup" in refusal.value.hint
    assert db_path.read_bytes() == content


@both
def test_a_ledger_cut_short_is_refused(opener: Callable[[Path], sqlite3.Connection], db_path: Path) -> None:
    fill(db_path)
    db_path.write_bytes(db_path.read_bytes()[: db_path.stat().st_size // 2])
    with pytest.raises(LedgerError):
        opener(db_path)


def test_nothing_to_read_is_an_error_and_creates_nothing(db_path: Path) -> None:
    with pytest.raises(LedgerError, match="missing"):
        open_for_reading(db_path)
    assert not db_path.exists()


def test_an_empty_file_is_no_ledger_to_a_reader(db_path: Path) -> None:
    db_path.touch()
    with pytest.raises(LedgerError):
        open_for_reading(db_path)


def test_an_empty_file_is_what_a_crash_at_creation_leaves_and_is_created_again(db_path: Path) -> None:
    db_path.touch()
    create(db_path)
    assert read_facts(db_path) == {}


def test_a_few_bytes_of_something_else_are_refused_and_untouched(db_path: Path) -> None:
    db_path.write_bytes(b"x")
    with pytest.raises(LedgerError):
        open_for_writing(db_path)
    assert db_path.read_bytes() == b"x"


def test_an_emptied_ledger_whose_wal_still_holds_the_run_is_refused_and_untouched(db_path: Path) -> None:
    wal = db_path.with_name("run.db-wal")
    db = open_for_writing(db_path)
    db.execute("INSERT INTO meta VALUES ('model', 'kling-2.6')")
    content = wal.read_bytes()
    db.close()
    db_path.write_bytes(b"")
    wal.write_bytes(content)
    with pytest.raises(LedgerError):
        open_for_writing(db_path).close()
    assert wal.read_bytes() == content


def test_a_symbolic_link_is_refused(db_path: Path, tmp_path: Path) -> None:
    create(tmp_path / "elsewhere.db")
    db_path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(LedgerError):
        open_for_writing(db_path)


def test_a_directory_in_its_place_is_refused(db_path: Path) -> None:
    db_path.mkdir()
    for opener in (open_for_writing, open_for_reading):
        with pytest.raises(LedgerError):
            opener(db_path)


async def test_a_reader_works_beside_the_writer_and_sees_what_is_durable(db_path: Path) -> None:
    ledger = open_inline(db_path)
    await add_jobs(ledger, 3)
    reader = open_for_reading(db_path)
    count = "SELECT count(*) FROM job WHERE state = 'submitting'"
    assert reader.execute(count).fetchone() == (0,)
    await bring_to(ledger, State.SUBMITTING)
    assert reader.execute(count).fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM job")
    reader.close()
    ledger.close()


async def test_a_copy_with_its_wal_holds_everything(db_path: Path, tmp_path: Path) -> None:
    ledger = open_inline(db_path)
    await add_jobs(ledger, 3)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (db_path, db_path.with_name("run.db-wal")):
        shutil.copy(path, copy)
    ledger.close()
    db = open_for_reading(copy / "run.db")
    assert db.execute("SELECT count(*) FROM job").fetchone() == (3,)
    check_is_ledger(db, copy / "run.db")
    db.close()
