"""The ledger: what every job is, was and cost. The truth of a run.

Each method is one change that is durable when its await returns; whoever acts outside acts after that. Here is the life
of a job. What else is read or changed is a function of the connection in a file beside this one, handed to ``read`` or
``change``. Every change of state goes through ``moves.move``, which lets SQLite itself refuse what ``job/states.py``
does not allow. Knows nothing of HTTP, and nothing of why a change is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from engine.job.records import JobError, StoredFile, decode_json, encode_json
from engine.job.states import State
from engine.ledger.copies import answer_copies
from engine.ledger.group_commit import GroupCommitter
from engine.ledger.moves import move, note, set_attempt_error
from engine.ledger.outcomes import accept, record
from engine.ledger.schema import facts_in, open_for_writing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from engine.job.flight import Flight
    from engine.ledger.group_commit import Committer
    from engine.provider.verdict import Metrics


_Arguments = ParamSpec("_Arguments")
_Outcome = TypeVar("_Outcome")

NEVER_ACCEPTED = JobError(
    kind="not_accepted", message="its reply was lost; the history shows that it was never accepted", retryable=True
)


class OutputMark(NamedTuple):
    """How far the output file is ours: ``bytes`` long, in ``lines`` lines, the last ``tail_bytes`` hashing as said."""

    path: str
    bytes: int
    lines: int
    tail_bytes: int
    tail_sha256: str


class Ledger:
    """The ledger of one run, open for writing by this process."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    @classmethod
    def open(cls, path: Path, *, make_room: Callable[[], bool] = lambda: False) -> Ledger:
        """Open or create the ledger at ``path``; needs a running event loop, and the run directory's lock.

        Args:
            path: of the database.
            make_room: gives up what can be given up on a full disk, and says whether there was anything; it is called
                by the ledger's own thread.

        Raises:
            LedgerError: what is there is damaged, foreign or newer.
        """
        return cls(GroupCommitter(open_for_writing(path), make_room))

    def close(self) -> None:
        """Make everything durable that was handed in, and close. Blocks."""
        self._committer.close()

    async def read(
        self,
        query: Callable[Concatenate[sqlite3.Connection, _Arguments], _Outcome],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Outcome:
        """Run a short query with its arguments between two commits; it sees everything that is durable."""
        return await self._committer.commit(lambda db: query(db, *args, **kwargs))

    async def change(
        self,
        change: Callable[Concatenate[sqlite3.Connection, _Arguments], _Outcome],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Outcome:
        """Make a change durable that another file knows how to make, with its arguments; all of it or nothing."""
        return await self._committer.commit(lambda db: change(db, *args, **kwargs))

    # --- facts about the run ----------------------------------------------------------------------

    async def note(self, **facts: str | float | None) -> None:
        """Record facts about the run under their names."""
        await self.change(note, facts)

    async def facts(self) -> dict[str, Any]:
        """Return all facts about the run by name."""
        return await self.read(facts_in)

    # --- the life of a job ------------------------------------------------------------------------

    async def intend(
        self, job: int, attempt: int, *, utc: float, price_usd: float | None = None, sent: bytes | None = None
    ) -> None:
        """PENDING → SUBMITTING: from the moment this returns, the provider may be asked, and ``price_usd`` be due.

        ``sent`` is what it is asked for, where that is not what the job line says.
        """

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.SUBMITTING)
            db.execute(
                "INSERT OR REPLACE INTO attempt (job, attempt, intent_utc, price_usd, sent) VALUES (?, ?, ?, ?, ?)",
                (job, attempt, utc, price_usd, sent),
            )
            note(db, {"last_intent_utc": utc})

        await self._committer.commit(change)

    async def accepted(
        self, job: int, attempt: int, request_id: str, *, utc: float, addresses: Mapping[str, str] | None = None
    ) -> None:
        """SUBMITTING or UNKNOWN → SUBMITTED: the provider has it under ``request_id``, and perhaps said where.

        Raises:
            RefusedChange: another job already owns that request id.
        """
        await self.change(accept, job, attempt, request_id, utc=utc, addresses=addresses)

    async def answered(self, flight: Flight, *, metrics: Metrics, output: Any, media: dict[str, Any]) -> None:
        """SUBMITTING → READY in one commit: the reply to the submission ``flight`` was its result.

        Raises:
            RefusedChange: another job already owns the request id of ``flight``.
        """

        def change(db: sqlite3.Connection) -> None:
            name = flight.request_id
            accept(db, flight.job, flight.attempts, name, utc=flight.submitted_utc, addresses=None)
            record(db, flight, metrics=metrics, output=output, media=media, lag_s=None)

        await self._committer.commit(change)

    async def withdrawn(self, job: int, attempt: int, *, spent: bool, error: JobError | None = None) -> None:
        """SUBMITTING → PENDING: the provider certainly did not take it; ``spent`` counts it as an attempt."""

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.PENDING, attempts=attempt if spent else attempt - 1)
            if spent:
                set_attempt_error(db, job, attempt, error)
            else:
                db.execute("DELETE FROM attempt WHERE job = ? AND attempt = ?", (job, attempt))

        await self._committer.commit(change)

    async def unknown(self, job: int, attempt: int, error: JobError) -> None:
        """SUBMITTING or SUBMITTED → UNKNOWN: the provider may have it, and may charge for it."""

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.UNKNOWN, attempts=attempt)
            set_attempt_error(db, job, attempt, error)

        await self._committer.commit(change)

    async def ready(
        self, flight: Flight, *, metrics: Metrics, output: Any, media: dict[str, Any], lag_s: float | None
    ) -> None:
        """SUBMITTED or READY → READY: the result is recorded, its files are still to be fetched."""
        await self.change(record, flight, metrics=metrics, output=output, media=media, lag_s=lag_s)

    async def media_of(self, job: int, attempt: int) -> dict[str, Any]:
        """Return where the files of a result are; each may be as long as a reply, so it is read only when needed."""
        found: dict[str, Any] = await self.read(
            lambda db: decode_json(
                db.execute("SELECT media FROM attempt WHERE job = ? AND attempt = ?", (job, attempt)).fetchone()[0]
            )
        )
        return found

    async def relocated(self, job: int, attempt: int, media: dict[str, Any]) -> None:
        """READY → READY: the files of a result are somewhere else now."""

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.READY)
            db.execute("UPDATE attempt SET media = ? WHERE job = ? AND attempt = ?", (encode_json(media), job, attempt))

        await self._committer.commit(change)

    async def stored(
        self, job: int, attempt: int, files: Sequence[StoredFile], *, utc: float, media: dict[str, Any] | None = None
    ) -> int:
        """READY → STORED: every file is complete, verified and durable under its final name.

        Returns how many copies of the job were answered with it.

        Args:
            media: what stays of where the files were, if they came with the result and need not be kept twice.
        """

        def change(db: sqlite3.Connection) -> int:
            move(db, job, State.STORED, status="succeeded")
            db.execute(
                "UPDATE attempt SET stored_utc = ?, media = coalesce(?, media) WHERE job = ? AND attempt = ?",
                (utc, None if media is None else encode_json(media), job, attempt),
            )
            db.execute("DELETE FROM file WHERE job = ?", (job,))
            db.executemany(
                "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (job, position, f.path, f.url, f.bytes, bytes.fromhex(f.sha256), f.content_type, " ".join(f.checks))
                    for position, f in enumerate(files)
                ],
            )
            return answer_copies(db, job)

        return await self._committer.commit(change)

    async def released(self, job: int, *, proven: bool = False) -> None:
        """UNKNOWN → PENDING: ``proven`` absent at the provider, or the user asked for it."""

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.PENDING)
            if proven:
                (attempt,) = db.execute("SELECT attempts FROM job WHERE job = ?", (job,)).fetchone()
                set_attempt_error(db, job, attempt, NEVER_ACCEPTED)

        await self._committer.commit(change)

    async def failed(self, job: int, attempt: int, error: JobError) -> int:
        """Any state on its way → FAILED: the outcome is final; ``attempt`` 0 means that nothing was submitted.

        Returns how many copies of the job failed with it.
        """

        def change(db: sqlite3.Connection) -> int:
            (before,) = db.execute("SELECT state FROM job WHERE job = ?", (job,)).fetchone()
            move(db, job, State.FAILED, attempts=attempt, status="failed", error=encode_json(error))
            if before != State.PENDING:  # else the last attempt has its own end, and may have been charged
                set_attempt_error(db, job, attempt, error)
            return answer_copies(db, job)

        return await self._committer.commit(change)

    async def held(self, job: int, error: JobError) -> None:
        """Any state on its way → HELD: set aside until a person decides."""

        def change(db: sqlite3.Connection) -> None:
            move(db, job, State.HELD, error=encode_json(error))

        await self._committer.commit(change)

    # --- the output -------------------------------------------------------------------------------

    async def reserve_seq(self, jobs: Iterable[tuple[int, int]]) -> None:
        """Give jobs their places in the output before anything is written to a stream that cannot be cut."""

        def change(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE job SET seq = ? WHERE job = ?", [(seq, job) for job, seq in jobs])

        await self._committer.commit(change)

    async def written(self, jobs: Iterable[tuple[int, int]], mark: OutputMark) -> None:
        """STORED, FAILED or INVALID → DONE for (job, seq) pairs, with the mark up to which the output is ours."""

        def change(db: sqlite3.Connection) -> None:
            for job, seq in jobs:
                move(db, job, State.DONE, seq=seq)
            note(db, {f"output_{name}": value for name, value in mark._asdict().items()})

        await self._committer.commit(change)
