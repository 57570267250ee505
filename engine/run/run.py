"""One run from beginning to end: open, recover, work, drain, close.

Here the parts meet: the run directory and its lock, the ledger, the reader, the scheduler, the writer, the
provider and the downloads. Each is given its section of the configuration; none knows another that it does
not call. Knows nothing of terminals and signals: whoever watches reads ``tally`` and ``view``, whoever
stops calls ``request_stop``.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import orjson

from engine import __version__
from engine.clock import Clock, SystemClock, local_words
from engine.connection import connect
from engine.disk.ballast import Ballast
from engine.disk.run_dir import RunDir, RunLock
from engine.errors import EngineError, ExitCode, UsageError, first_of
from engine.intake.job_reader import JobReader, spool_mark
from engine.intake.kinds import recorded_input
from engine.ledger.ledger import Ledger
from engine.ledger.recovery import recover
from engine.ledger.reopening import Reopened, reopen
from engine.ledger.stopped import KILLED, Stopped, as_fact, broken_by
from engine.ledger.survey import survey
from engine.output.result_writer import ResultWriter
from engine.provider_configs import configs_by_provider
from engine.run.chronicle import Chronicle
from engine.run.control_journal import ControlJournal
from engine.run.controls import Controls
from engine.run.downloads import RunDownloads
from engine.run.learning import Learning, profile_path
from engine.run.log import RunLog
from engine.run.providers import Common, RunProviders
from engine.run.stops import DISK_FULL, HARVEST_ONLY, LOG_FULL, STREAM_BROKEN
from engine.run.summary import exit_code_of, summarise, write_summary
from engine.scheduling.deadline import Deadline, Target
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from engine.connection import Connection
    from engine.job.records import ResultLine
    from engine.ledger.new_lines import Spooled
    from engine.ledger.survey import Survey
    from engine.run.request import RunRequest
    from engine.scheduling.schedulers import Schedulers
    from engine.scheduling.tally import Tally
    from engine.scheduling.view import Remainder, View

Moment = TypeVar("Moment", Deadline, Target)


class Run:
    """A run opened for work by this process; an async context manager.

    Opening takes the lock, recovers what an earlier process left, and checks that the input is the one the
    run has begun with; it submits nothing. ``work`` does the rest.
    """

    def __init__(self, request: RunRequest, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self.directory = RunDir(request.root)
        self._request = request
        self._config = request.config
        self._media = request.config.storage.directory or self.directory.media
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 (spreads retries; guards nothing)
        self._stack = AsyncExitStack()
        self._full_disks: asyncio.Queue[Stop] = asyncio.Queue()
        self._began_at = self._clock.now()
        self.reopened = Reopened()

    async def __aenter__(self) -> Self:
        """Open the run.

        Raises:
            EngineError: it cannot be opened; the error says what to do.
        """
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # --- what others read and call ----------------------------------------------------------------

    @property
    def tally(self) -> Tally:
        """The figures of the whole run as they are; read only."""
        return self._providers.tally

    @property
    def stop(self) -> Stop | None:
        """Why the run winds down, if it does."""
        return self._scheduler.stop

    def view(self) -> View:
        """Return how the run stands now."""
        return self._scheduler.view()

    def remainder(self) -> Remainder:
        """Return what is in flight, for whoever would end the run."""
        return self._scheduler.remainder()

    @property
    def warnings(self) -> dict[str, tuple[int, int]]:
        """What was odd about valid lines: sentence → (number of lines, first line)."""
        reader = self._reader
        return {} if reader is None else {text: (n, reader.first_lines[text]) for text, n in reader.warnings.items()}

    @property
    def fleet(self) -> str:
        """How the fleet does, in a few words; empty if there is none."""
        return self._downloads.fleet_sentence

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down."""
        self._scheduler.request_stop(stop)

    def cancel_in_flight(self) -> None:
        """Cancel everything that is in flight, as far as the provider can."""
        self._scheduler.cancel_in_flight()

    @property
    def default_model(self) -> str | None:
        """The model of jobs that name none."""
        return self._providers.first.default_model

    async def read(self, query: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return what ``query`` reads of the ledger, with everything in it that was handed in before."""
        return await self._ledger.read(query)

    # --- open -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.directory.create()
        self._stack.enter_context(RunLock(self.directory, self._clock))
        connections = await self._connect()
        self._log = self._stack.enter_context(
            RunLog(
                self.directory.log,
                self._clock,
                level=self._request.log_level,
                secrets=tuple(connection.api_key for connection in connections.values()),
                on_full=partial(self._note_full_disk, LOG_FULL),
            )
        ).logger
        self._ballast = self._stack.enter_context(Ballast(self.directory.ballast))
        self._ledger = Ledger.open(self.directory.ledger, make_room=self._make_room)
        self._stack.callback(self._ledger.close)
        self._controls = Controls(
            ControlJournal(self.directory.control),
            self._ledger,
            config=self._request.config,
            clock=self._clock,
            log=self._log,
            announce=self._request.announce,
        )
        self._config = await self._controls.open()
        self._providers = RunProviders(self._config, connections, clock=self._clock, rng=self._rng)
        await self._providers.check(self._ledger)
        await self._recall()
        self._chronicle = Chronicle(
            self._ledger,
            lambda: self.tally,
            self._clock,
            waits_for=lambda: self.view().waits_for,
            fleet=lambda: self.fleet,
        )
        await self._chronicle.open()
        recovered = await self._ledger.change(recover)
        if self._request.reopen is not None:
            self.reopened = await self._ledger.change(reopen, self._request.reopen)
        self._reader = await self._open_reader()
        self._writer = await self._open_writer()
        await self._note_beginning()
        self._scheduler = await self._build_schedulers()
        self._log.info("opened", engine=__version__, unsettled=recovered, input=self.input_name)

    def _make_room(self) -> bool:
        """Give the ballast up so that what is known can be recorded, and wind down; called by the ledger's thread."""
        if not self._ballast.release():
            return False
        self._note_full_disk(DISK_FULL)
        return True

    def _note_full_disk(self, stop: Stop) -> None:
        """Have the run wind down once it works; called by other threads."""
        self._loop.call_soon_threadsafe(self._full_disks.put_nowait, stop)

    async def _connect(self) -> dict[str, Connection]:
        """Connect to every provider of the run."""
        journal, own = self.directory.simulator_journal, self._request.provider
        return {
            name: await self._stack.enter_async_context(connect(config, journal=journal, name=name, own=own))
            for name, config in configs_by_provider(self._config).items()
        }

    async def _recall(self) -> None:
        """Begin with what was learned before; the simulator's durations are nobody's experience."""
        provider = self._providers.first.description.name
        remembers = self._config.polling.remember and provider != "simulator"
        self._learning = Learning(
            self._ledger,
            profile=profile_path() if remembers else None,
            provider=provider,
            clock=self._clock,
            learned=self._providers.learned,
        )
        self._providers.recall(await self._learning.of_earlier_runs(), await self._learning.of_this_run())

    async def _open_reader(self) -> JobReader | None:
        facts = await self._ledger.facts()
        source = self._request.source
        if source is None and not spool_mark(facts).complete:
            source = recorded_input(facts.get("input_name"))
        self.input_name = source.name if source is not None else facts.get("input_name")
        if source is None:
            return None
        reader = JobReader(
            self._ledger,
            source,
            catalogue=self._providers.catalogue,
            default_model=self.default_model,
            providers=self._providers.further,
            accept_appended=self._request.accept_appended,
            dedupe=self._config.budget.dedupe,
            # A program's own provider is given params as they are.
            files=None if self._request.provider else self._providers.file_intake(source.directory),
            on_spooled=self._on_spooled,
            on_warning=self._request.warn,
        )
        await reader.begin()
        return reader

    async def _open_writer(self) -> ResultWriter:
        recorded = (await self._ledger.facts()).get("output_path")
        self.output = self._request.output or self.directory.root / (recorded or self.directory.results.name)
        writer = ResultWriter(
            self._ledger,
            path=self.output,
            shown_path=self._shown(self.output),
            stream_fd=self._request.stream_fd,
            ordered=self._request.ordered,
            rebuild=self._request.rebuild_output,
            on_written=self._on_written,
        )
        return await self._stack.enter_async_context(writer)

    def _shown(self, path: Path) -> str:
        """Return how the ledger remembers a path: relative inside the run directory, which may be moved."""
        absolute, root = path.absolute(), self.directory.root.absolute()
        return str(absolute.relative_to(root)) if absolute.is_relative_to(root) else str(absolute)

    async def _note_beginning(self) -> None:
        facts = await self._ledger.facts()
        await self._ledger.note(
            created_utc=facts.get("created_utc") or self._clock.utc(),
            opened_utc=self._clock.utc(),
            engine=__version__,
            config=orjson.dumps(self._request.config.to_mapping()).decode(),
            input_name=self.input_name,
            model=self.default_model,
            provider=self._providers.first.description.name,
            providers=self._providers.further_descriptions,
            control_over=self._controls.over,
            control_ends=None,
        )

    async def _build_schedulers(self) -> Schedulers:
        downloads = self._downloads = RunDownloads(
            self._request,
            self._config,
            self._media,
            path_prefix=self._shown(self._media),
            clock=self._clock,
            log=self._log,
        )
        fetcher = await downloads.open(self._providers, self._stack)
        facts, found = await self._ledger.facts(), await self.survey()
        await self._providers.take_up_figures(self._ledger, found, input_complete=self._reader is None)
        common = Common(
            self._request,
            self._stack,
            self._ledger,
            fetcher,
            downloads.places,
            self._media,
            self._log,
            on_decided=self._writer.wake,
            deadline=self._moment(Deadline, self._request.deadline_utc),
            target=self._moment(Target, self._request.finish_by_utc),
            resumed="last_intent_utc" in facts,
        )
        return await self._providers.schedulers(common, found)

    def _moment(self, kind: type[Moment], utc: float | None) -> Moment | None:
        """Turn a time of day into a moment of the monotonic clock, which nothing that sets the other can move."""
        if utc is None:
            return None
        return kind(self._clock.now() + utc - self._clock.utc(), local_words(utc))

    # --- work -------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Bring every job to rest, as far as that can be done; see ``exit_code`` for how it went.

        Raises:
            EngineError: the disk failed, or the input cannot be read; what was recorded stays.
        """
        if self._request.harvest_only:
            self.request_stop(HARVEST_ONLY)
        await self._ledger.note(stopped=as_fact(KILLED))  # which holds unless the books are closed
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read_input(), name="job-reader")
                writing = tasks.create_task(self._writer.run(), name="result-writer")
                watching = tasks.create_task(self._watch_stream(), name="stream-watch")
                guarding = tasks.create_task(self._watch_disks(), name="disk-watch")
                learning = tasks.create_task(self._learning.run(), name="learning")
                chronicling = tasks.create_task(self._chronicle.run(), name="chronicle")
                steering = tasks.create_task(self._controls.run(self._scheduler), name="controls")
                self._writer.wake()
                await self._scheduler.run()
                for task in (reading, writing, watching, guarding, learning, chronicling, steering):
                    task.cancel()
        except* EngineError as group:
            error = first_of(group)
            with suppress(EngineError):  # it may be the ledger itself that takes nothing more
                await self._ledger.note(stopped=as_fact(broken_by(error)))
            raise error from None
        await self._writer.write_owed()
        if self._writer.stream_broken.is_set():
            self.request_stop(STREAM_BROKEN)
        await self._close_books()

    async def _read_input(self) -> None:
        if self._reader is not None:
            try:
                await self._reader.run()
            except UsageError as error:
                # The input broke off; what was submitted of it is paid for, and is brought home first.
                self.request_stop(Stop("input", str(error), ExitCode.USAGE, Manner.HARVEST, error.hint))
                return
            self._providers.input_ended()
            self._log.info("input_complete", lines=self.tally.lines)
            self._scheduler.input_grew({})

    async def _watch_stream(self) -> None:
        """Wind down when nobody reads the stream any more; what is paid for still goes to the output file."""
        await self._writer.stream_broken.wait()
        self.request_stop(STREAM_BROKEN)

    async def _watch_disks(self) -> None:
        """Wind down when the ledger or the log finds its disk full."""
        while True:
            self.request_stop(await self._full_disks.get())

    def _on_spooled(self, spooled: Spooled) -> None:
        tally = self._providers.shared_tally
        tally.lines += spooled.lines
        tally.invalid += spooled.invalid
        if spooled.invalid or spooled.copies:
            self._writer.wake()
        self._scheduler.input_grew(spooled.pending)

    def _on_written(self, result: ResultLine) -> None:
        self._providers.shared_tally.written += 1
        self._request.on_result(result)

    # --- drain and close --------------------------------------------------------------------------

    async def survey(self) -> Survey:
        """Return what the ledger says of the whole run."""
        found: Survey = await self._ledger.read(survey)
        return found

    async def _close_books(self) -> None:
        await self._learning.save()
        await self._chronicle.close()
        stop = self.stop
        stopped = None if stop is None else Stopped(stop.kind, stop.message, stop.hint)
        await self._ledger.note(ended_utc=self._clock.utc(), stopped=as_fact(stopped))
        self.result = await self.survey()
        self.exit_code: ExitCode = exit_code_of(self.result, stop)
        wall_s = self._clock.now() - self._began_at
        self.summary: dict[str, Any] = summarise(self.result, self.tally, stop, wall_s=wall_s)
        await asyncio.to_thread(write_summary, self.directory.summary, self.summary)
        self._log.info("ended", exit_code=int(self.exit_code), wall_s=round(wall_s, 3))
