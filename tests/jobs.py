"""Jobs in a ledger, brought to whatever state a test begins with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from engine.job.flight import Flight
from engine.job.job import body_sha256
from engine.job.records import JobError, StoredFile, encode_json
from engine.job.states import State
from engine.ledger.group_commit import InlineCommitter
from engine.ledger.ledger import Ledger, OutputMark
from engine.ledger.new_lines import InputRow, SpoolMark, add_lines
from engine.ledger.schema import open_for_writing
from engine.provider.verdict import Metrics

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "kling-2.6"
UTC = 1_767_225_600.0
FILE = StoredFile(
    path="media/a.mp4",
    url="https://example.com/a.mp4",
    bytes=4,
    sha256=hashlib.sha256(b"film").hexdigest(),
    content_type="video/mp4",
    checks=("length", "mp4"),
)
UNKNOWN_OUTCOME = JobError(kind="unknown_outcome", message="the reply was lost", paid=True)
REFUSED = JobError(kind="rejected", message="no such voice", http_status=400)


def open_inline(path: Path) -> Ledger:
    """Open a ledger that commits on the event loop and does not wait for the disk."""
    return Ledger(InlineCommitter(open_for_writing(path, synchronous="OFF")))


def job_row(line: int, *, id_: str | None = None, model: str = MODEL, **params: Any) -> InputRow:
    """Return a valid line; without an id it is derived from the content, as the reader does."""
    digest = body_sha256(model, params)
    name = id_ if id_ is not None else f"job-{digest.hex()[:16]}"
    return InputRow(line, name, id_ is not None, model, encode_json(params), None, digest, None)


def bad_row(line: int) -> InputRow:
    return InputRow(line, None, False, None, None, None, None, JobError(kind="bad_line", message="not JSON"))


def read_to(lines: int, *, complete: bool = True) -> SpoolMark:
    return SpoolMark(10 * lines, "", lines, ends_in_newline=True, complete=complete)


async def add_jobs(ledger: Ledger, count: int, *, complete: bool = True) -> None:
    """Add jobs number 0 to ``count`` - 1 with the ids job-0, job-1, ..."""
    rows = [job_row(line, id_=f"job-{line - 1}", prompt=f"p{line}") for line in range(1, count + 1)]
    await ledger.change(add_lines, rows, read_to(count, complete=complete))


async def bring_to(ledger: Ledger, state: State, *, job: int = 0, request_id: str | None = None) -> None:
    """Lead a PENDING job to ``state`` the way the engine does."""
    request_id = request_id or f"request-{job}"
    match state:
        case State.PENDING:
            return
        case State.SUBMITTING:
            await ledger.intend(job, 1, utc=UTC, price_usd=4.475)
        case State.UNKNOWN:
            await bring_to(ledger, State.SUBMITTING, job=job)
            await ledger.unknown(job, 1, UNKNOWN_OUTCOME)
        case State.SUBMITTED:
            await bring_to(ledger, State.SUBMITTING, job=job)
            await ledger.accepted(job, 1, request_id, utc=UTC + 1)
        case State.READY:
            await bring_to(ledger, State.SUBMITTED, job=job, request_id=request_id)
            await ledger.ready(
                flight_of(job), metrics=Metrics(cost_usd=4.5), output={"a": 1}, media={"urls": [FILE.url]}, lag_s=2.0
            )
        case State.STORED:
            await bring_to(ledger, State.READY, job=job, request_id=request_id)
            await ledger.stored(job, 1, [FILE], utc=UTC + 800)
        case State.FAILED:
            await bring_to(ledger, State.SUBMITTING, job=job)
            await ledger.failed(job, 1, REFUSED)
        case State.HELD:
            await ledger.held(job, JobError(kind="internal", message="a step broke"))
        case State.DONE:
            await bring_to(ledger, State.STORED, job=job, request_id=request_id)
            await ledger.written([(job, job)], OutputMark("results.jsonl", 1, 1, 1, ""))
        case _:
            raise AssertionError(state)


def flight_of(job: int) -> Flight:
    return Flight(job, f"job-{job}", MODEL, 1, request_id=f"request-{job}", submitted_utc=UTC, completed_utc=UTC + 700)


async def state_of(ledger: Ledger, job: int = 0) -> str:
    found = await ledger.read(lambda db: db.execute("SELECT state FROM job WHERE job = ?", (job,)).fetchone())
    return str(found[0])
