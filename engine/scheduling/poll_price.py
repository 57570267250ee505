"""What a poll costs: so much that the polls of the whole run just use what the budget has left for them.

A poll's price is a time: the lag that it must save to be worth its request. Dearer polls are fewer and find each
job later, which holds its place in flight for longer; so the right price lies where the jobs that the places
let through and the requests that the budget has for them meet. It moves a little at every look, and follows
the pace, the cap and what is learned of the durations. With jobs of several models there is one price for all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.scheduling.polling import PRICE_SHARE_MAX, PRICE_SHARE_MIN, LearnedPolling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.scheduling.lane import Lane
    from engine.scheduling.polling import PollingPolicy

USED_SHARE = 0.95
"""Share of the budget that is planned for; a lane that is full to the brim lets everybody wait."""
STEP_MAX = 2.0
FIRST_SHARE = 0.01


class PollPrice:
    """The price of a poll, in seconds of lag.

    Args:
        submits, reads: the lanes; one and the same if the plan counts all requests alike.
        polling_for: the polling policy of a model.
        under_way: how many requests of each model the provider has now.
        places: how many jobs may be in flight.
        waiting: how many jobs are still to be submitted.
    """

    def __init__(
        self,
        *,
        submits: Lane,
        reads: Lane,
        polling_for: Callable[[str], PollingPolicy],
        under_way: Callable[[], Mapping[str, int]],
        places: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        self._submits = submits
        self._reads = reads
        self._polling_for = polling_for
        self._under_way = under_way
        self._places = places
        self._waiting = waiting
        self.price_s = 0.0

    def __repr__(self) -> str:
        return f"<PollPrice: {self.price_s:.1f} s>"

    def look(self) -> None:
        """Move the price towards where what polls need is what is left for them, and charge it."""
        counts = {model: count for model, count in self._under_way().items() if count > 0}
        policies = [
            (policy, count)
            for model, count in counts.items()
            if isinstance(policy := self._polling_for(model), LearnedPolling)
        ]
        if not policies:
            return
        in_flight = sum(count for _, count in policies)
        mean_s = sum(policy.mean_s * count for policy, count in policies) / in_flight
        self.price_s = self.price_s or FIRST_SHARE * mean_s
        polls = sum(policy.schedule.polls * count for policy, count in policies) / in_flight
        lag_s = sum(policy.schedule.lag_s * count for policy, count in policies) / in_flight
        needed, left = self._needed_and_left(in_flight, polls, mean_s + lag_s)
        # Polls fall with the square root of their price.
        step = (needed / left) ** 2 if left > 0 else math.inf
        self.price_s *= min(max(step, 1 / STEP_MAX), STEP_MAX)
        self.price_s = min(max(self.price_s, PRICE_SHARE_MIN * mean_s), PRICE_SHARE_MAX * mean_s)
        for policy, _ in policies:
            policy.charge(self.price_s)

    def _needed_and_left(self, in_flight: int, polls: float, holds_s: float) -> tuple[float, float]:
        """Return the requests a minute that polls take, and those that fetches and submissions leave them."""
        waiting = self._waiting()
        jobs_per_minute = min(self._places(), in_flight + waiting) * 60 / holds_s
        if waiting:
            jobs_per_minute = min(jobs_per_minute, self._submits.per_minute)
        others = 2 if waiting and self._submits is self._reads else 1
        return jobs_per_minute * polls, USED_SHARE * self._reads.per_minute - jobs_per_minute * others
