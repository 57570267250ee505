"""What every step of a job's life may come to besides its own end: failed, unknown, slower, again, or a stop.

Each is durable before it is returned. Knows nothing of which step it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from engine.backoff import backoff_s
from engine.errors import ExitCode
from engine.job.records import JobError
from engine.provider.protocol import Request
from engine.provider.verdict import Throttled, Unauthorized, Unavailable, WrongContract
from engine.scheduling.steps import AskAgain, AtRest, SetAside, SlowDown, StopRun, Unreachable
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    import random

    from engine.clock import Clock
    from engine.job.flight import Flight
    from engine.ledger.ledger import Ledger
    from engine.scheduling.steps import NoAnswer

THROTTLE_FIRST_S = 1.0
THROTTLE_MAX_S = 60.0
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0


class StepMaker:
    """What the makers of steps share."""

    def __init__(self, ledger: Ledger, *, clock: Clock, rng: random.Random) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rng = rng

    async def _fail(self, flight: Flight, attempt: int, error: JobError) -> AtRest:
        flight.attempts = attempt
        flight.error = error
        return AtRest(succeeded=False, copies=await self._ledger.failed(flight.job, attempt, error))

    async def _set_unknown(self, flight: Flight, reason: str, http_status: int | None = None) -> SetAside:
        flight.error = JobError(kind="unknown_outcome", message=reason, http_status=http_status, paid=True)
        await self._ledger.unknown(flight.job, flight.attempts, flight.error)
        return SetAside()

    def _no_answer(self, flight: Flight, verdict: Unavailable | Throttled | Unauthorized | WrongContract) -> NoAnswer:
        """Say what follows when a question about a request got no answer to it."""
        match verdict:
            case Unavailable(reason, reached):
                return AskAgain(self._retry_in_s(flight)) if reached else Unreachable(reason)
            case Throttled(wait_s):
                return self._slow_down(flight, wait_s)
            case Unauthorized(message):
                return StopRun(unauthorized(message))
            case WrongContract(message):
                return StopRun(wrong_contract(message, Manner.DOWNLOADS))
            case _:
                assert_never(verdict)

    def _slow_down(self, flight: Flight, wait_s: float | None) -> SlowDown:
        flight.failures += 1
        if wait_s is not None:
            return SlowDown(wait_s)
        drawn_s = backoff_s(flight.failures, first_s=2 * THROTTLE_FIRST_S, max_s=THROTTLE_MAX_S, rng=self._rng)
        return SlowDown(max(THROTTLE_FIRST_S, drawn_s))

    def _retry_in_s(self, flight: Flight) -> float:
        flight.failures += 1
        return backoff_s(flight.failures, first_s=RETRY_FIRST_S, max_s=RETRY_MAX_S, rng=self._rng)

    def _age_s(self, flight: Flight) -> float:
        return self._clock.now() - flight.submitted_at


def request_of(flight: Flight) -> Request:
    """Return a flight as its provider is asked about it."""
    return Request(flight.request_id, flight.model, flight.addresses or {})


def generation_failed(message: str, http_status: int | None) -> JobError:
    """Return the error of a request that the provider accepted and could not carry out."""
    return JobError(kind="generation_failed", message=message, http_status=http_status, retryable=True)


def unauthorized(message: str) -> Stop:
    """Return the reason to stop for a key that is refused."""
    return Stop(
        "unauthorized",
        f"the provider refuses the key: {message}",
        ExitCode.ACCOUNT,
        Manner.DOWNLOADS,
        "set a valid key in the environment, then run the same command again; nothing was marked as failed",
    )


def wrong_contract(message: str, manner: Manner = Manner.HARVEST) -> Stop:
    """Return the reason to stop for answers that say that we speak to the wrong place, or in the wrong way."""
    return Stop(
        "contract",
        message,
        ExitCode.USAGE,
        manner,
        "check provider.base_url and the model's name, then run the same command again; a job whose model does not "
        "exist keeps its line's model: 'engine control RUN_DIR --cancel ID' takes it out of the way",
    )
