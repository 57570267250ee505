"""Submit a job: the one step that costs money. The intent is on disk before the POST, the outcome before all else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, assert_never

from engine.input_files.stager import Staged
from engine.job.flight import UNNAMED
from engine.job.records import JobError, decode_json
from engine.ledger.counts import takes_others_only
from engine.ledger.group_commit import RefusedChange
from engine.provider.verdict import (
    Accepted,
    Answered,
    NotSent,
    OutOfMoney,
    Rejected,
    ServerError,
    Throttled,
    Unauthorized,
    Unavailable,
    UnknownOutcome,
    UploadRefused,
    WrongContract,
)
from engine.scheduling.recording import Recorder
from engine.scheduling.step_maker import unauthorized, wrong_contract
from engine.scheduling.steps import (
    AtRest,
    Fetched,
    Finished,
    OutOfCredit,
    SetAside,
    StopRun,
    SubmitAgain,
    Submitted,
    Unreachable,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from engine.clock import Clock
    from engine.input_files.stager import Stager
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.provider.protocol import Provider
    from engine.provider.verdict import UploadFailure
    from engine.scheduling.steps import SubmitStep


NO_SUCH_MODEL = frozenset({404, 410})


class Submission(Recorder):
    """Submits jobs.

    Args:
        stager: gives a job's local files addresses that the provider can read.
        attempts_max: submissions a job may spend.
    """

    def __init__(
        self,
        ledger: Ledger,
        provider: Provider,
        stager: Stager,
        *,
        clock: Clock,
        rng: random.Random,
        expects_media: Callable[[str], bool],
        attempts_max: int,
    ) -> None:
        super().__init__(ledger, clock=clock, rng=rng, expects_media=expects_media)
        self._provider = provider
        self._stager = stager
        self._attempts_max = attempts_max
        self._not_offered: set[str] = set()

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
                return StopRun(unauthorized(message))
            case WrongContract():
                return await self._misaddressed(flight, attempt, verdict)
            case Rejected(error):
                return await self._fail(flight, attempt, error)
            case ServerError(message, http_status):
                return await self._submit_again(flight, attempt, message, http_status)
            case UnknownOutcome(reason, http_status):
                flight.attempts = attempt
                return await self._set_unknown(flight, reason, http_status)
            case _:
                assert_never(verdict)

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
                return StopRun(unauthorized(message))
            case WrongContract(message):
                return StopRun(wrong_contract(message))
            case _:
                assert_never(failure)

    async def _misaddressed(self, flight: Flight, attempt: int, verdict: WrongContract) -> SubmitStep:
        """Fail a job whose model alone is not offered; stop where nothing says that the others would fare better."""
        if verdict.http_status in NO_SUCH_MODEL and await self._takes_others(flight.model):
            error = JobError(kind="rejected", message=verdict.message, http_status=verdict.http_status)
            return await self._fail(flight, attempt, error)
        await self._ledger.withdrawn(flight.job, attempt, spent=False)
        return StopRun(wrong_contract(verdict.message))

    async def _takes_others(self, model: str) -> bool:
        """Whether the provider has taken jobs in this run, and never one of this model."""
        if model not in self._not_offered and await self._ledger.read(takes_others_only, model):
            self._not_offered.add(model)  # asked once a model: the ledger may have a million jobs to look at
        return model in self._not_offered

    async def _accept(self, flight: Flight, attempt: int, accepted: Accepted) -> SubmitStep:
        self._not_offered.discard(flight.model)
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

    async def _take_answer(self, flight: Flight, attempt: int, answered: Answered) -> Fetched | AtRest:
        """Record a result that came as the reply to its submission; nobody but the ledger has it now."""
        self._not_offered.discard(flight.model)
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
