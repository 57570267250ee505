"""What submissions may have cost stays in the accounts, whoever wants them repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.job.records import JobError
from engine.job.states import State
from engine.ledger.accounts import accounts
from engine.ledger.cancel_book import CancelBook
from engine.ledger.ledger import OutputMark
from engine.ledger.reopening import Selection, reopen
from tests.jobs import REFUSED, UNKNOWN_OUTCOME, UTC, add_jobs, bring_to

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger

PRICE_USD = 4.475
EXPIRED = JobError(kind="expired", message="nobody gave a fresh URL", paid=True)
CANCELLED = JobError(kind="cancelled", message="cancelled at the provider", retryable=True, paid=True)


async def books(ledger: Ledger) -> tuple[list[float | None], float]:
    """Return the prices that are reserved, and what is written off."""
    found = await ledger.read(accounts)
    return [reservation.price_usd for reservation in found.reserved], found.written_off_usd


async def fail(ledger: Ledger, error: JobError) -> None:
    """Fail an accepted request for whose cost nobody has a word, with its line written."""
    await bring_to(ledger, State.SUBMITTED)
    await ledger.failed(0, 1, error)
    await ledger.written([(0, 0)], OutputMark("results.jsonl", 1, 1, 1, ""))


@pytest.mark.parametrize("last", [State.SUBMITTING, State.SUBMITTED])
async def test_what_a_lost_reply_or_a_request_given_up_may_cost_outlives_the_retry(ledger: Ledger, last: State) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, last)
    await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
    assert await books(ledger) == ([PRICE_USD], 0.0)
    await ledger.change(reopen, Selection(failed=False, unknown=True))
    assert await books(ledger) == ([], PRICE_USD)
    await ledger.intend(0, 2, utc=UTC, price_usd=PRICE_USD)
    await ledger.accepted(0, 2, "another", utc=UTC)
    assert await books(ledger) == ([PRICE_USD], PRICE_USD)


async def test_a_job_that_fails_before_it_is_submitted_again_keeps_what_it_may_have_cost(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.UNKNOWN)
    await ledger.change(reopen, Selection(failed=False, unknown=True))
    await ledger.failed(0, 1, JobError(kind="input_file", message="the file is gone", retryable=True))
    assert await books(ledger) == ([], PRICE_USD)


@pytest.mark.parametrize("error", [EXPIRED, CANCELLED])
async def test_so_does_what_a_paid_failure_cost_nobody_knows_how_much(ledger: Ledger, error: JobError) -> None:
    await add_jobs(ledger, 1)
    await fail(ledger, error)
    assert await books(ledger) == ([PRICE_USD], 0.0)
    await ledger.change(reopen, Selection(pay_again=True))
    assert await books(ledger) == ([], PRICE_USD)
    await CancelBook(ledger).end_waiting(0)  # the person thought better of it
    assert await books(ledger) == ([PRICE_USD], 0.0)


async def test_a_request_that_is_adopted_after_all_is_reserved_once(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.UNKNOWN)
    await ledger.accepted(0, 1, "found in the history", utc=UTC)
    assert await books(ledger) == ([PRICE_USD], 0.0)


async def test_a_failure_that_costs_nothing_leaves_nothing_behind(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await fail(ledger, REFUSED)
    assert await books(ledger) == ([], 0.0)
    await ledger.change(reopen, Selection())
    assert await books(ledger) == ([], 0.0)
