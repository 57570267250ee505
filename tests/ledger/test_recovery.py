"""After a crash: intents without an answer are unknown, held jobs go on, everything else stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.recovery import recover
from tests.jobs import REFUSED, UNKNOWN_OUTCOME, UTC, add_jobs, bring_to, state_of

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger


async def held(ledger: Ledger, before: State) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, before)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))


async def test_an_intent_without_an_answer_becomes_unknown(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.SUBMITTING)
    assert await ledger.change(recover) == 1
    assert [await state_of(ledger, job) for job in (0, 1)] == [State.UNKNOWN, State.PENDING]
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM attempt").fetchall())
    assert b'"paid":true' in error


async def test_recovery_is_itself_repeatable(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.SUBMITTING)
    assert [await ledger.change(recover), await ledger.change(recover)] == [1, 0]
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
    await ledger.change(recover)
    assert await state_of(ledger) == after
    ((error,),) = await ledger.read(lambda db: db.execute("SELECT error FROM job").fetchall())
    assert error is None


async def test_a_job_held_between_two_attempts_is_submitted_again(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))
    await ledger.change(recover)
    assert await state_of(ledger) == State.PENDING


async def test_a_job_held_during_its_second_submission_is_unknown(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.withdrawn(0, 1, spent=True, error=REFUSED)
    await ledger.intend(0, 2, utc=UTC)
    await ledger.held(0, JobError(kind="internal", message="a step broke"))
    assert await ledger.change(recover) == 1
    assert await state_of(ledger) == State.UNKNOWN


async def test_a_job_held_for_a_request_id_of_another_is_unknown_after_a_restart(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    await bring_to(ledger, State.SUBMITTED, job=0, request_id="r")
    await ledger.intend(1, 1, utc=UTC)
    await ledger.held(1, JobError(kind="request_id_taken", message="r", paid=True))
    await ledger.change(recover)
    assert await state_of(ledger, 1) == State.UNKNOWN


async def test_recovery_leaves_everything_else_where_it_is(ledger: Ledger) -> None:
    untouched = (State.PENDING, State.UNKNOWN, State.SUBMITTED, State.READY, State.STORED, State.FAILED, State.DONE)
    await add_jobs(ledger, len(untouched))
    for job, state in enumerate(untouched):
        await bring_to(ledger, state, job=job)
    await ledger.change(recover)
    assert [await state_of(ledger, job) for job in range(len(untouched))] == list(untouched)


async def test_an_unknown_outcome_that_was_held_is_still_unknown_after_a_restart(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
    await ledger.held(0, JobError(kind="internal", message="settling it broke"))
    await ledger.change(recover)
    assert await state_of(ledger) == State.UNKNOWN
