"""The life of jobs in the ledger as a state machine: any order of steps, answers, crashes and second tries.

The model is a dictionary and a provider that counts what it is paid for. Whatever happens, the ledger says what the
model says, refuses what the table of states does not allow, and no job is paid for more often than somebody asked.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.job.states import TRANSITIONS, UNWRITTEN, State
from engine.ledger.counts import count_jobs
from engine.ledger.group_commit import RefusedChange
from engine.ledger.ledger import OutputMark
from engine.ledger.recovery import recover
from engine.ledger.reopening import Selection, reopen
from engine.ledger.totals import count_again, totals
from engine.provider.verdict import Metrics
from tests.jobs import FILE, REFUSED, UNKNOWN_OUTCOME, UTC, add_jobs, flight_of, open_inline

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

JOBS = 4
any_job = st.integers(0, JOBS - 1)
STEPS = 40
RUNS = 40


class Life(RuleBasedStateMachine):
    """Leads four jobs through their lives."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self.model = dict.fromkeys(range(JOBS), State.PENDING)
        self.attempts = dict.fromkeys(range(JOBS), 0)
        self.paid = dict.fromkeys(range(JOBS), 0)
        self.has_it = dict.fromkeys(range(JOBS), False)
        """Whether the provider has the submission that is under way."""
        self.asked_again = dict.fromkeys(range(JOBS), 0)
        self.lines = 0
        self.requests = 0

    @initialize()
    def begin(self) -> None:
        self._open()
        self.do(add_jobs(self.ledger, JOBS))

    def do(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(step)

    def _open(self) -> None:
        async def opened() -> None:
            self.ledger = open_inline(Path(self._directory.name) / "run.db")

        self.do(opened())

    def teardown(self) -> None:
        self.ledger.close()
        self._loop.close()
        self._directory.cleanup()

    # --- steps ------------------------------------------------------------------------------------

    def _intend(self, job: int) -> int:
        attempt = self.attempts[job] + 1
        self.do(self.ledger.intend(job, attempt, utc=UTC, price_usd=4.475))
        return attempt

    def _pay(self, job: int) -> None:
        self.paid[job] += 1
        self.has_it[job] = True

    @rule(job=any_job)
    def submit_and_hear(self, job: int) -> None:
        if self.model[job] is State.PENDING:
            attempt = self._intend(job)
            self._pay(job)
            self._accept(job, attempt)

    def _accept(self, job: int, attempt: int) -> None:
        self.requests += 1
        self.do(self.ledger.accepted(job, attempt, f"request-{self.requests}", utc=UTC))
        self.attempts[job], self.model[job] = attempt, State.SUBMITTED

    @rule(job=any_job, arrived=st.booleans())
    def submit_and_lose_the_reply(self, job: int, arrived: bool) -> None:  # noqa: FBT001 (drawn)
        if self.model[job] is State.PENDING:
            attempt = self._intend(job)
            self.has_it[job] = False
            if arrived:
                self._pay(job)
            self.do(self.ledger.unknown(job, attempt, UNKNOWN_OUTCOME))
            self.attempts[job], self.model[job] = attempt, State.UNKNOWN

    @rule(job=any_job, arrived=st.booleans())
    def submit_and_crash(self, job: int, arrived: bool) -> None:  # noqa: FBT001 (drawn)
        if self.model[job] is State.PENDING:
            attempt = self._intend(job)
            self.has_it[job] = False
            if arrived:
                self._pay(job)
            self.attempts[job], self.model[job] = attempt, State.UNKNOWN
            self.crash()

    @rule(job=any_job, spent=st.booleans())
    def submit_and_be_refused(self, job: int, spent: bool) -> None:  # noqa: FBT001 (drawn)
        if self.model[job] is State.PENDING:
            attempt = self._intend(job)
            self.do(self.ledger.withdrawn(job, attempt, spent=spent, error=REFUSED))
            self.attempts[job] = attempt if spent else attempt - 1

    @rule(job=any_job)
    def settle(self, job: int) -> None:
        """Do what the reconciler does with a history that tells the truth."""
        if self.model[job] is not State.UNKNOWN:
            return
        if self.has_it[job]:
            self._accept(job, self.attempts[job])
        else:
            self.do(self.ledger.released(job, proven=True))
            self.model[job] = State.PENDING

    @rule(job=any_job)
    def find_finished(self, job: int) -> None:
        if self.model[job] is State.SUBMITTED:
            flight = flight_of(job)
            flight.attempts = self.attempts[job]
            media = {"urls": [FILE.url], "bytes_expected": None, "content_type": None}
            self.do(self.ledger.ready(flight, metrics=Metrics(cost_usd=4.5), output={}, media=media, lag_s=1.0))
            self.model[job] = State.READY

    @rule(job=any_job)
    def store(self, job: int) -> None:
        if self.model[job] is State.READY:
            self.do(self.ledger.stored(job, self.attempts[job], [FILE], utc=UTC))
            self.model[job] = State.STORED

    @rule(job=any_job)
    def fail(self, job: int) -> None:
        if self.model[job] is State.SUBMITTED:
            self.do(self.ledger.failed(job, self.attempts[job], REFUSED))
            self.paid[job] -= 1  # a failed generation is not charged
            self.model[job] = State.FAILED

    @rule()
    def write_what_is_owed(self) -> None:
        owed = [job for job, state in self.model.items() if state in UNWRITTEN]
        places = [(job, self.lines + offset) for offset, job in enumerate(owed)]
        self.lines += len(owed)
        self.do(self.ledger.written(places, OutputMark("results.jsonl", self.lines, self.lines, 1, "")))
        self.model |= dict.fromkeys(owed, State.DONE)

    @precondition(lambda self: State.DONE in self.model.values())
    @rule(unknown=st.booleans())
    def try_again(self, unknown: bool) -> None:  # noqa: FBT001 (drawn)
        """Do what ``engine retry --all-failed`` does, and with ``unknown`` what a person risks."""
        failed = [job for job, state in self.model.items() if state in {State.DONE, State.FAILED} and self._failed(job)]
        lost = [job for job, state in self.model.items() if unknown and state is State.UNKNOWN]
        self.do(self.ledger.change(reopen, Selection(unknown=unknown)))
        for job in (*failed, *lost):
            self.model[job] = State.PENDING
        for job in lost:
            self.asked_again[job] += 1
        self.lines = sum(state is State.DONE for state in self.model.values())

    def _failed(self, job: int) -> bool:
        found = self.do(
            self.ledger.read(lambda db: db.execute("SELECT status FROM job WHERE job = ?", (job,)).fetchone())
        )
        return bool(found[0] == "failed")

    @rule()
    def crash(self) -> None:
        """Forget everything but the ledger, as kill -9 does, and recover."""
        self.ledger.close()
        self._open()
        self.do(self.ledger.change(recover))

    @rule(job=any_job, step=st.sampled_from(("intend", "accepted", "stored", "released", "unknown", "failed")))
    def step_out_of_turn(self, job: int, step: str) -> None:
        """Try a step that the job's state does not allow; it must be refused and change nothing."""
        after = {
            "intend": State.SUBMITTING,
            "accepted": State.SUBMITTED,
            "stored": State.STORED,
            "released": State.PENDING,
            "unknown": State.UNKNOWN,
            "failed": State.FAILED,
        }[step]
        if after in TRANSITIONS[self.model[job]]:
            return
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "intend": lambda: self.ledger.intend(job, 9, utc=UTC),
            "accepted": lambda: self.ledger.accepted(job, 9, "request-x", utc=UTC),
            "stored": lambda: self.ledger.stored(job, 9, [FILE], utc=UTC),
            "released": lambda: self.ledger.released(job),
            "unknown": lambda: self.ledger.unknown(job, 9, UNKNOWN_OUTCOME),
            "failed": lambda: self.ledger.failed(job, 9, REFUSED),
        }
        with pytest.raises(RefusedChange):
            self.do(calls[step]())

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        if not hasattr(self, "ledger"):
            return
        rows = self.do(self.ledger.read(lambda db: db.execute("SELECT job, state, seq FROM job").fetchall()))
        assert {job: state for job, state, _ in rows} == self.model
        places = sorted(seq for _, state, seq in rows if state == "done")
        assert places == list(range(self.lines))

    @invariant()
    def no_job_is_paid_more_often_than_somebody_asked(self) -> None:
        for job, times in self.paid.items():
            assert times <= 1 + self.asked_again[job]

    @invariant()
    def every_job_is_counted_in_one_place(self) -> None:
        if hasattr(self, "ledger"):
            assert sum(self.do(self.ledger.read(count_jobs)).values()) == JOBS

    @invariant()
    def the_running_totals_are_what_the_rows_add_up_to(self) -> None:
        if hasattr(self, "ledger"):
            assert self.do(self.ledger.read(totals)) == self.do(self.ledger.read(count_again))


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=RUNS, stateful_step_count=STEPS, deadline=None, derandomize=True)
