"""What a person wants tried again: which jobs that reaches, and what becomes of their copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.job.states import State
from engine.ledger.cancel_book import CancelBook
from engine.ledger.ledger import OutputMark
from engine.ledger.new_lines import add_lines
from engine.ledger.reopening import Reopened, Selection, reopen
from tests.jobs import REFUSED, UTC, bring_to, job_row, read_to

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger

FIRST, COPY = 0, 1
OUTPUT = OutputMark("results.jsonl", 1, 1, 1, "")


@pytest.fixture
async def ledger_with_a_cancelled_copy(ledger: Ledger) -> Ledger:
    """A job, and a copy of it that was cancelled by its own id while the job waits."""
    rows = [job_row(1, id_="first", prompt="same"), job_row(2, id_="copy", prompt="same")]
    await ledger.change(add_lines, rows, read_to(2), dedupe=True)
    book = CancelBook(ledger)
    await book.ask(["copy"], everything=False, utc=UTC, control_bytes=0)
    await book.end_waiting(COPY)
    await ledger.written([(COPY, 0)], OUTPUT)
    return ledger


async def place(ledger: Ledger, job: int) -> tuple[str, str | None, str | None]:
    """Return a job's state, its status, and the kind of its error."""
    query = "SELECT state, status, error ->> 'kind' FROM job WHERE job = ?"
    found: tuple[str, str | None, str | None] = await ledger.read(lambda db: db.execute(query, (job,)).fetchone())
    return found


CHOICES = [Selection(ids=("copy",)), Selection(kinds=("cancelled",)), Selection()]


@pytest.mark.parametrize("chosen", CHOICES)
async def test_a_cancelled_copy_is_given_what_its_original_came_to_meanwhile(
    ledger_with_a_cancelled_copy: Ledger, chosen: Selection
) -> None:
    ledger = ledger_with_a_cancelled_copy
    await bring_to(ledger, State.STORED, job=FIRST)
    await ledger.written([(FIRST, 1)], OUTPUT)
    assert await ledger.change(reopen, chosen) == Reopened(follow=1)
    assert await place(ledger, COPY) == ("stored", "succeeded", None)
    assert await CancelBook(ledger).wishes() == []


async def test_a_cancelled_copy_waits_with_an_original_that_is_under_way(ledger_with_a_cancelled_copy: Ledger) -> None:
    ledger = ledger_with_a_cancelled_copy
    assert await ledger.change(reopen, Selection(ids=("copy",))) == Reopened(follow=1)
    assert await place(ledger, COPY) == ("pending", None, None)
    await bring_to(ledger, State.STORED, job=FIRST)
    assert await place(ledger, COPY) == ("stored", "succeeded", None)


async def test_a_cancelled_copy_fails_as_an_original_that_is_not_tried_again(
    ledger_with_a_cancelled_copy: Ledger,
) -> None:
    ledger = ledger_with_a_cancelled_copy
    await bring_to(ledger, State.FAILED, job=FIRST)
    assert await ledger.change(reopen, Selection(kinds=("cancelled",))) == Reopened(follow=1)
    assert await place(ledger, FIRST) == ("done", "failed", REFUSED.kind)
    assert await place(ledger, COPY) == ("failed", "failed", REFUSED.kind)
    assert await ledger.change(reopen, Selection(kinds=("cancelled",))) == Reopened()
    assert await ledger.change(reopen, Selection(kinds=(REFUSED.kind,))) == Reopened(submit=1)
    assert await place(ledger, COPY) == ("pending", None, None)


@pytest.mark.parametrize("chosen", [Selection(ids=("first",)), Selection(kinds=("rejected",)), Selection(failed=False)])
async def test_a_cancelled_copy_that_nobody_chose_stays_cancelled(
    ledger_with_a_cancelled_copy: Ledger, chosen: Selection
) -> None:
    assert await ledger_with_a_cancelled_copy.change(reopen, chosen) == Reopened()
    assert await place(ledger_with_a_cancelled_copy, COPY) == ("done", "failed", "cancelled")
