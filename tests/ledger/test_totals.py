"""Totals and hot queries: what is read all night costs the same after a million jobs as after ten."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from engine.job.states import State
from engine.ledger.accounts import accounts
from engine.ledger.counts import count_jobs, count_owed, count_waiting
from engine.ledger.flights import flights_in, pending_after, unknowns
from engine.ledger.recovery import recover
from engine.ledger.schema import open_for_writing
from engine.ledger.survey import survey
from engine.ledger.totals import correct, count_again, highest_usd, totals
from engine.ledger.vitals import vitals
from engine.output.result_lines import load_results, unwritten_jobs
from tests.jobs import MODEL, UTC, add_jobs, bring_to, open_inline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHOLE_TABLE = re.compile(r"SCAN (job|input|attempt|file)(?! USING (COVERING )?INDEX)")


async def test_totals_follow_every_change_of_a_row(tmp_path: Path) -> None:
    ledger = open_inline(tmp_path / "run.db")
    await add_jobs(ledger, 4)
    await bring_to(ledger, State.STORED, job=0)
    await bring_to(ledger, State.READY, job=1)
    await bring_to(ledger, State.SUBMITTED, job=2)
    found = await ledger.read(totals)
    assert found == await ledger.read(count_again)
    assert (found["succeeded"], found["submissions"], found["spent_nano_usd"]) == (1, 3, 2 * 4_500_000_000)
    assert await ledger.read(highest_usd) == {MODEL: 4.5}
    ledger.close()


def test_wrong_totals_are_set_right(tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "run.db")) as db:
        db.execute("UPDATE total SET value = 7")
        correct(db)
        assert set(totals(db).values()) == {0}


def measured(db: sqlite3.Connection) -> object:
    return vitals(db, survey(db), now_utc=UTC)


@pytest.mark.parametrize("look", [survey, measured, count_jobs, count_owed, count_waiting, accounts, totals])
def test_no_look_at_the_whole_reads_a_whole_table(look: Callable[[sqlite3.Connection], object], tmp_path: Path) -> None:
    with closing(open_for_writing(tmp_path / "run.db")) as db:
        asked = list[str]()
        db.set_trace_callback(asked.append)
        look(db)
        db.set_trace_callback(None)
        for query in asked:
            plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert not [step for step in plan if WHOLE_TABLE.search(step)], (query, plan)


async def test_no_step_of_a_job_reads_a_whole_table(tmp_path: Path) -> None:
    path, asked = tmp_path / "run.db", set[str]()
    ledger = open_inline(path)
    await ledger.read(lambda db: db.set_trace_callback(asked.add))
    await add_jobs(ledger, 3)
    await ledger.change(recover)
    await ledger.read(pending_after, -1, 10)
    for state in (State.SUBMITTED, State.READY):
        await ledger.read(flights_in, state)
    await ledger.read(unknowns)
    await bring_to(ledger, State.STORED, job=0)
    await bring_to(ledger, State.UNKNOWN, job=1)
    await ledger.read(lambda db: load_results(db, unwritten_jobs(db, limit=10), first_seq=0))
    ledger.close()
    with closing(sqlite3.connect(path)) as db:
        for query in asked - {"COMMIT", "BEGIN IMMEDIATE"}:
            if not query.startswith("--"):  # what a trigger does is part of what it follows
                plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}")]
                assert not [step for step in plan if WHOLE_TABLE.search(step)], (query, plan)
