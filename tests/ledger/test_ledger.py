"""The truth of a run: transitions, ids, attempts, output marks."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from engine.job.records import JobError
from engine.job.states import TRANSITIONS, State, may_become
from engine.ledger import moves
from engine.ledger.group_commit import RefusedChange
from engine.ledger.intake import Spooled
from engine.ledger.ledger import Ledger, OutputMark
from tests.jobs import (
    FILE,
    REFUSED,
    UNKNOWN_OUTCOME,
    UTC,
    add_jobs,
    bad_row,
    bring_to,
    flight_of,
    job_row,
    open_inline,
    read_to,
    state_of,
)

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

    if may_become(before, after):
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


# --- input ----------------------------------------------------------------------------------------


async def test_the_first_of_two_lines_with_one_id_wins_and_the_second_is_invalid(ledger: Ledger) -> None:
    spooled = await ledger.add_lines([job_row(1, id_="a", prompt="x"), job_row(2, id_="a", prompt="y")], read_to(2))
    assert spooled == Spooled({"": 1}, 0, 1)
    (error,) = await ledger.read(lambda db: db.execute("SELECT error FROM job WHERE job = 1").fetchone())
    assert b'"duplicate_id"' in error
    assert b"line 1" in error


async def test_an_id_is_taken_across_blocks_too(ledger: Ledger) -> None:
    await ledger.add_lines([job_row(1, id_="a", prompt="x")], read_to(1, complete=False))
    assert await ledger.add_lines([job_row(2, id_="a", prompt="y")], read_to(2)) == Spooled({}, 0, 1)


async def test_an_invalid_line_takes_no_id(ledger: Ledger) -> None:
    broken = bad_row(1)._replace(id="a", id_given=True)
    assert await ledger.add_lines([broken, job_row(2, id_="a", prompt="x")], read_to(2)) == Spooled({"": 1}, 0, 1)


async def test_repeats_of_a_job_without_an_id_are_numbered_across_blocks_and_restarts(db_path: Path) -> None:
    names = list[str]()
    for line in range(1, 4):
        ledger = open_inline(db_path)
        rows = [job_row(2 * line - 1, prompt="same"), job_row(2 * line, prompt=f"other {line}")]
        await ledger.add_lines(rows, read_to(2 * line))
        names = [flight.id for flight in await ledger.pending_after(-1, 10)]
        ledger.close()
    first = names[0]
    assert [names[0], names[2], names[4]] == [first, f"{first}-2", f"{first}-3"]
    assert len(set(names)) == 6


async def test_a_block_is_taken_in_whole_with_its_mark(ledger: Ledger) -> None:
    mark = read_to(2)
    await ledger.add_lines([job_row(1, id_="a", prompt="x"), bad_row(2)], mark)
    facts = await ledger.facts()
    assert [facts[f"input_{name}"] for name in mark._fields] == list(mark)
    assert await ledger.counts() == {"pending": 1, "invalid": 1}


async def test_pending_jobs_come_in_input_order_from_behind_a_job(ledger: Ledger) -> None:
    await add_jobs(ledger, 5)
    await bring_to(ledger, State.SUBMITTED, job=2)
    assert [flight.job for flight in await ledger.pending_after(0, 2)] == [1, 3]
    assert [flight.id for flight in await ledger.pending_after(-1, 9)] == ["job-0", "job-1", "job-3", "job-4"]


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
    (flight,) = await ledger.pending_after(-1, 1)
    assert flight.attempts == 0
    assert await ledger.read(lambda db: db.execute("SELECT count(*) FROM attempt").fetchone()) == (0,)


async def test_a_withdrawn_submission_that_was_spent_is_counted_with_its_error(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    (flight,) = await ledger.pending_after(-1, 1)
    assert flight.attempts == 1
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM attempt").fetchall())
    assert b"no such voice" in error


async def test_what_is_under_way_comes_oldest_submission_first(ledger: Ledger) -> None:
    await add_jobs(ledger, 3)
    for job, utc in ((0, 30.0), (1, 10.0), (2, 20.0)):
        await ledger.intend(job, 1, utc=utc)
        await ledger.accepted(job, 1, f"r{job}", utc=utc)
    found = await ledger.under_way(State.SUBMITTED)
    assert [(flight.job, flight.request_id, flight.submitted_utc) for flight in found] == [
        (1, "r1", 10.0),
        (2, "r2", 20.0),
        (0, "r0", 30.0),
    ]


async def test_a_ready_job_comes_back_with_where_its_files_are(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.READY)
    (flight,) = await ledger.under_way(State.READY)
    assert flight.media == {"urls": [FILE.url]}
    assert flight.completed_utc == flight_of(0).completed_utc


async def test_storing_again_replaces_the_files(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.STORED)
    files = await ledger.read(lambda db: db.execute("SELECT path, bytes, hex(sha256), checks FROM file").fetchall())
    assert files == [("media/a.mp4", 4, FILE.sha256.upper(), "length mp4")]


# --- recovery -------------------------------------------------------------------------------------


async def held(ledger: Ledger, before: State) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, before)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))


async def test_an_intent_without_an_answer_becomes_unknown(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.SUBMITTING)
    assert await ledger.recover() == 1
    assert [await state_of(ledger, job) for job in (0, 1)] == [State.UNKNOWN, State.PENDING]
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM attempt").fetchall())
    assert b'"paid":true' in error


async def test_recovery_is_itself_repeatable(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.SUBMITTING)
    assert [await ledger.recover(), await ledger.recover()] == [1, 0]
    assert await state_of(ledger) == State.UNKNOWN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.PENDING, State.PENDING),
        (State.SUBMITTING, State.UNKNOWN),
        (State.SUBMITTED, State.SUBMITTED),
        (State.READY, State.READY),
    ],
)
async def test_a_held_job_goes_on_from_where_its_last_attempt_got_to(
    ledger: Ledger, before: State, after: State
) -> None:
    await held(ledger, before)
    await ledger.recover()
    assert await state_of(ledger) == after
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM job").fetchall())
    assert error is None


async def test_a_job_held_between_two_attempts_is_submitted_again(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))
    await ledger.recover()
    assert await state_of(ledger) == State.PENDING


async def test_a_job_held_during_its_second_submission_is_unknown(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    await ledger.intend(0, 2, utc=UTC)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))
    assert await ledger.recover() == 1
    assert await state_of(ledger) == State.UNKNOWN


async def test_a_job_held_for_a_request_id_of_another_is_unknown_after_a_restart(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.SUBMITTED, job=0, request_id="r")
    await ledger.intend(1, 1, utc=UTC)
    await ledger.held(1, JobError(kind="request_id_taken", message="r", paid=True))
    await ledger.recover()
    assert await state_of(ledger, 1) == State.UNKNOWN


async def test_recovery_leaves_everything_else_where_it_is(ledger: Ledger) -> None:
    untouched = (State.PENDING, State.UNKNOWN, State.SUBMITTED, State.READY, State.STORED, State.FAILED, State.DONE)
    await add_jobs(ledger, len(untouched))
    for job, state in enumerate(untouched):
        await bring_to(ledger, state, job=job)
    await ledger.recover()
    assert [await state_of(ledger, job) for job in range(len(untouched))] == list(untouched)


async def test_an_unknown_outcome_that_was_held_is_still_unknown_after_a_restart(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
    await ledger.held(0, JobError(kind="internal", message="settling it broke"))
    await ledger.recover()
    assert await state_of(ledger) == State.UNKNOWN


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
