"""One run from beginning to end: open, recover, work, drain, close.

Here the parts meet: the run directory and its lock, the ledger, the reader, the scheduler, the writer, the
provider and the downloads. Each is given its section of the configuration; none knows another that it does
not call. Knows nothing of terminals and signals: whoever watches reads ``tally`` and ``waits_for``, whoever
stops calls ``request_stop``.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import orjson

from engine import __version__
from engine.clock import Clock, SystemClock
from engine.connection import connect
from engine.errors import EngineError, ExitCode, first_of
from engine.ledger.durable import make_directory, replacement
from engine.ledger.input_source import recorded_input
from engine.ledger.job_reader import JobReader, spool_mark
from engine.ledger.ledger import Ledger
from engine.ledger.reopening import Reopened
from engine.ledger.result_writer import ResultWriter
from engine.ledger.run_dir import RunDir, RunLock
from engine.ledger.survey import survey
from engine.media.downloader import Downloader
from engine.media.part import free_bytes, sweep_parts
from engine.provider.history import HttpHistory
from engine.provider.http import HttpProvider
from engine.run_log import RunLog
from engine.scheduling.halt import Canary, HaltRules
from engine.scheduling.landing import Rules
from engine.scheduling.lane import PACE_MARGIN, Lane
from engine.scheduling.life import Life
from engine.scheduling.polling import FixedPolling, LearnedPolling
from engine.scheduling.scheduler import Lanes, Scheduler
from engine.scheduling.spend import Spend
from engine.scheduling.stop import Manner, Stop
from engine.scheduling.tally import Tally
from engine.summary import exit_code_of, summarise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from engine.config import RunConfig
    from engine.job.records import ResultLine
    from engine.ledger.input_source import InputSource
    from engine.ledger.intake import Spooled
    from engine.ledger.reopening import Selection
    from engine.ledger.survey import Survey
    from engine.scheduling.polling import PollingPolicy

SUBMIT_CONCURRENCY = 64
READ_CONCURRENCY = 64
EXPECTED_DURATION_S = 60.0
SPREAD_WITHOUT_KNOWLEDGE = 1.0
STREAM_BROKEN = Stop(
    "broken_pipe",
    "nobody reads the result lines on stdout any more",
    ExitCode.STOPPED,
    Manner.HARVEST,
    "the lines are in the run directory's results.jsonl; go on with 'engine resume'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is asked to do.

    Attributes:
        root: the run directory.
        config: the whole configuration.
        source: where job lines come from; None to go on with what the ledger has, and with its file if that is there.
        output: the output file, if not ``results.jsonl`` in the run directory.
        stream_fd: a file descriptor that gets every result line too.
        ordered: whether result lines keep the order of the input.
        accept_appended: whether lines may have been appended to an input that was read to its end.
        reopen: failed jobs to try again; None for none.
        rebuild_output: whether to write the output anew from the ledger first.
        jobs_max: how many jobs this process may submit; None for no limit.
        wait_for_credit: whether an empty account is waited for even when nothing is in flight.
        log_level: the least level that goes to ``run.log``.
        announce: tells the person something worth a line.
    """

    root: Path
    config: RunConfig
    source: InputSource | None = None
    output: Path | None = None
    stream_fd: int | None = None
    ordered: bool = False
    accept_appended: bool = False
    reopen: Selection | None = None
    rebuild_output: bool = False
    jobs_max: int | None = None
    wait_for_credit: bool = False
    log_level: str = "info"
    announce: Callable[[str], None] = lambda _text: None


class Run:
    """A run opened for work by this process; an async context manager.

    Opening takes the lock, recovers what an earlier process left, and checks that the input is the one the
    run has begun with; it submits nothing. ``work`` does the rest.
    """

    def __init__(self, request: RunRequest, *, clock: Clock | None = None, rng: random.Random | None = None) -> None:
        self.directory = RunDir(request.root)
        self.tally = Tally()
        self._request = request
        self._config = request.config
        self._media = request.config.storage.root or self.directory.media
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 (spreads retries; guards nothing)
        self._stack = AsyncExitStack()
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
    def stop(self) -> Stop | None:
        """Why the run winds down, if it does."""
        return self._scheduler.stop

    @property
    def waits_for(self) -> str:
        """One sentence on what the run waits for; empty while everything moves."""
        return self._scheduler.waits_for

    @property
    def warnings(self) -> dict[str, tuple[int, int]]:
        """What was odd about valid lines: sentence → (number of lines, first line)."""
        reader = self._reader
        return {} if reader is None else {text: (n, reader.first_lines[text]) for text, n in reader.warnings.items()}

    @property
    def harvest_s(self) -> float | None:
        """How long what is in flight may still take, in seconds; None if nobody knows."""
        return self._scheduler.harvest_s

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down."""
        self._scheduler.request_stop(stop)

    # --- open -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self.directory.create()
        self._stack.enter_context(RunLock(self.directory, self._clock))
        self._connection = await self._stack.enter_async_context(
            connect(self._config, journal=self.directory.simulator_journal)
        )
        self._log = self._stack.enter_context(
            RunLog(self.directory.log, self._clock, level=self._request.log_level, secrets=(self._connection.api_key,))
        ).logger
        self._ledger = Ledger.open(self.directory.ledger)
        self._stack.callback(self._ledger.close)
        recovered = await self._ledger.recover()
        if self._request.reopen is not None:
            self.reopened = await self._ledger.reopen(self._request.reopen)
        self._reader = await self._open_reader()
        self._writer = await self._open_writer()
        await self._note_beginning()
        self._scheduler = await self._build_scheduler()
        self._log.info("opened", engine=__version__, unsettled=recovered, input=self.input_name)

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
            catalogue=self._connection.description.models,
            default_model=self._connection.default_model,
            accept_appended=self._request.accept_appended,
            dedupe=self._config.budget.dedupe,
            on_spooled=self._on_spooled,
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
        model = self._connection.default_model
        await self._ledger.note(
            created_utc=facts.get("created_utc") or self._clock.utc(),
            engine=__version__,
            config=orjson.dumps(self._config.to_mapping()).decode(),
            input_name=self.input_name,
            model=model,
        )

    async def _build_scheduler(self) -> Scheduler:
        config = self._config
        provider = await self._open_provider()
        history_url = self._connection.history_url
        history = HttpHistory(provider.get, history_url=history_url) if history_url else None
        record_life_s = self._connection.description.record_life_s
        life = Life(
            self._ledger,
            provider,
            await self._open_downloader() if config.downloads.enabled else None,
            history,
            clock=self._clock,
            rng=self._rng,
            expects_media=self._expects_media,
            attempts_max=config.retry.attempts_max,
            job_deadline_s=config.recovery.job_deadline_s,
            record_life_s=record_life_s,
            history_again_s=max(1.0, config.recovery.grace_s / 15),
        )
        found = await self.survey()
        self._fill_tally(found, await self._ledger.waiting())
        return Scheduler(
            self._ledger,
            life,
            config=config,
            lanes=await self._build_lanes(),
            rules=self._build_rules(found),
            history=history,
            ask_credits=provider.credits_usd,
            polling_for=self._polling_for,
            clock=self._clock,
            tally=self.tally,
            log=self._log,
            record_life_s=record_life_s,
            low_disk=self._low_disk,
            wait_for_credit=self._request.wait_for_credit,
            on_decided=self._writer.wake,
            announce=self._request.announce,
        )

    def _build_rules(self, found: Survey) -> Rules:
        config = self._config
        return Rules(
            Spend(
                cost_usd_max=config.budget.cost_usd_max,
                jobs_max=self._request.jobs_max,
                listed_price_usd=self._listed_price_usd,
                spent_usd=found.spent_usd,
            ),
            Canary(jobs=config.canary.jobs, decided=found.succeeded + found.failed),
            HaltRules(config.halt.failed_share, config.halt.after_jobs, config.halt.same_failures),
        )

    def _listed_price_usd(self, model: str) -> float | None:
        if self._config.budget.price_usd is not None:
            return self._config.budget.price_usd
        known = self._connection.description.models.get(model or self._connection.default_model or "")
        return known.price_usd if known else None

    async def _build_lanes(self) -> Lanes:
        limits = self._config.limits
        submits = Lane(
            "submit",
            per_minute=limits.submits_per_minute,
            concurrency=SUBMIT_CONCURRENCY,
            adaptive=limits.adaptive is not False,
            discover=limits.adaptive == "discover",
            clock=self._clock,
            rng=self._rng,
        )
        last_intent_utc = (await self._ledger.facts()).get("last_intent_utc")
        if last_intent_utc is not None:
            # The pace holds across restarts: the last submission of the process before us counts.
            since_s = self._clock.utc() - last_intent_utc
            spacing_s = 60 / (limits.submits_per_minute * PACE_MARGIN)
            submits.hold_until(self._clock.now() + min(max(spacing_s - since_s, 0.0), spacing_s))
        if limits.shared:
            return Lanes(submits, submits)
        reads = Lane(
            "read",
            per_minute=limits.polls_per_minute,
            concurrency=READ_CONCURRENCY,
            adaptive=limits.adaptive is not False,
            discover=limits.adaptive == "discover",
            clock=self._clock,
            rng=self._rng,
        )
        return Lanes(submits, reads)

    async def _open_provider(self) -> HttpProvider:
        settings = self._config.provider
        return await self._stack.enter_async_context(
            HttpProvider(
                base_url=self._connection.base_url,
                api_key=self._connection.api_key,
                clock=self._clock,
                connect_timeout_s=settings.connect_timeout_s,
                submit_timeout_s=settings.submit_timeout_s,
                request_timeout_s=settings.request_timeout_s,
                reply_bytes_max=settings.reply_bytes_max,
            )
        )

    async def _open_downloader(self) -> Downloader:
        await asyncio.to_thread(make_directory, self._media)
        await asyncio.to_thread(sweep_parts, self._media)
        return await self._stack.enter_async_context(
            Downloader(
                media_dir=self._media,
                path_prefix=self._shown(self._media),
                allow_private_hosts=self._connection.allow_private_hosts,
                bytes_max=self._config.downloads.bytes_max,
                reserve_bytes=self._config.storage.reserve_bytes,
                clock=self._clock,
                rng=self._rng,
            )
        )

    def _low_disk(self) -> str:
        """Say that there is no room for further results; empty while there is."""
        reserve_bytes = self._config.storage.reserve_bytes
        if not self._config.downloads.enabled or free_bytes(self._media) >= reserve_bytes:
            return ""
        return f"less than {reserve_bytes / 1e9:,.1f} GB are free in {self._media}: paid results must find room"

    def _expects_media(self, model: str) -> bool:
        known = self._connection.description.models.get(model)
        return known is None or known.output != "text"

    @cached_property
    def _policies(self) -> dict[str, PollingPolicy]:
        return {}

    def _polling_for(self, model: str) -> PollingPolicy:
        """Return the polling policy of a model; durations are learned for each model apart."""
        if model not in self._policies:
            self._policies[model] = self._new_policy(model)
        return self._policies[model]

    def _new_policy(self, model: str) -> PollingPolicy:
        if self._config.polling.policy == "fixed":
            return FixedPolling(self._config.polling.interval_s)
        known = self._connection.description.models.get(model)
        expected_s = self._connection.expected_duration_s or (known.expected_duration_s if known else None)
        if expected_s is None:
            return LearnedPolling(expected_s=EXPECTED_DURATION_S, spread=SPREAD_WITHOUT_KNOWLEDGE)
        return LearnedPolling(expected_s=expected_s)

    def _fill_tally(self, found: Survey, waiting: int) -> None:
        """Begin the figures with what earlier processes did."""
        tally = self.tally
        tally.lines, tally.pending = found.lines, waiting
        tally.succeeded, tally.failed, tally.invalid = found.succeeded, found.failed, found.invalid
        tally.unknown, tally.held, tally.written = found.unknown, found.held, found.written
        tally.spent_usd = found.spent_usd
        tally.input_complete = self._reader is None

    # --- work -------------------------------------------------------------------------------------

    async def work(self) -> None:
        """Bring every job to rest, as far as that can be done; see ``exit_code`` for how it went.

        Raises:
            EngineError: the disk failed, or the input cannot be read; what was recorded stays.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read_input(), name="job-reader")
                writing = tasks.create_task(self._writer.run(), name="result-writer")
                watching = tasks.create_task(self._watch_stream(), name="stream-watch")
                self._writer.wake()
                await self._scheduler.run()
                for task in (reading, writing, watching):
                    task.cancel()
        except* EngineError as group:
            raise first_of(group) from None
        await self._writer.write_owed()
        await self._close_books()

    async def _read_input(self) -> None:
        if self._reader is not None:
            await self._reader.run()
            self.tally.input_complete = True
            self._log.info("input_complete", lines=self.tally.lines)
            self._scheduler.input_grew(0)

    async def _watch_stream(self) -> None:
        """Wind down when nobody reads the stream any more; what is paid for still goes to the output file."""
        await self._writer.stream_broken.wait()
        self.request_stop(STREAM_BROKEN)

    def _on_spooled(self, spooled: Spooled) -> None:
        self.tally.lines += sum(spooled)
        self.tally.invalid += spooled.invalid
        if spooled.invalid or spooled.copies:
            self._writer.wake()
        self._scheduler.input_grew(spooled.pending)

    def _on_written(self, _result: ResultLine) -> None:
        self.tally.written += 1

    # --- drain and close --------------------------------------------------------------------------

    async def survey(self) -> Survey:
        """Return what the ledger says of the whole run."""
        found: Survey = await self._ledger.read(survey)
        return found

    async def _close_books(self) -> None:
        await self._ledger.note(ended_utc=self._clock.utc())
        self.result = await self.survey()
        self.exit_code: ExitCode = exit_code_of(self.result, self.stop)
        wall_s = self._clock.now() - self._began_at
        self.summary: dict[str, Any] = summarise(self.result, self.tally, self.stop, wall_s=wall_s)
        await asyncio.to_thread(_write_json, self.directory.summary, self.summary)
        self._log.info("ended", exit_code=int(self.exit_code), wall_s=round(wall_s, 3))


def _write_json(path: Path, record: dict[str, Any]) -> None:
    with replacement(path) as file:
        file.write(orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
