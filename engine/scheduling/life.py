"""The life of one job, step by step: submit, poll, fetch, download.

Each step asks the provider or the fetcher once, makes what came of it durable, and returns what it came to.
The order inside a step is the promise of the engine: the intent is on disk before the POST, the request id
before anything acts on it, the file before its state. Knows nothing of when steps are made, or of other jobs.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from engine.backoff import backoff_s
from engine.errors import ExitCode
from engine.input_files.stager import Staged
from engine.job.flight import UNNAMED
from engine.job.records import JobError, decode_json
from engine.ledger.cancel_book import cancelled
from engine.ledger.group_commit import RefusedChange
from engine.media.failures import DiskFullError, DownloadError
from engine.provider.history import HistoryRow
from engine.provider.protocol import (
    Accepted,
    Answered,
    Completed,
    Failed,
    Metrics,
    NotFound,
    NotReady,
    NotSent,
    OutOfMoney,
    Rejected,
    Request,
    Result,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    UploadRefused,
    Working,
    WrongContract,
)
from engine.scheduling import outputs
from engine.scheduling.canceller import Canceller
from engine.scheduling.steps import (
    AskAgain,
    AtRest,
    Fetched,
    Finished,
    OutOfCredit,
    SetAside,
    SlowDown,
    StillWorking,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.input_files.stager import Stager
    from engine.job.flight import Flight
    from engine.job.records import StoredFile
    from engine.ledger.ledger import Ledger
    from engine.media.downloader import DownloadTask
    from engine.provider.history import History
    from engine.provider.protocol import Provider, UploadFailure
    from engine.scheduling.steps import DownloadStep, FetchStep, PollStep, SubmitStep

THROTTLE_FIRST_S = 1.0
THROTTLE_MAX_S = 60.0
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
NOT_READY_S_MAX = 600.0
"""A result that is not served this long after its request was COMPLETED is a case for the history."""
YOUNG_404_MAX = 3
YOUNG_S = 60.0
"""A 404 on a request younger than this is the provider's own delay."""
REFRESHES_MAX = 3


class Fetcher(Protocol):
    """Turns a URL into a verified file on disk; the only work that may be done elsewhere."""

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Download, verify and publish one file.

        Raises:
            DownloadError: this file cannot be had now.
            StorageError: the disk fails.
        """
        ...


QUEUE_WORDS = frozenset({"QUEUED", "IN_QUEUE", "PENDING", "STARTING"})
"""What providers call a request that has not begun; shown to people, and nothing is decided by it."""


class Life:
    """Makes the steps of any job's life.

    Args:
        fetcher: None if nothing is to be downloaded.
        history: the provider's record of requests; None if it has none.
        stager: gives a job's local files addresses that the provider can read.
        expects_media: says whether a model's result must name files.
        attempts_max: submissions a job may spend.
        job_deadline_s: age at which a request without an end is given up as unknown.
        record_life_s: how long the provider can be asked about a request, from its submission.
        history_again_s: how long to wait before the history is asked again about a request that still runs.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: Provider,
        fetcher: Fetcher | None,
        history: History | None,
        stager: Stager,
        *,
        clock: Clock,
        rng: random.Random,
        expects_media: Callable[[str], bool],
        attempts_max: int,
        job_deadline_s: float,
        record_life_s: float,
        history_again_s: float,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._fetcher = fetcher
        self._history = history
        self._stager = stager
        self._clock = clock
        self._rng = rng
        self._expects_media = expects_media
        self._attempts_max = attempts_max
        self._job_deadline_s = job_deadline_s
        self._record_life_s = record_life_s
        self._history_again_s = history_again_s
        self.canceller = Canceller(ledger, provider, clock=clock, rng=rng)

    # --- submit -----------------------------------------------------------------------------------

    async def submit(self, flight: Flight) -> SubmitStep:
        """Submit once: local files uploaded, intent on disk, POST, outcome on disk."""
        staged = await self._stager.stage(flight)
        if not isinstance(staged, Staged):
            return await self._not_staged(flight, staged)
        attempt = flight.attempts + 1
        flight.intent_utc, flight.intended_at = self._clock.utc(), self._clock.now()
        flight.sent = staged.params if staged.remembered else b""
        await self._ledger.intend(
            flight.job, attempt, utc=flight.intent_utc, price_usd=flight.price_usd, sent=flight.sent or None
        )
        verdict = await self._provider.submit(flight.model, decode_json(staged.params))
        match verdict:
            case Accepted():
                return await self._accept(flight, attempt, verdict)
            case Answered():
                return await self._take_answer(flight, attempt, verdict)
            case NotSent(reason):
                await self._ledger.withdrawn(flight.job, attempt, spent=False)
                return Unreachable(reason)
            case Throttled(wait_s):
                await self._ledger.withdrawn(flight.job, attempt, spent=False)
                return self._slow_down(flight, wait_s)
            case OutOfMoney(message):
                await self._ledger.withdrawn(flight.job, attempt, spent=False)
                return OutOfCredit(message)
            case Unauthorized(message):
                await self._ledger.withdrawn(flight.job, attempt, spent=False)
                return StopRun(_unauthorized(message))
            case WrongContract(message):
                await self._ledger.withdrawn(flight.job, attempt, spent=False)
                return StopRun(_wrong_contract(message))
            case Rejected(error):
                return await self._fail(flight, attempt, error)
            case ServerError(message, http_status):
                return await self._submit_again(flight, attempt, message, http_status)
            case UnknownOutcome(reason, http_status):
                flight.attempts = attempt
                return await self._set_unknown(flight, reason, http_status)
            case _:
                assert_never(verdict)

    async def _accept(self, flight: Flight, attempt: int, accepted: Accepted) -> SubmitStep:
        now = self._clock.utc()
        flight.attempts = attempt
        try:
            await self._ledger.accepted(flight.job, attempt, accepted.request_id, utc=now, addresses=accepted.addresses)
        except RefusedChange as refusal:
            error = JobError(kind="request_id_taken", message=str(refusal), paid=True)
            await self._ledger.held(flight.job, error)
            flight.error = error
            return SetAside()
        flight.request_id, flight.addresses = accepted.request_id, dict(accepted.addresses) or None
        flight.submitted_utc, flight.submitted_at = now, self._clock.now()
        flight.params = flight.sent = b""
        flight.failures = 0
        return Submitted()

    async def _not_staged(self, flight: Flight, failure: UploadFailure) -> SubmitStep:
        """Nothing was submitted: wait, stop, or fail the job whose file was refused."""
        match failure:
            case UploadRefused(message):
                error = JobError(kind="input_file", message=message, retryable=True)
                return await self._fail(flight, flight.attempts, error)
            case Unavailable(reason):
                return Unreachable(f"an input file cannot be uploaded: {reason}")
            case Throttled(wait_s):
                return self._slow_down(flight, wait_s)
            case Unauthorized(message):
                return StopRun(_unauthorized(message))
            case WrongContract(message):
                return StopRun(_wrong_contract(message))
            case _:
                assert_never(failure)

    async def _take_answer(self, flight: Flight, attempt: int, answered: Answered) -> Fetched | AtRest:
        """Record a result that came as the reply to its submission; nobody but the ledger has it now."""
        result = answered.result
        flight.attempts, flight.params, flight.sent, flight.failures = attempt, b"", b"", 0
        # The provider had it since the POST, as far as anybody knows.
        flight.submitted_utc, flight.submitted_at = flight.intent_utc, flight.intended_at
        self._finish(flight, result.metrics)
        flight.request_id = answered.request_id or self._own_request_id()
        output, media = self._take_note(flight, result)
        commit = partial(self._ledger.answered, flight, metrics=result.metrics, output=output, media=media)
        try:
            await commit()
        except RefusedChange:
            # Another job has that id. The reply came over the very connection of this POST, so it is this job's.
            flight.request_id = self._own_request_id()
            await commit()
        end = Finished(flight.completed_at - flight.submitted_at)
        return await self._recorded(flight, result, Fetched(result.metrics.cost_usd, None, end))

    def _own_request_id(self) -> str:
        return f"{UNNAMED}{self._rng.getrandbits(128):032x}"

    async def _submit_again(self, flight: Flight, attempt: int, message: str, http_status: int) -> SubmitStep:
        """Spend an attempt on a failure of the server; the last one fails the job."""
        error = JobError(kind="server_error", message=message, http_status=http_status, retryable=True)
        flight.attempts = attempt
        if not flight.has_attempt_left(self._attempts_max):
            return await self._fail(flight, attempt, error)
        await self._ledger.withdrawn(flight.job, attempt, spent=True, error=error)
        return SubmitAgain(self._retry_in_s(flight))

    # --- poll -------------------------------------------------------------------------------------

    async def poll(self, flight: Flight) -> PollStep:
        """Ask once whether the request is finished; the history is asked once the record must have expired."""
        if self._age_s(flight) > self._record_life_s:
            return await self._ask_history(flight, "its record has expired")
        verdict = await self._provider.poll(_request(flight))
        flight.polls += 1
        match verdict:
            case Working(status):
                flight.failures = 0
                flight.last_working_at = self._clock.now()
                working = StillWorking(queued=status.upper() in QUEUE_WORDS, word=status)
                return await self._unless_overdue(flight, working)
            case Completed(metrics):
                flight.failures = 0
                return self._finish(flight, metrics)
            case Result():
                flight.failures = 0
                end = self._finish(flight, verdict.metrics)
                return await self._record(flight, verdict, lag_s=self._lag_s(flight, verdict.metrics), end=end)
            case Failed(message, http_status):
                return await self._fail(flight, flight.attempts, _end_of(flight, message, http_status))
            case NotFound(message):
                return await self._not_found(flight, message)
            case Unavailable(reason, reached):
                if not reached:
                    return Unreachable(reason)
                return await self._unless_overdue(flight, AskAgain(self._retry_in_s(flight)))
            case Throttled(wait_s):
                return self._slow_down(flight, wait_s)
            case Unauthorized(message):
                return StopRun(_unauthorized(message))
            case WrongContract(message):
                return StopRun(_wrong_contract(message, Manner.DOWNLOADS))
            case _:
                assert_never(verdict)

    def _finish(self, flight: Flight, metrics: Metrics) -> Finished:
        flight.completed_utc, flight.completed_at = self._clock.utc(), self._clock.now()
        return Finished(None if metrics.inference_s is None else metrics.inference_s + (metrics.queue_s or 0.0))

    async def _not_found(self, flight: Flight, message: str) -> PollStep:
        """Wait for a record that may only be late; otherwise the history knows what became of the request."""
        young = self._age_s(flight) < YOUNG_S and not flight.cancel_sent
        if young and flight.failures < YOUNG_404_MAX:
            return AskAgain(self._retry_in_s(flight))
        return await self._ask_history(flight, message)

    async def _ask_history(self, flight: Flight, message: str) -> PollStep:
        """Rescue a request whose record is gone: only the history's own word makes an end of it."""
        row = None if self._history is None else await self._history.row(flight.request_id)
        if isinstance(row, HistoryRow):
            match row.state:
                case "completed" if row.urls or not self._expects_media(flight.model):
                    return await self._rescue(flight, row)
                case "failed":
                    return await self._fail(flight, flight.attempts, _generation_failed(row.error, None))
                case "completed" | "running":  # a row lags; completed without a URL, it is not whole yet
                    flight.last_working_at = self._clock.now()
                    return await self._unless_overdue(flight, AskAgain(self._history_again_s))
        if isinstance(row, Unavailable) or (self._history and self._age_s(flight) <= self._record_life_s):
            return await self._unless_overdue(flight, AskAgain(self._history_again_s))
        if flight.cancel_sent:
            error = cancelled("cancelled: the provider was asked to, and no longer knows the request", paid=True)
            return await self._fail(flight, flight.attempts, error)
        return await self._set_unknown(flight, f"the provider no longer knows the request ({message})", 404)

    async def _rescue(self, flight: Flight, row: HistoryRow) -> Fetched | AtRest:
        """Take the result from the history: its record is gone, its files live longer."""
        flight.completed_utc, flight.completed_at = self._clock.utc(), self._clock.now()
        metrics = Metrics(cost_usd=row.cost_usd, inference_s=row.inference_s)
        return await self._record(flight, Result(row.raw, row.urls, None, None, metrics), lag_s=None)

    async def _unless_overdue(self, flight: Flight, step: PollStep) -> PollStep:
        """Give a request up as unknown once it is older than any job may take; never submit it again by itself."""
        if self._age_s(flight) < self._job_deadline_s:
            return step
        return await self._set_unknown(flight, f"no end after {self._job_deadline_s:.0f} s")

    # --- fetch ------------------------------------------------------------------------------------

    async def fetch(self, flight: Flight) -> FetchStep:
        """Read the result of a completed request and record it."""
        verdict = await self._provider.fetch(_request(flight))
        match verdict:
            case Result():
                return await self._record(flight, verdict, lag_s=self._lag_s(flight, verdict.metrics))
            case Failed(message, http_status):
                return await self._fail(flight, flight.attempts, _end_of(flight, message, http_status))
            case NotReady(reason) | NotFound(reason) | Unavailable(reason, True):
                flight.refused_at = flight.refused_at or self._clock.now()
                if self._clock.now() - flight.refused_at < NOT_READY_S_MAX:
                    return AskAgain(self._retry_in_s(flight))
                return await self._set_unknown(flight, f"completed, but its result is not served: {reason}")
            case Unavailable(reason):
                return Unreachable(reason)
            case Throttled(wait_s):
                return self._slow_down(flight, wait_s)
            case Unauthorized(message):
                return StopRun(_unauthorized(message))
            case WrongContract(message):
                return StopRun(_wrong_contract(message, Manner.DOWNLOADS))
            case _:
                assert_never(verdict)

    async def _record(
        self, flight: Flight, result: Result, *, lag_s: float | None, end: Finished | None = None
    ) -> Fetched | AtRest:
        flight.failures = 0
        output, media = self._take_note(flight, result)
        await self._ledger.ready(flight, metrics=result.metrics, output=output, media=media, lag_s=lag_s)
        return await self._recorded(flight, result, Fetched(result.metrics.cost_usd, lag_s, end))

    def _take_note(self, flight: Flight, result: Result) -> tuple[Any, dict[str, Any]]:
        """Take note of a result; return its body and its media as they are recorded."""
        output, media = outputs.recorded(result)
        flight.cost_usd = result.metrics.cost_usd
        flight.media = None if outputs.came_inside(media) else media
        return output, media

    async def _recorded(self, flight: Flight, result: Result, step: Fetched) -> Fetched | AtRest:
        if not result.urls and self._expects_media(flight.model):
            error = JobError(kind="no_media", message="the result names no file; its body is kept as output", paid=True)
            return await self._fail(flight, flight.attempts, error)
        return step

    def _lag_s(self, flight: Flight, metrics: Metrics) -> float:
        """Return how long after its completion we learned of it: by the provider's figures, else half the last gap."""
        if metrics.inference_s is not None and metrics.queue_s is not None:
            lag_s = flight.completed_at - flight.submitted_at - metrics.inference_s - metrics.queue_s
        else:
            lag_s = (flight.completed_at - max(flight.last_working_at, flight.submitted_at)) / 2
        return round(max(0.0, lag_s), 3)

    # --- download ---------------------------------------------------------------------------------

    async def download(self, flight: Flight) -> DownloadStep:
        """Bring every file of a recorded result to disk."""
        media = flight.media or await self._ledger.media_of(flight.job, flight.attempts)
        files: list[StoredFile] = []
        if self._fetcher is not None:
            try:
                files = [await self._fetcher.fetch(task) for task in outputs.download_tasks(flight, media)]
            except DownloadError as error:
                return await self._not_downloaded(flight, media, error)
            except DiskFullError as error:
                return StopRun(Stop("disk_full", str(error), ExitCode.STORAGE, Manner.HARVEST, error.hint))
        spent = outputs.spent(media) if files else None
        now = self._clock.utc()
        copies = await self._ledger.stored(flight.job, flight.attempts, files, utc=now, media=spent)
        return AtRest(succeeded=True, stored_bytes=sum(file.bytes for file in files), copies=copies)

    async def _not_downloaded(self, flight: Flight, media: dict[str, Any], error: DownloadError) -> DownloadStep:
        match error.kind:
            case "unreachable":
                return AskAgain(self._retry_in_s(flight))
            case "unauthorized":
                return StopRun(_unauthorized(error.message))
            case "url_gone" if flight.failures < REFRESHES_MAX:
                return await self._refresh(flight, media)
            case "bad_media" if outputs.came_inside(media) and flight.failures < REFRESHES_MAX:
                # What came inside a reply cannot be asked for again; somebody may know where the file itself is.
                return await self._refresh(flight, media)
            case "url_gone":
                kind = "expired"
            case _:
                kind = error.kind
        message = f"{error.message}; it began with {error.first_bytes}" if error.first_bytes else error.message
        failure = JobError(kind=kind, message=message, http_status=error.http_status, paid=True)
        return await self._fail(flight, flight.attempts, failure)

    async def _refresh(self, flight: Flight, media: dict[str, Any]) -> DownloadStep:
        """Ask the provider where the files are now; a URL may expire before its record does."""
        delay_s = self._retry_in_s(flight)
        verdict = await self._provider.fetch(_request(flight))
        if isinstance(verdict, Result) and verdict.urls:
            await self._relocated(flight, media, verdict.urls)
        elif self._history is not None:
            row = await self._history.row(flight.request_id)
            if isinstance(row, HistoryRow) and row.urls:
                await self._relocated(flight, media, row.urls)
        return AskAgain(delay_s)

    async def _relocated(self, flight: Flight, media: dict[str, Any], urls: tuple[str, ...]) -> None:
        flight.media = outputs.moved(media, urls)
        await self._ledger.relocated(flight.job, flight.attempts, flight.media)

    def _age_s(self, flight: Flight) -> float:
        return self._clock.now() - flight.submitted_at

    # --- what several steps do --------------------------------------------------------------------

    async def hold(self, flight: Flight, reason: str) -> SetAside:
        """Set a job aside because a step of it broke in a way nobody foresaw."""
        flight.error = JobError(kind="internal", message=reason, retryable=True, paid=bool(flight.request_id))
        with contextlib.suppress(RefusedChange):  # its outcome was decided before the step broke
            await self._ledger.held(flight.job, flight.error)
        return SetAside()

    async def _fail(self, flight: Flight, attempt: int, error: JobError) -> AtRest:
        flight.attempts = attempt
        flight.error = error
        return AtRest(succeeded=False, copies=await self._ledger.failed(flight.job, attempt, error))

    async def _set_unknown(self, flight: Flight, reason: str, http_status: int | None = None) -> SetAside:
        flight.error = JobError(kind="unknown_outcome", message=reason, http_status=http_status, paid=True)
        await self._ledger.unknown(flight.job, flight.attempts, flight.error)
        return SetAside()

    def _slow_down(self, flight: Flight, wait_s: float | None) -> SlowDown:
        flight.failures += 1
        if wait_s is not None:
            return SlowDown(wait_s)
        drawn_s = backoff_s(flight.failures, first_s=2 * THROTTLE_FIRST_S, max_s=THROTTLE_MAX_S, rng=self._rng)
        return SlowDown(max(THROTTLE_FIRST_S, drawn_s))

    def _retry_in_s(self, flight: Flight) -> float:
        flight.failures += 1
        return backoff_s(flight.failures, first_s=RETRY_FIRST_S, max_s=RETRY_MAX_S, rng=self._rng)


def _request(flight: Flight) -> Request:
    return Request(flight.request_id, flight.model, flight.addresses or {})


def _end_of(flight: Flight, message: str, http_status: int | None) -> JobError:
    """Return why a request failed by the provider's word: as it was asked to, if it was."""
    if flight.cancel_sent:
        return cancelled(f"cancelled at the provider, which says: {message}", paid=flight.cancel_paid)
    return _generation_failed(message, http_status)


def _generation_failed(message: str, http_status: int | None) -> JobError:
    return JobError(kind="generation_failed", message=message, http_status=http_status, retryable=True)


def _unauthorized(message: str) -> Stop:
    return Stop(
        "unauthorized",
        f"the provider refuses the key: {message}",
        ExitCode.ACCOUNT,
        Manner.DOWNLOADS,
        "set a valid key in the environment, then run the same command again; nothing was marked as failed",
    )


def _wrong_contract(message: str, manner: Manner = Manner.HARVEST) -> Stop:
    return Stop(
        "contract",
        message,
        ExitCode.USAGE,
        manner,
        "check provider.base_url and the model's name; a run keeps the models that its lines were read with, so a "
        "mended name needs another run (--run-dir)",
    )
