"""A result line says all that the ledger knows of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.job.states import State
from engine.ledger.new_lines import add_lines
from engine.output.result_lines import load_results, load_written, promised_jobs, unwritten_jobs, unwritten_run
from tests.jobs import FILE, REFUSED, add_jobs, bad_row, bring_to, job_row, read_to

if TYPE_CHECKING:
    from engine.job.records import ResultLine
    from engine.ledger.ledger import Ledger


async def line_of(ledger: Ledger, job: int) -> ResultLine:
    ((_, line),) = await ledger.read(lambda db: load_results(db, [job], first_seq=7))
    found: ResultLine = line
    return found


async def test_a_success_carries_its_files_cost_and_timings(ledger: Ledger) -> None:
    row = job_row(1, id_="job-0", prompt="a")._replace(metadata=b'{"row": 17}')
    await ledger.change(add_lines, [row], read_to(1))
    await bring_to(ledger, State.STORED)
    line = await line_of(ledger, 0)
    assert (line.id, line.line, line.seq, line.status, line.attempts) == ("job-0", 1, 7, "succeeded", 1)
    assert line.files == (FILE,)
    assert (line.request_id, line.output, line.cost_usd, line.metadata) == ("request-0", {"a": 1}, 4.5, {"row": 17})
    assert line.timings.submitted_utc == "2026-01-01T00:00:01.000Z"
    assert line.timings.completed_utc == "2026-01-01T00:11:40.000Z"
    assert line.timings.stored_utc == "2026-01-01T00:13:20.000Z"
    assert line.timings.lag_s == 2.0
    assert line.error is None


async def test_a_failure_carries_its_error_and_no_files(ledger: Ledger) -> None:
    await add_jobs(ledger, 1)
    await bring_to(ledger, State.FAILED)
    line = await line_of(ledger, 0)
    assert (line.status, line.error, line.files, line.cost_usd) == ("failed", REFUSED, (), None)


async def test_an_invalid_line_has_no_model_and_no_attempts(ledger: Ledger) -> None:
    await ledger.change(add_lines, [bad_row(3)], read_to(3))
    line = await line_of(ledger, 0)
    assert (line.status, line.id, line.line, line.model, line.attempts) == ("invalid", None, 3, None, 0)


async def test_jobs_with_a_promised_place_come_first_and_keep_it(ledger: Ledger) -> None:
    await add_jobs(ledger, 4)
    for job in range(4):
        await bring_to(ledger, State.STORED, job=job)
    await ledger.reserve_seq([(3, 0), (1, 1)])
    assert await ledger.read(promised_jobs) == [3, 1]
    jobs = await ledger.read(lambda db: unwritten_jobs(db, limit=3))
    assert jobs == [3, 1, 0]
    found = await ledger.read(lambda db: load_results(db, jobs, first_seq=0))
    assert [(job, line.seq) for job, line in found] == [(3, 0), (1, 1), (0, 2)]


async def test_an_unbroken_run_ends_before_the_first_job_that_is_not_decided(ledger: Ledger) -> None:
    await add_jobs(ledger, 5)
    for job, state in ((0, State.STORED), (1, State.FAILED), (3, State.STORED)):
        await bring_to(ledger, state, job=job)
    assert await ledger.read(lambda db: unwritten_run(db, first=0, limit=9)) == [0, 1]
    assert await ledger.read(lambda db: unwritten_run(db, first=0, limit=1)) == [0]
    assert await ledger.read(lambda db: unwritten_run(db, first=2, limit=9)) == []


async def test_what_was_written_comes_back_in_the_order_of_the_output(ledger: Ledger) -> None:
    await add_jobs(ledger, 3)
    for job in range(3):
        await bring_to(ledger, State.DONE, job=job)
    lines = await ledger.read(lambda db: load_written(db, first_seq=1, limit=9))
    assert [line.seq for line in lines] == [1, 2]
