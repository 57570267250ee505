"""Notices that the provider is away, and lets one probe at a time find out whether it is back.

Each failure in a row makes the wait longer; requests that were under way together fail together and count once.
Knows nothing of who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.backoff import backoff_s

if TYPE_CHECKING:
    import random

OUTAGE_FIRST_S = 1.0
OUTAGE_MAX_S = 60.0


class Breaker:
    """Whether the provider is believed to be away."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._reason = ""

    def __repr__(self) -> str:
        return f"<Breaker: {self.reason or 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether nothing was answered since the last failure: only one request may be under way."""
        return self._failures > 0

    @property
    def reason(self) -> str:
        """Why the provider is out of reach, for people; empty while it answers."""
        return f"the provider is out of reach ({self._reason})" if self._failures else ""

    def failed(self, reason: str) -> float:
        """Take note of a request that never arrived or was never answered; returns the seconds to wait."""
        self._reason = reason
        self._failures += 1
        return backoff_s(self._failures, first_s=OUTAGE_FIRST_S, max_s=OUTAGE_MAX_S, rng=self._rng)

    def answered(self) -> None:
        """Take note of an answer: the provider is there."""
        self._failures = 0
