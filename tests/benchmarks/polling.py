"""What polls cost and what they find: polls per job against the lag of finding a finished job.

    .venv/bin/python -m tests.benchmarks.polling [--seed 1] [--json FILE]

For each shape of durations: the best schedule for the true distribution, the engine's policy once it has learned
(from polls alone: the provider names no duration), and three fixed habits. A price of polls gives one point each;
``at equal p95 lag`` is the ratio of the policy's polls to those of the best schedule with the same p95 lag.
"""

from __future__ import annotations

import argparse
import math
import random
from bisect import bisect_left
from itertools import count
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from engine.scheduling.distribution import Distribution
from engine.scheduling.durations import Durations
from engine.scheduling.polling import LearnedPolling
from engine.scheduling.schedule import best_schedule
from tests.benchmarks.tables import print_table, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Draw = Callable[[random.Random], float]
    Next = Callable[[float], float]

MEDIAN_S = 713.0
EXPECTED_S = 732.0
LEARN_JOBS = 600
JOBS = 6_000
PRICES_S = (1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 35.0)
FINE_STEP = 1.12
MIXTURES = {
    "sigma .05": ((1.0, MEDIAN_S, 0.05),),
    "sigma .15": ((1.0, MEDIAN_S, 0.15),),
    "sigma .40": ((1.0, MEDIAN_S, 0.40),),
    "bimodal": ((0.2, 30.0, 0.5), (0.8, MEDIAN_S, 0.15)),
}
_NORMAL = NormalDist()


class Point(NamedTuple):
    polls: float
    mean_lag_s: float
    p95_lag_s: float


def true_distribution(parts: Sequence[tuple[float, float, float]]) -> Distribution:
    low = min(math.log(median) - 6 * spread for _, median, spread in parts)
    high = max(math.log(median) + 6 * spread for _, median, spread in parts)
    places = [low + 0.005 * step for step in range(int((high - low) / 0.005) + 1)]
    done = [
        sum(weight * _NORMAL.cdf((place - math.log(median)) / spread) for weight, median, spread in parts)
        for place in places
    ]
    return Distribution([0.0, *map(math.exp, places)], [0.0, 0.0, *(min(d, 1 - 1e-9) for d in done[1:])], 2.0)


def drawing(parts: Sequence[tuple[float, float, float]]) -> Draw:
    def draw(rng: random.Random) -> float:
        _, median, spread = rng.choices(parts, [part[0] for part in parts])[0]
        return median * rng.lognormvariate(0.0, spread)

    return draw


def measure(next_age_s: Next, draw: Draw, seed: int) -> Point:
    rng, polls, lags = random.Random(seed), 0, []
    for _ in range(JOBS):
        done_s, age_s = draw(rng), 0.0
        while age_s < done_s:
            age_s = next_age_s(age_s)
            polls += 1
        lags.append(age_s - done_s)
    lags.sort()
    return Point(polls / JOBS, sum(lags) / JOBS, lags[int(0.95 * JOBS)])


def learned(price_s: float, draw: Draw, seed: int) -> Point:
    """Measure the policy after it has seen some jobs, while it goes on learning, as it does in a run."""
    policy, rng = LearnedPolling(Durations(expected_s=EXPECTED_S, spread=0.35), count().__next__), random.Random(seed)
    policy.charge(price_s)
    polls, lags = 0, []
    for number in range(LEARN_JOBS + JOBS):
        done_s, since_s, asked = draw(rng), 0.0, 1
        while (age_s := policy.due_age_s(since_s)) < done_s:
            policy.still_running(since_s, age_s)
            since_s = age_s
            asked += 1
        policy.finished(since_s, age_s, claimed_s=None)
        if number >= LEARN_JOBS:
            polls += asked
            lags.append(age_s - done_s)
    lags.sort()
    return Point(polls / JOBS, sum(lags) / JOBS, lags[int(0.95 * JOBS)])


def back_off(age_s: float) -> float:
    """Wait 2, 4, 8, … seconds, 60 at most."""
    return age_s + min(60.0, age_s + 2.0)


HABITS: dict[str, Next] = {
    "every 2 s": lambda age_s: age_s + 2,
    "every 10 s": lambda age_s: age_s + 10,
    "back-off": back_off,
}


def polls_at(frontier: Sequence[Point], p95_lag_s: float) -> float:
    """Return the polls of the best schedule with a given p95 lag, between the two nearest on a log scale."""
    lags = [point.p95_lag_s for point in frontier]
    above = min(max(1, bisect_left(lags, p95_lag_s)), len(lags) - 1)
    low, high = frontier[above - 1], frontier[above]
    part = math.log(p95_lag_s / low.p95_lag_s) / math.log(high.p95_lag_s / low.p95_lag_s)
    return math.exp(math.log(low.polls) + part * (math.log(high.polls) - math.log(low.polls)))


def rows_of(shape: str, seed: int) -> list[dict[str, object]]:
    draw, true = drawing(MIXTURES[shape]), true_distribution(MIXTURES[shape])
    fine = [0.3 * FINE_STEP**step for step in range(60)]
    frontier: list[Point] = []
    for price_s in fine:
        point = measure(best_schedule(true, price_s).next_age_s, draw, seed)
        if not frontier or point.p95_lag_s > frontier[-1].p95_lag_s:
            frontier.append(point)

    def row(policy: str, price_s: float | None, point: Point) -> dict[str, object]:
        return {
            "shape": shape,
            "policy": policy,
            "price_s": "" if price_s is None else price_s,
            "polls/job": round(point.polls, 2),
            "mean lag %": round(100 * point.mean_lag_s / MEDIAN_S, 1),
            "p95 lag %": round(100 * point.p95_lag_s / MEDIAN_S, 1),
            "at equal p95 lag": round(point.polls / polls_at(frontier, point.p95_lag_s), 2),
        }

    rows = []
    for price_s in PRICES_S:
        rows.append(row("optimum", price_s, measure(best_schedule(true, price_s).next_age_s, draw, seed)))
        rows.append(row("learned", price_s, learned(price_s, draw, seed)))
    for name, habit in (
        ("every 2 s", lambda age: age + 2),
        ("every 10 s", lambda age: age + 10),
        ("back-off", back_off),
    ):
        rows.append(row(name, None, measure(habit, draw, seed)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/polling.json"))
    asked = parser.parse_args()
    rows = [row for shape in MIXTURES for row in rows_of(shape, asked.seed)]
    print_table(rows)
    write_json(asked.json, {"benchmark": "polling", "seed": asked.seed, "rows": rows})
    ratios = [float(str(row["at equal p95 lag"])) for row in rows if row["policy"] == "learned"]
    print(f"seed {asked.seed}; learned against optimum: mean {sum(ratios) / len(ratios):.2f}, worst {max(ratios):.2f}")


if __name__ == "__main__":
    main()
