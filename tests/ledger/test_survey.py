"""Counts add up to the lines of the input, and money to what the provider said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.job.states import State
from engine.ledger.new_lines import add_lines
from engine.ledger.survey import survey
from tests.jobs import UNKNOWN_OUTCOME, UTC, add_jobs, bad_row, bring_to, read_to

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger

PLACES = (
    State.PENDING,
    State.SUBMITTING,
    State.SUBMITTED,
    State.READY,
    State.UNKNOWN,
    State.HELD,
    State.STORED,
    State.FAILED,
    State.DONE,
)


async def test_every_line_is_counted_in_exactly_one_place(ledger: Ledger) -> None:
    await add_jobs(ledger, len(PLACES))
    for job, state in enumerate(PLACES):
        await bring_to(ledger, state, job=job)
    await ledger.change(add_lines, [bad_row(100)], read_to(100))
    found = await ledger.read(survey)
    assert (found.remaining, found.in_flight, found.unknown, found.held) == (1, 3, 1, 1)
    assert (found.succeeded, found.failed, found.invalid) == (2, 1, 1)
    parts = (found.remaining, found.in_flight, found.unknown, found.held, found.succeeded, found.failed, found.invalid)
    assert sum(parts) == found.lines == len(PLACES) + 1


async def test_money_is_what_was_charged_and_what_the_unknowns_may_cost(ledger: Ledger) -> None:
    await add_jobs(ledger, 5)
    for job, state in enumerate((State.READY, State.DONE, State.SUBMITTED, State.UNKNOWN, State.UNKNOWN)):
        await bring_to(ledger, state, job=job)
    found = await ledger.read(survey)
    assert (found.spent_usd, found.submissions) == (9.0, 3)
    assert found.reserved_usd == pytest.approx(3 * 4.475)
    assert found.at_risk_usd == 2 * 4.475


async def test_money_at_risk_is_not_said_where_a_price_is_not_known(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await ledger.intend(0, 1, utc=UTC)
    await ledger.unknown(0, 1, UNKNOWN_OUTCOME)
    assert (await ledger.read(survey)).at_risk_usd is None


async def test_the_oldest_request_in_flight_is_named(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    assert (await ledger.read(survey)).oldest_in_flight_utc is None
    await bring_to(ledger, State.SUBMITTED)
    assert (await ledger.read(survey)).oldest_in_flight_utc == UTC + 1


async def test_causes_are_grouped_by_kind_with_an_example(ledger: Ledger) -> None:
    await add_jobs(ledger, 2)
    for job in range(2):
        await bring_to(ledger, State.FAILED, job=job)
    await ledger.change(add_lines, [bad_row(9)], read_to(9))
    causes = (await ledger.read(survey)).causes
    assert [(cause.status, cause.kind, cause.jobs, cause.example_line) for cause in causes] == [
        ("failed", "rejected", 2, 1),
        ("invalid", "bad_line", 1, 9),
    ]


async def test_an_empty_run_is_a_survey_of_nothing(ledger: Ledger) -> None:
    found = await ledger.read(survey)
    assert (found.lines, found.input_complete, found.written, found.spent_usd, found.causes) == (0, False, 0, 0, ())
