"""Jobs out of the ledger as flights: which, in which order, with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.states import State
from engine.ledger.flights import flights_in, pending_after, unknowns
from tests.jobs import FILE, UNKNOWN_OUTCOME, add_jobs, bring_to, flight_of

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger


async def test_pending_jobs_come_in_input_order_from_behind_a_job(ledger: Ledger) -> None:
    await add_jobs(ledger, 5)
    await bring_to(ledger, State.SUBMITTED, job=2)
    assert [flight.job for flight in await ledger.read(pending_after, 0, 2)] == [1, 3]
    assert [flight.id for flight in await ledger.read(pending_after, -1, 9)] == ["job-0", "job-1", "job-3", "job-4"]


async def test_what_is_under_way_comes_oldest_submission_first(ledger: Ledger) -> None:
    await add_jobs(ledger, 3)
    for job, utc in ((0, 30.0), (1, 10.0), (2, 20.0)):
        await ledger.intend(job, 1, utc=utc)
        await ledger.accepted(job, 1, f"r{job}", utc=utc)
    found = await ledger.read(flights_in, State.SUBMITTED)
    assert [(flight.job, flight.request_id, flight.submitted_utc) for flight in found] == [
        (1, "r1", 10.0),
        (2, "r2", 20.0),
        (0, "r0", 30.0),
    ]


async def test_a_ready_job_comes_back_with_where_its_files_are(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.READY)
    (flight,) = await ledger.read(flights_in, State.READY)
    assert flight.media == {"urls": [FILE.url]}
    assert flight.completed_utc == flight_of(0).completed_utc


async def test_unknown_outcomes_come_oldest_intent_first_with_what_was_sent(ledger: Ledger) -> None:
    await add_jobs(ledger, 3)
    for job, utc, sent in ((0, 20.0, None), (1, 10.0, b'{"prompt":"staged"}')):
        await ledger.intend(job, 1, utc=utc, sent=sent)
        await ledger.unknown(job, 1, UNKNOWN_OUTCOME)
    found = await ledger.read(unknowns)
    assert [(flight.job, flight.intent_utc, flight.sent) for flight in found] == [
        (1, 10.0, b'{"prompt":"staged"}'),
        (0, 20.0, b""),
    ]
