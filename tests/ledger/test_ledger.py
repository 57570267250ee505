"""The truth of a run: transitions, ids, attempts, output marks."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from engine.job.states import TRANSITIONS, State
from engine.ledger import moves
from engine.ledger.flights import pending_after
from engine.ledger.group_commit import RefusedChange
from engine.ledger.ledger import Ledger, OutputMark
from tests.jobs import FILE, REFUSED, UNKNOWN_OUTCOME, UTC, add_jobs, bring_to, state_of

if TYPE_CHECKING:
    from pathlib import Path

MARK = OutputMark("results.jsonl", 10, 1, 10, "")
STATES = [(before, after) for before in State for after in State]


# --- transitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), STATES)
async def test_sql_moves_a_job_exactly_where_the_table_of_states_allows(
    ledger: Ledger, before: State, after: State
) -> None:
    await add_jobs(ledger, 1)
    await ledger.read(lambda db: db.execute("UPDATE job SET state = ?", (before,)))

    def move(db: sqlite3.Connection) -> None:
        moves.move(db, 0, after)

    if after in TRANSITIONS[before]:
        await ledger.read(move)
        assert await state_of(ledger) == after
    else:
        with pytest.raises(RefusedChange, match=f"is {before} and may not become {after}"):
            await ledger.read(move)
        assert await state_of(ledger) == before


async def test_an_intent_twice_is_refused_and_leaves_the_first(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    with pytest.raises(RefusedChange):
        await ledger.intend(0, 1, utc=UTC + 5)
    assert (await ledger.read(lambda db: db.execute("SELECT intent_utc FROM attempt").fetchall())) == [(UTC,)]
    assert (await ledger.facts())["last_intent_utc"] == UTC


async def test_a_job_at_rest_is_never_submitted_again_by_a_step_that_came_late(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.DONE)
    with pytest.raises(RefusedChange):
        await ledger.intend(0, 2, utc=UTC)
    with pytest.raises(RefusedChange):
        await ledger.failed(0, 1, REFUSED)


async def test_a_job_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    with pytest.raises(RefusedChange, match="None"):
        await ledger.intend(7, 1, utc=UTC)


async def test_a_line_that_may_not_become_done_takes_the_whole_batch_and_its_mark_back(
    ledger: Ledger, db_path: Path
) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.STORED, job=0)
    with pytest.raises(Exception, match="may not become done"):
        await ledger.written([(0, 0), (1, 1)], MARK)
    other = sqlite3.connect(db_path)
    assert other.execute("SELECT state, seq FROM job").fetchall() == [("stored", None), ("pending", None)]
    assert other.execute("SELECT value FROM meta WHERE key = 'output_lines'").fetchone() is None
    other.close()


# --- attempts -------------------------------------------------------------------------------------


async def test_a_request_id_that_another_job_owns_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.SUBMITTED, job=0, request_id="r")
    await ledger.intend(1, 1, utc=UTC)
    with pytest.raises(RefusedChange, match="already belongs to job number 0"):
        await ledger.accepted(1, 1, "r", utc=UTC)
    assert await state_of(ledger, 1) == State.SUBMITTING


async def test_a_withdrawn_submission_that_cost_nothing_leaves_no_attempt(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=False)
    (flight,) = await ledger.read(pending_after, -1, 1)
    assert flight.attempts == 0
    assert await ledger.read(lambda db: db.execute("SELECT count(*) FROM attempt").fetchone()) == (0,)


async def test_a_withdrawn_submission_that_was_spent_is_counted_with_its_error(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    (flight,) = await ledger.read(pending_after, -1, 1)
    assert flight.attempts == 1
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM attempt").fetchall())
    assert b"no such voice" in error


async def test_storing_again_replaces_the_files(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.STORED)
    files = await ledger.read(lambda db: db.execute("SELECT path, bytes, hex(sha256), checks FROM file").fetchall())
    assert files == [("media/a.mp4", 4, FILE.sha256.upper(), "length mp4")]


async def test_a_provider_that_names_a_second_attempt_like_the_first_breaks_nothing(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.SUBMITTED, request_id="r")
    await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
    await ledger.released(0)
    await ledger.intend(0, 2, utc=UTC)
    await ledger.accepted(0, 2, "r", utc=UTC)
    assert await state_of(ledger) == State.SUBMITTED


def test_every_state_is_guarded() -> None:
    assert set(moves._ORIGINS) == set(TRANSITIONS)
