"""How long requests take, learned while they run.

A request shows itself only when it is asked about: it was still running at one age and finished at a later one.
Kept on a grid of log-age with bins of one per cent are, per bin, how many requests were seen to *pass* it (also
those that still run) and how many *ended* in it; their ratio is the hazard. An end between two polls is shared
out over the bins between them as the estimate so far would have it, or put where the provider's own figure
says, if that lies between them: a figure in another unit can do no harm. Old jobs are forgotten exponentially,
so that a drift is followed. Pure: ages in, a distribution out.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING

import msgspec

from engine.scheduling.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Sequence

AGE_S_MIN = 0.05
AGE_S_MAX = 172_800.0
BIN_LOG = 0.01
BINS = math.ceil(math.log(AGE_S_MAX / AGE_S_MIN) / BIN_LOG)
EDGES_S: tuple[float, ...] = tuple(AGE_S_MIN * math.exp(BIN_LOG * place) for place in range(BINS + 1))

MEMORY_JOBS = 300
"""A job counts for 1/e after so many later ones."""
PRIOR_JOBS = 2.0
"""What the expectation counts for before anything was seen; it is forgotten like any job."""
TAIL_HAZARD = 1.5
"""Where nothing is known, requests finish at this rate per unit of log-age."""
TAIL_JOBS = 0.03
"""How many jobs that assumption counts for, in every bin; ten times as many cost a tenth more polls."""
REACH = 0.6
"""An end is smoothed over this share of the jobs, divided by the cube root of their number, on either side."""
EARLY_SHARE = 0.001
LATE_SHARE = 0.003
"""Shares at the ends of the distribution that the schedule does not look at closely."""
POLL_CHANGES = 0.1
"""How much of a change a poll makes that found its request still running; a finished one makes 1."""
WEIGHT_MAX = 1e6
SHARE_MIN = 1e-9
EVEN_SHARE = 0.2
"""So much of an end is spread evenly over its interval if nobody looked there; less, the more did."""
LOOKS = 2.0
"""So many looks into the interval halve that share."""
EVEN_BINS = 400
"""The even share goes over so many bins, the last ones of the interval: ages up to e**4 times apart."""

GRID = 1
"""Names the grid in what is kept of it; another grid's figures mean nothing on this one."""

_NORMAL = NormalDist()


class DurationsState(msgspec.Struct, frozen=True):
    """What is kept of an estimate: the counts per bin, where there are any, a job of today counting 1."""

    grid: int
    ended: dict[int, float]
    passed: dict[int, float]
    looked: dict[int, float]


class Durations:
    """The durations of one model's requests.

    Args:
        expected_s: the median to begin with.
        spread: the standard deviation of the logarithm to begin with.
    """

    def __init__(self, *, expected_s: float, spread: float) -> None:
        self._ended = [0.0] * (BINS + 1)
        self._passed = [0.0] * (BINS + 2)  # differences: a request adds at the first bin it passed, subtracts behind
        self._looked = [0.0] * (BINS + 1)
        self._looked_before = [0.0] * (BINS + 2)  # sums of the above, as of the last fit
        self._weight = 1.0
        self._ended_sum = 0.0
        self.changes = 0.0
        self.finished_jobs = 0
        """How many finished requests this process has shown."""
        self._add_prior(expected_s, spread)
        self.distribution = self._fit()

    @property
    def jobs(self) -> float:
        """How many jobs the estimate rests on, those half forgotten counting half."""
        return self._ended_sum / self._weight

    # --- what was seen ----------------------------------------------------------------------------

    def still_running(self, since_s: float, age_s: float) -> None:
        """Take note of a request that was running at ``since_s`` and still is at ``age_s``."""
        place = _place(age_s)
        self._pass(_place(since_s), place)
        self._looked[place] += self._weight
        self.changes += POLL_CHANGES

    def finished(self, since_s: float, age_s: float, *, claimed_s: float | None = None) -> None:
        """Take note of a request that was running at ``since_s`` and had finished by ``age_s``.

        Args:
            claimed_s: how long it took by the provider's word; used where it fits between the two.
        """
        first, last = _place(since_s), _place(age_s)
        if claimed_s is not None and first <= (claimed := _place(claimed_s)) <= last:
            self._end(claimed, 1.0)
            self._pass(first, claimed)
        else:
            self._share_out(first, last)
        self._weight *= 1 + 1 / MEMORY_JOBS
        self.changes += 1
        self.finished_jobs += 1
        if self._weight > WEIGHT_MAX:
            self._rescale()

    def state(self) -> DurationsState:
        """Return what is to be kept of the estimate."""
        return DurationsState(GRID, *(self._kept(counts) for counts in (self._ended, self._passed, self._looked)))

    def recall(self, state: DurationsState, *, jobs_max: float) -> None:
        """Begin with what was kept, weighing it as ``jobs_max`` jobs at most; what makes no sense is ignored."""
        counts = (*state.ended.values(), *state.passed.values(), *state.looked.values())
        places = (*state.ended, *state.passed, *state.looked)
        jobs = sum(state.ended.values())
        sane = all(0 <= place <= BINS for place in places) and all(map(math.isfinite, counts))
        if state.grid != GRID or not sane or min(state.ended.values(), default=-1.0) < 0 or jobs <= 0:
            return
        share = min(1.0, jobs_max / jobs)
        self._weight, self._ended_sum = 1.0, share * jobs
        self._ended = [share * state.ended.get(place, 0.0) for place in range(BINS + 1)]
        self._passed = [share * state.passed.get(place, 0.0) for place in range(BINS + 2)]
        self._looked = [share * state.looked.get(place, 0.0) for place in range(BINS + 1)]
        self.refresh()

    def _kept(self, counts: Sequence[float]) -> dict[int, float]:
        rounded = ((place, round(count / self._weight, 5)) for place, count in enumerate(counts))
        return {place: count for place, count in rounded if count}

    def refresh(self) -> Distribution:
        """Fit the distribution to what was seen, and return it."""
        self.changes = 0.0
        self.distribution = self._fit()
        return self.distribution

    def _share_out(self, first: int, last: int) -> None:
        """Let a request end everywhere between two bins, as likely as the present estimate says.

        Where hardly anybody was asked between the two, the estimate only repeats itself, and quick failures would
        be taken for late ones for ever: a part is spread evenly then, so that it pays to look there.
        """
        known = self.distribution
        at = [known.share_done(EDGES_S[place]) for place in range(first, last + 2)]
        whole = at[-1] - at[0]
        looks = (self._looked_before[last] - self._looked_before[first + 1]) / self._weight if last > first else 0.0
        even = EVEN_SHARE * LOOKS / (LOOKS + max(looks, 0.0)) if whole > SHARE_MIN else 1.0
        even_first = max(first, last - EVEN_BINS)
        each = even / (last - even_first + 1)
        for place, (before, after) in enumerate(pairwise(at), start=first):
            share = (1 - even) * (after - before) / whole if even < 1 else 0.0
            share += each if place >= even_first else 0.0
            self._end(place, share)
            self._passed[first] += share * self._weight
            self._passed[place] -= share * self._weight

    def _end(self, place: int, jobs: float) -> None:
        self._ended[place] += jobs * self._weight
        self._ended_sum += jobs * self._weight

    def _pass(self, first: int, last: int, jobs: float = 1.0) -> None:
        self._passed[first] += jobs * self._weight
        self._passed[last] -= jobs * self._weight

    def _add_prior(self, expected_s: float, spread: float) -> None:
        middle = math.log(expected_s)
        before = 0.0
        for place, (_, older_s) in enumerate(pairwise(EDGES_S)):
            now = _NORMAL.cdf((math.log(older_s) - middle) / spread)
            if now - before > SHARE_MIN:
                self._end(place, PRIOR_JOBS * (now - before))
                self._pass(0, place, PRIOR_JOBS * (now - before))
            before = now

    def _rescale(self) -> None:
        self._ended = [count / self._weight for count in self._ended]
        self._passed = [count / self._weight for count in self._passed]
        self._looked = [count / self._weight for count in self._looked]
        self._ended_sum /= self._weight
        self._weight = 1.0

    # --- what follows from it ---------------------------------------------------------------------

    def _fit(self) -> Distribution:
        """Return the product-limit estimate, smoothed so that each step of it rests on several jobs."""
        known = TAIL_JOBS * self._weight
        self._looked_before = [0.0, *accumulate(self._looked)]
        left, lefts = 1.0, [1.0]
        for ended, passed in zip(self._ended[:BINS], accumulate(self._passed[:BINS]), strict=True):
            at_risk = max(passed, 0.0) + ended
            # The assumption speaks only where hardly anybody was seen; elsewhere it would end jobs that never ended.
            hazard = (ended + TAIL_HAZARD * BIN_LOG * known**2 / (at_risk + known)) / (at_risk + known)
            left *= 1 - min(hazard, 0.999)
            lefts.append(left)
        return _smoothed(lefts, jobs=self.jobs)


def _place(age_s: float) -> int:
    """Return the bin of an age."""
    if not age_s > AGE_S_MIN:
        return 0
    if age_s >= AGE_S_MAX:
        return BINS - 1
    return min(int(math.log(age_s / AGE_S_MIN) / BIN_LOG), BINS - 1)


def _smoothed(lefts: Sequence[float], *, jobs: float) -> Distribution:
    """Return the distribution of a product-limit estimate, each end spread as far as its neighbours are away.

    The reach of an end is the shorter of its distances to the shares around it that a few jobs make up, so that
    nothing is spread into the valley between two modes.
    """
    reach_share = REACH / max(jobs, 1.0) ** (1 / 3)
    done = [1 - left for left in lefts]
    spread = [0.0] * (BINS + 1)
    below = above = 0
    for place in range(BINS):
        mass = lefts[place] - lefts[place + 1]
        middle = 1 - (lefts[place] + lefts[place + 1]) / 2
        while below < place and done[below + 1] < middle - reach_share:
            below += 1
        while above < BINS - 1 and done[above + 1] < middle + reach_share:
            above += 1
        reach = min(place - below, above - place, place, BINS - 1 - place)
        each = mass / (2 * reach + 1)
        spread[place - reach] += each
        spread[place + reach + 1] -= each
    ages_s, shares, so_far = [0.0], [0.0], 0.0
    for place, mass in enumerate(accumulate(spread[:BINS])):
        so_far += max(mass, 0.0)
        if so_far > EARLY_SHARE:
            ages_s.append(EDGES_S[place + 1])
            shares.append(min(so_far, 1 - 1e-9))
            if so_far > 1 - LATE_SHARE:
                break
    return Distribution(ages_s, shares, TAIL_HAZARD)
