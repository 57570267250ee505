"""Who is in flight: submitted and not yet at rest.

Keeps two views of the same flights: all of them, which the cap counts, and those whose result is not recorded
yet, whose records expire at the provider. The latter are in the order of their submission, so that the oldest
is at hand; the few that were adopted late, and so are older than their place would say, are kept apart.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engine.clock import Clock
    from engine.job.flight import Flight

NEGLECTED_REQUEST_SHARE = 1 / 12
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
        # A plain dict finds its first entry only behind all that were taken out before it.
        self._unresolved: OrderedDict[int, Flight] = OrderedDict()
        self._adopted: dict[int, Flight] = {}
        self._newest_at = -math.inf
        self.peak = 0
        self.by_model: Counter[str] = Counter()
        """How many requests of each model are unresolved."""

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        unresolved = len(self._unresolved) + len(self._adopted)
        return f"<InFlight: {len(self._all)}, {unresolved} of them unresolved, peak {self.peak}>"

    @property
    def all(self) -> Iterable[Flight]:
        """Every flight that is up."""
        return self._all.values()

    def find(self, job: int) -> Flight | None:
        """Return the flight of a job, if it is up."""
        return self._all.get(job)

    @property
    def unresolved(self) -> Iterator[Flight]:
        """Flights whose result is not recorded yet."""
        return itertools.chain(self._adopted.values(), self._unresolved.values())

    @property
    def oldest_age_s(self) -> float:
        """Age of the oldest request whose result is not recorded yet, in seconds; 0 if there is none."""
        now = self._clock.now()
        oldest = itertools.chain(self._adopted.values(), itertools.islice(self._unresolved.values(), 1))
        return max(0.0, now - min((flight.submitted_at for flight in oldest), default=now))

    @property
    def unanswered(self) -> bool:
        """Whether a submission is under way whose reply has not come."""
        return any(not flight.request_id for flight in self._all.values())

    def board(self, flight: Flight) -> None:
        """Take a flight up: its submission is about to be made, or was made by an earlier process."""
        self._all[flight.job] = flight
        self.peak = max(self.peak, len(self._all))

    def accepted(self, flight: Flight) -> None:
        """Take note that the provider has it: the life of its record has begun."""
        if flight.submitted_at >= self._newest_at:
            self._newest_at = flight.submitted_at
            self._unresolved[flight.job] = flight
        else:
            self._adopted[flight.job] = flight
        self.by_model[flight.model] += 1

    def recorded(self, flight: Flight) -> None:
        """Take note that its result is in the ledger: its record may expire."""
        if self._unresolved.pop(flight.job, None) or self._adopted.pop(flight.job, None):
            self.by_model[flight.model] -= 1

    def leave(self, flight: Flight) -> None:
        """Take a flight down: it is at rest, set aside, or was never accepted."""
        self._all.pop(flight.job, None)
        self.recorded(flight)

    def falls_behind(self) -> bool:
        """Whether harvesting must come before new work.

        So it is once a request has used up half the life of its record and was not asked about for long. A
        request that is stuck at the provider is asked about in time, and holds nobody up.
        """
        now = self._clock.now()
        if any(self._is_neglected(flight, now) for flight in self._adopted.values()):
            return True
        for flight in self._unresolved.values():
            if now - flight.submitted_at <= self._record_life_s / 2:
                return False
            if self._is_neglected(flight, now):
                return True
        return False

    def _is_neglected(self, flight: Flight, now: float) -> bool:
        asked_at = max(flight.last_working_at, flight.submitted_at)
        half_gone = now - flight.submitted_at > self._record_life_s / 2
        return half_gone and now - asked_at > self._record_life_s * NEGLECTED_REQUEST_SHARE
