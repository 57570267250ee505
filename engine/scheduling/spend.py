"""Money: what was spent, what is reserved, and whether one more job may be submitted.

The price of a job is reserved before its POST and settled when the provider says what it charged, so that
spent + reserved never exceeds the budget, however many are in flight; the price is the most that a job of the
model was ever charged, so a dearer one can exceed it by the difference, once. A failed job gives its reservation
back; an unknown one keeps it, because it may have been charged. Pure: knows no clock and no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import ExitCode
from engine.job.counted import counted
from engine.job.money import usd_words
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

BY_NUMBER = "as many as this command may"
_CENT_FRACTION = 1e-9
"""Sums of floats may miss an exact budget by their last bits."""


class Spend:
    """The budget of one run.

    Args:
        cost_usd_max: the budget; None for no limit.
        jobs_max: how many jobs this process may submit; None for no limit.
        listed_price_usd: the price of a model before any job of it was settled; None if nobody knows.
        spent_usd: what the run has spent so far.
        highest_usd: the most that a job of each model was charged so far.
        written_off_usd: what repeated submissions may have cost besides.
    """

    def __init__(
        self,
        *,
        cost_usd_max: float | None,
        jobs_max: int | None,
        listed_price_usd: Callable[[str], float | None],
        spent_usd: float,
        highest_usd: dict[str, float] | None = None,
        written_off_usd: float = 0.0,
    ) -> None:
        self.cost_usd_max = cost_usd_max
        self.jobs_max = jobs_max
        self.spent_usd = spent_usd
        self._listed_price_usd = listed_price_usd
        self._highest_usd = dict(highest_usd or {})
        self._reserved: dict[int, float] = {}
        self._reserved_usd = written_off_usd
        self._charged = 0
        self._charged_usd = 0.0
        self._waiting_usd: dict[int, float] = {}
        self._submitted: set[int] = set()

    def __repr__(self) -> str:
        return f"<Spend: ${self.spent_usd:.2f} spent, ${self.reserved_usd:.2f} reserved, of {self.cost_usd_max}>"

    @property
    def reserved_usd(self) -> float:
        """What may still be charged: for jobs in flight, for unknown outcomes, and for those whose turn is next."""
        return max(0.0, self._reserved_usd)

    @property
    def at_provider_usd(self) -> float:
        """What may still be charged for what the provider was asked for: all of it but what only waits for its turn."""
        return max(0.0, self._reserved_usd - sum(self._waiting_usd.values()))

    @property
    def mean_usd(self) -> float | None:
        """What a submission was charged on average since this process began; None before the first was."""
        return self._charged_usd / self._charged if self._charged else None

    def price_usd(self, model: str) -> float | None:
        """Return what a job of the model is expected to cost: the most one of it did cost, else the listed price."""
        return self._highest_usd.get(model) or self._listed_price_usd(model)

    def refusal(self, model: str) -> str:
        """Say why one more job of the model may not be submitted now; empty if it may."""
        if self.jobs_max is not None and len(self._submitted) >= self.jobs_max:
            return f"{counted(self.jobs_max, 'job')} submitted, {BY_NUMBER}"
        if self.cost_usd_max is None:
            return ""
        price_usd = self.price_usd(model)
        if price_usd is None:
            return f"the price of {model} is not known until its first job is settled" if self._reserved else ""
        if self.spent_usd + self.reserved_usd + price_usd <= self.cost_usd_max + _CENT_FRACTION:
            return ""
        reserved = f" and {usd_words(self.reserved_usd)} are reserved" if self._reserved else ""
        return (
            f"the budget of {usd_words(self.cost_usd_max)} has no room for another job at {usd_words(price_usd)}: "
            f"{usd_words(self.spent_usd)} are spent{reserved}"
        )

    @staticmethod
    def stop(refusal: str) -> Stop:
        """Return the reason to stop once nothing is left whose settlement could make room."""
        by_number = refusal.endswith(BY_NUMBER)
        raised = "--max-jobs" if by_number else "budget.cost_usd_max, or set budget.price_usd"
        hint = f"raise {raised}; then run the same command again"
        return Stop("budget", refusal, ExitCode.STOPPED, Manner.HARVEST, hint)

    def reserve(self, job: int, price_usd: float | None, *, counted: bool = True) -> None:
        """Set the price of a job aside; ``counted`` says that this process is about to submit it."""
        self._reserved_usd += (price_usd or 0.0) - self._reserved.get(job, 0.0)
        self._reserved[job] = price_usd or 0.0
        if counted:
            self._waiting_usd[job] = price_usd or 0.0
        if counted and self.jobs_max is not None:
            self._submitted.add(job)

    def submit(self, job: int) -> None:
        """Take note that a job whose price is set aside is submitted now: it may be charged."""
        self._waiting_usd.pop(job, None)

    def give_back(self, job: int, *, accepted: bool = True) -> None:
        """Release a reservation: the job was not charged, or not even ``accepted``."""
        self._reserved_usd -= self._reserved.pop(job, 0.0)
        self._waiting_usd.pop(job, None)
        if not accepted:
            self._submitted.discard(job)

    def write_off(self, job: int) -> None:
        """Keep a reservation for good: the job is submitted once more although it may have been charged."""
        self._reserved.pop(job, None)

    def settle(self, job: int, model: str, cost_usd: float | None) -> None:
        """Replace a reservation by what was charged; a charge that nobody names stays reserved at its price."""
        if cost_usd is None or job not in self._reserved:
            return
        self.give_back(job)
        self.spent_usd += cost_usd
        if cost_usd:
            self._charged += 1
            self._charged_usd += cost_usd
        self._highest_usd[model] = max(cost_usd, self._highest_usd.get(model, 0.0))
