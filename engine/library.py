"""The engine inside a program: jobs in, results out, with everything that a run on the command line promises.

    async with Run.open("night.run", RunConfig.load("configs/overnight.toml")) as run:
        async for result in run.process(jobs):
            ...

The run directory is the same as the command's: a program that was killed opens it again and goes on, and
``engine status`` or ``engine report`` look at it from outside. Jobs are taken from their iterable as there is room for
them, and none is taken while results lie untaken, so that neither side fills the memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson

from engine.config import RunConfig
from engine.errors import ExitCode, UsageError
from engine.fleet.address import usable_fleet
from engine.intake.program_source import ProgramSource
from engine.job.job import body_sha256, derived_id
from engine.job.json_types import json_problem
from engine.output.result_lines import load_written
from engine.run import run as runs
from engine.run.request import RunRequest
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    from engine.fleet.address import FleetAddress
    from engine.job.records import ResultLine
    from engine.provider.protocol import Provider

WAITING_MAX = 1_000
"""Jobs that wait to be submitted, and results that wait to be taken: more are not asked for."""
LOOK_S = 0.05

_KNOWN = "SELECT state, seq, body_sha256 FROM input JOIN job USING (job) WHERE id = ? AND valid = 1"
_LEFT = Stop("interrupted", "the program that runs it has left", ExitCode.STOPPED, Manner.NOW, "open the run again")
_STOPPED = Stop("interrupted", "the program asked it to stop", ExitCode.STOPPED, Manner.HARVEST, "open the run again")


@dataclass(frozen=True, slots=True)
class Job:
    """One generation to be paid for once.

    Attributes:
        params: what is sent, exactly; JSON types alone.
        id: names the job in the run for good; without one, it follows from model and params, with a number for repeats.
        model: the provider's model; without one, ``provider.model`` of the configuration.
        metadata: comes back with the result and is never sent; JSON types alone.
    """

    params: dict[str, Any]
    id: str | None = None
    model: str | None = None
    metadata: Any = None


class Run:
    """A run directory opened for work by this program; an async context manager. Make one with ``open``.

    Leaving the block while jobs are in flight is safe: their state is on disk, and opening the run again brings them
    home. ``stop`` brings them home first.
    """

    def __init__(self, root: Path, config: RunConfig, provider: Provider | None, fleet: FleetAddress | None) -> None:
        self._source = ProgramSource()
        self._results: asyncio.Queue[ResultLine | None] = asyncio.Queue()
        request = RunRequest(
            root=root,
            config=config,
            source=self._source,
            accept_appended=True,
            provider=provider,
            fleet=fleet,
            on_result=self._results.put_nowait,
        )
        self._run = runs.Run(request)
        self._tasks: list[asyncio.Task[None]] = []
        self._repeats: Counter[bytes] = Counter()
        self._written_before = 0

    @classmethod
    def open(
        cls,
        root: str | Path,
        config: RunConfig | None = None,
        *,
        provider: Provider | None = None,
        fleet: str | None = None,
    ) -> Run:
        """Return the run in a directory, new or begun before; nothing happens before the block is entered.

        Args:
            root: the run directory.
            config: the whole configuration; by default as without a file.
            provider: your own way to submit, poll and fetch, instead of ``config.provider``.
            fleet: where files are downloaded too, as the command's ``--fleet`` takes it.

        Raises:
            UsageError: there is no such fleet, or Ray is not installed.
        """
        where = None if fleet is None else usable_fleet(fleet)
        return cls(Path(root), config or RunConfig.load(None), provider, where)

    async def __aenter__(self) -> Self:
        """Open the run.

        Raises:
            EngineError: it cannot be opened; the error says what to do.
        """
        await self._run.__aenter__()
        self._written_before = self._run.tally.written
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._wind_down()
        finally:
            await self._run.__aexit__(kind, error, trace)

    @property
    def exit_code(self) -> ExitCode:
        """How it went, as the command's exit code; known once ``process`` has ended."""
        return self._run.exit_code

    @property
    def summary(self) -> dict[str, Any]:
        """What it came to, as in ``summary.json``; known once ``process`` has ended."""
        return self._run.summary

    def stop(self) -> None:
        """Submit nothing new; ``process`` goes on until everything that was paid for is home."""
        self._run.request_stop(_STOPPED)

    async def process(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> AsyncGenerator[ResultLine]:
        """Bring jobs to rest and yield the result of each as it is written to disk, in the order of their ends.

        A job that this run already brought to rest gets its result again, and is not paid for again. Results of jobs
        that an earlier process had submitted come too. To be used once for each opening.

        Args:
            jobs: any number; taken as there is room.

        Raises:
            EngineError: the run cannot go on, or a job's id was used for other params before.
            TypeError: something is no ``Job``, or a job holds what JSON cannot, such as a NaN, a date or a tuple;
                the message says what and where.
        """
        if self._tasks:
            raise UsageError("process was called before", hint="open the run again for further jobs")
        working = asyncio.create_task(self._run.work(), name="run")
        feeding = asyncio.create_task(self._feed(jobs), name="jobs-of-the-program")
        self._tasks = [working, feeding]
        working.add_done_callback(lambda _: self._results.put_nowait(None))
        feeding.add_done_callback(self._after_feeding)
        while (result := await self._results.get()) is not None:
            yield result
        if feeding.done() and not feeding.cancelled():
            feeding.result()
        await working

    async def _wind_down(self) -> None:
        """End what still works; what is on its way is left to the next opening."""
        for task in self._tasks[1:]:
            task.cancel()
        if self._tasks and not self._tasks[0].done():
            self._run.request_stop(_LEFT)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- jobs in ----------------------------------------------------------------------------------

    async def _feed(self, jobs: Iterable[Job] | AsyncIterable[Job]) -> None:
        if isinstance(jobs, AsyncIterable):
            async for job in jobs:
                await self._take(job)
        else:
            for job in jobs:
                await self._take(job)

    def _after_feeding(self, feeding: asyncio.Task[None]) -> None:
        if feeding.cancelled() or feeding.exception() is None:
            self._source.end()
        else:
            self._results.put_nowait(None)

    async def _take(self, job: Job) -> None:
        if not isinstance(job, Job):
            raise TypeError(
                f"process takes engine.Job, and was given {_type_words(job)}; for example Job(params, id=…)"
            )
        if problem := json_problem(job.params, "params") or json_problem(job.metadata, "metadata"):
            raise TypeError(f"in the job {job.id!r} {problem}" if job.id is not None else f"in a job {problem}")
        while self._is_full():  # noqa: ASYNC110 (three parts of the run empty it, and none knows of this program)
            await asyncio.sleep(LOOK_S)
        digest = body_sha256(job.model or self._run.default_model or "", job.params)
        known = await self._run.read(partial(_known, name=self._name_of(job, digest)))
        if known is None:
            record = {"id": job.id, "params": job.params, "model": job.model, "metadata": job.metadata}
            self._source.put(orjson.dumps({key: value for key, value in record.items() if value is not None}))
            return
        if known.body_sha256 != digest:
            raise UsageError(
                f"the job {known.name!r} was given other params, or another model, when this run began",
                hint="give it another id, or open another run directory",
            )
        if known.result is not None and known.result.seq < self._written_before:
            self._results.put_nowait(known.result)

    def _name_of(self, job: Job, digest: bytes) -> str:
        """Return the id of a job as the ledger will have it."""
        if job.id is not None:
            return job.id
        self._repeats[digest] += 1
        return derived_id(job.model or self._run.default_model or "", job.params, self._repeats[digest])

    def _is_full(self) -> bool:
        waiting = self._run.tally.pending + len(self._source)
        return waiting >= WAITING_MAX or self._results.qsize() >= WAITING_MAX


def _type_words(value: object) -> str:
    """Name a type with its article; the value itself may be long, or nobody's business."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


class _Known(NamedTuple):
    """A job that the ledger has: under which name, what it sends, and its result if that was written."""

    name: str
    body_sha256: bytes
    result: ResultLine | None


def _known(db: sqlite3.Connection, *, name: str) -> _Known | None:
    row = db.execute(_KNOWN, (name,)).fetchone()
    if row is None:
        return None
    state, seq, body = row
    return _Known(name, body, load_written(db, first_seq=seq, limit=1)[0] if state == "done" else None)
