"""Keep a run to its times: looked at once a second, with what is known by then of how long jobs take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from engine.clock import Clock
    from engine.scheduling.backpressure import Backpressure
    from engine.scheduling.deadline import Deadline, Target
    from engine.scheduling.lane import Lane
    from engine.scheduling.polling import PollingPolicy
    from engine.scheduling.stop import Stop
    from engine.scheduling.tally import Tally

SURE_CHANCE = 0.95
"""So sure must a job be home by the deadline to be submitted."""
LAST_SHARE = 1.15
"""The last of a batch are several: the slowest of them takes longer than nineteen in twenty, and then is fetched."""


class Timekeeper:
    """Ends submissions in time for a deadline, and takes as many places as a target needs.

    Args:
        deadline: when what was submitted should be home; None if that does not matter.
        target: when the whole batch should be home; None if that does not matter.
        models: the models of what is in flight, or of what comes next.
        polling_for: the polling policy of a model.
        on_stop: called with a reason to stop.
        announce: tells the person something worth a line.
    """

    def __init__(
        self,
        deadline: Deadline | None,
        target: Target | None,
        *,
        backpressure: Backpressure,
        submits: Lane,
        models: Callable[[], Collection[str]],
        polling_for: Callable[[str], PollingPolicy],
        clock: Clock,
        tally: Tally,
        on_stop: Callable[[Stop], None],
        announce: Callable[[str], None],
    ) -> None:
        self._deadline = deadline
        self._target = target
        self._backpressure = backpressure
        self._submits = submits
        self._models = models
        self._polling_for = polling_for
        self._clock = clock
        self._tally = tally
        self._on_stop = on_stop
        self._announce = announce
        self.shortfall = ""
        """Why the batch will not be home by its target; empty if it will, or has none."""

    def look(self) -> None:
        """Decide anew."""
        if self._deadline is not None and self._tally.pending:
            self._look_at_the_deadline(self._deadline)
        if self._target is not None:
            self._look_at_the_target(self._target)

    def _look_at_the_deadline(self, deadline: Deadline) -> None:
        if deadline.is_near(self._clock.now(), job_s=self._job_s(SURE_CHANCE)):
            self._on_stop(deadline.stop())

    def _look_at_the_target(self, target: Target) -> None:
        now, waiting, allowed = self._clock.now(), self._tally.pending, self._backpressure.allowed
        job_s, last_s = self._job_s(0.5), LAST_SHARE * self._job_s(SURE_CHANCE)
        places = target.need(now, waiting=waiting, job_s=job_s, last_s=last_s).places
        self._backpressure.enough = int(places) if places < allowed else None
        said = bool(self.shortfall)
        self.shortfall = target.shortfall(
            now, waiting=waiting, job_s=job_s, last_s=last_s, places=allowed, per_minute=self._submits.per_minute
        )
        if self.shortfall and not said:
            self._announce(self.shortfall)

    def _job_s(self, chance: float) -> float:
        """Return the age by which a job of the slowest model is finished with a ``chance``; 0 if nobody knows."""
        return max((self._likely_s(self._polling_for(model), chance) for model in self._models()), default=0.0)

    @staticmethod
    def _likely_s(policy: PollingPolicy, chance: float) -> float:
        age_s = policy.age_at(chance, since_s=0.0)
        return age_s if 0 < age_s < math.inf else policy.typical_s or 0.0
