"""Who is in flight: submitted and not yet at rest.

Keeps two views of the same flights, both in the order of their submission: all of them, which the cap
counts, and those whose result is not recorded yet, whose records expire at the provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.clock import Clock
    from engine.job.flight import Flight

NEGLECT_SHARE = 1 / 12
"""Share of the record's life after which a request that nobody asked about counts as neglected."""


class InFlight:
    """The flights that are up.

    Args:
        record_life_s: how long the provider keeps a request's record, from its submission.
    """

    def __init__(self, clock: Clock, *, record_life_s: float) -> None:
        self._clock = clock
        self._record_life_s = record_life_s
        self._all: dict[int, Flight] = {}
        self._unresolved: dict[int, Flight] = {}
        self.peak = 0

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<InFlight: {len(self._all)}, {len(self._unresolved)} of them unresolved, peak {self.peak}>"

    @property
    def unresolved(self) -> Iterator[Flight]:
        """Flights whose result is not recorded yet, oldest submission first."""
        return iter(self._unresolved.values())

    @property
    def oldest_age_s(self) -> float:
        """Age of the oldest request whose result is not recorded yet, in seconds; 0 if there is none."""
        now = self._clock.utc()
        return max(0.0, now - min((flight.submitted_utc for flight in self._unresolved.values()), default=now))

    def board(self, flight: Flight) -> None:
        """Take a flight up: its submission is about to be made, or was made by an earlier process."""
        self._all[flight.job] = flight
        self.peak = max(self.peak, len(self._all))

    def accepted(self, flight: Flight) -> None:
        """Take note that the provider has it: the life of its record has begun."""
        self._unresolved[flight.job] = flight

    def recorded(self, flight: Flight) -> None:
        """Take note that its result is in the ledger: its record may expire."""
        self._unresolved.pop(flight.job, None)

    def leave(self, flight: Flight) -> None:
        """Take a flight down: it is at rest, set aside, or was never accepted."""
        self._all.pop(flight.job, None)
        self._unresolved.pop(flight.job, None)

    def falls_behind(self) -> bool:
        """Whether harvesting must come before new work.

        So it is once a request has used up half the life of its record and was not asked about for long. A
        request that is stuck at the provider is asked about in time, and holds nobody up.
        """
        now = self._clock.utc()
        for flight in self._unresolved.values():
            if now - flight.submitted_utc <= self._record_life_s / 2:
                return False
            if now - max(flight.last_working_utc, flight.submitted_utc) > self._record_life_s * NEGLECT_SHARE:
                return True
        return False
