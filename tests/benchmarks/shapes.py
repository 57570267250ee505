"""How long jobs take: the five shapes that a plan is tried with, the same for everybody who tries it."""

from __future__ import annotations

import random
from dataclasses import dataclass

MEDIAN_S = 713.0
QUICK_S = 30.0
QUICK_SHARE = 0.2


@dataclass(frozen=True)
class Shape:
    """The durations of a batch.

    Attributes:
        name: what it is called in tables.
        spread: the standard deviation of the logarithm.
        quick_share: so many jobs fail after half a minute.
        drifts: whether durations double in the middle of the batch.
        workers_share: so many workers per job in flight, if the provider has a queue.
    """

    name: str
    spread: float = 0.15
    quick_share: float = 0.0
    drifts: bool = False
    workers_share: float | None = None

    def workers(self, in_flight_max: int) -> int | None:
        return None if self.workers_share is None else max(1, int(in_flight_max * self.workers_share))

    def fails(self, number: int, *, seed: int) -> bool:
        return _dice(seed, number, "fails").random() < self.quick_share

    def duration_s(self, number: int, jobs: int, *, seed: int) -> float:
        deviation = _dice(seed, number, "takes").gauss(0.0, 1.0)
        if self.fails(number, seed=seed):
            return QUICK_S * float(2.718281828 ** (0.5 * deviation))
        late = 2.0 if self.drifts and number >= jobs / 2 else 1.0
        return late * MEDIAN_S * float(2.718281828 ** (self.spread * deviation))


SHAPES = (
    Shape("sigma .15"),
    Shape("sigma .40", spread=0.40),
    Shape("bimodal", quick_share=QUICK_SHARE),
    Shape("server queue", workers_share=0.5),
    Shape("drift", drifts=True),
)


def _dice(seed: int, number: int, what: str) -> random.Random:
    return random.Random(f"{seed}:{number}:{what}")
