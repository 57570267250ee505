"""How a flight ends: at rest with an outcome, or set aside; and what that means for the batch.

Counts it, releases or keeps its money, shows it to the canary and the halt rules, and says that a line is owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.ledger.cancel_book import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from engine.job.flight import Flight
    from engine.scheduling.halt import Canary, HaltRules
    from engine.scheduling.in_flight import InFlight
    from engine.scheduling.spend import Spend
    from engine.scheduling.steps import AtRest
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides whether the batch goes on."""

    spend: Spend
    canary: Canary
    halt: HaltRules


class Landing:
    """Takes flights down.

    Args:
        on_unknown: called with a flight whose submission has an unknown outcome.
        on_down: called after every landing: there may be room for another.
        on_decided: called whenever an outcome was decided and its line is owed.
        on_stop: called with a reason to stop the batch.
    """

    def __init__(
        self,
        in_flight: InFlight,
        rules: Rules,
        tally: Tally,
        *,
        log: FilteringBoundLogger,
        on_unknown: Callable[[Flight], None],
        on_down: Callable[[], None],
        on_decided: Callable[[], None],
        on_stop: Callable[[Stop], None],
    ) -> None:
        self._in_flight = in_flight
        self._rules = rules
        self._tally = tally
        self._log = log
        self._on_unknown = on_unknown
        self._on_down = on_down
        self._on_decided = on_decided
        self._on_stop = on_stop

    def rest(self, flight: Flight, step: AtRest) -> None:
        """Take a flight down whose outcome is decided and recorded."""
        self._in_flight.leave(flight)
        self._rules.spend.settle(flight.job, flight.model, flight.cost_usd)
        if flight.error is None:
            self._tally.succeeded += 1 + step.copies
            self._log.info("stored", id=flight.id, request_id=flight.request_id, bytes=step.stored_bytes)
        else:
            if not flight.error.paid:
                self._rules.spend.give_back(flight.job)
            self._tally.note_failure(flight.id, flight.error, copies=step.copies)
            self._log.warning("failed", id=flight.id, request_id=flight.request_id, kind=flight.error.kind)
        self._judge(flight, step)
        self._on_down()
        self._on_decided()

    def set_aside(self, flight: Flight) -> None:
        """Take a flight down that nobody can bring home now: UNKNOWN or HELD, with the reason recorded."""
        assert flight.error is not None
        self._in_flight.leave(flight)
        if flight.error.kind == "unknown_outcome":
            self._tally.unknown += 1
            self._on_unknown(flight)
        else:
            self._tally.held += 1
        self._log.warning("set_aside", id=flight.id, kind=flight.error.kind, reason=flight.error.message)
        self._on_down()

    def settle(self, flight: Flight, cost_usd: float | None) -> None:
        """Take note of what a flight was charged."""
        self._rules.spend.settle(flight.job, flight.model, cost_usd)
        self._on_down()

    def _judge(self, flight: Flight, step: AtRest) -> None:
        """Let the rules see an outcome; one of them may stop the batch. What was cancelled tells them nothing."""
        if flight.error is not None and flight.error.kind == CANCELLED:
            return
        canary = self._rules.canary
        ended = canary.decided(
            flight.error,
            cost_usd=flight.cost_usd or 0.0,
            duration_s=max(0.0, flight.completed_at - flight.submitted_at),
            media_bytes=step.stored_bytes,
        )
        stop = self._rules.halt.decided(flight.error)
        if ended:
            stop = canary.stop() or stop
            if stop is None:
                canary.release()
        if stop is not None:
            self._on_stop(stop)
