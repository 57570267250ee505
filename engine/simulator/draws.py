"""Decide whether a fault happens, and count those that did.

Joins the scenario's probabilities with the dice. A subject is the text that a fault is drawn for (a body,
a job, a file); ``nth`` numbers its tries, so that a retry is a fresh draw. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.simulator.dice import Dice
    from engine.simulator.faults import Fault
    from engine.simulator.scenario import Knobs


class Draws:
    """The draws of all faults; ``happened`` counts those that showed."""

    def __init__(self, knobs: Knobs, dice: Dice) -> None:
        self._knobs = knobs
        self._dice = dice
        self.happened: Counter[str] = Counter()

    def would_hit(self, fault: Fault, subject: str, nth: int, body: bytes) -> bool:
        """Say whether this fault is drawn, without counting it."""
        scenario = self._knobs.scenario
        probability = scenario.faults.get(fault, 0.0)
        if not probability:
            return False
        details = scenario.fault_details
        if details.repeats_max and nth >= details.repeats_max:
            return False
        if details.only_bodies_with and details.only_bodies_with.encode() not in body:
            return False
        return self._dice.share(fault, subject, nth) < probability

    def hits(self, fault: Fault, subject: str, nth: int, body: bytes) -> bool:
        """Say whether this fault happens now, and count it."""
        hit = self.would_hit(fault, subject, nth, body)
        if hit:
            self.note(fault)
        return hit

    def first(self, faults: Iterable[Fault], subject: str, nth: int, body: bytes) -> Fault | None:
        """Return the first of these faults that happens now, counted; None if none does."""
        for fault in faults:
            if self.hits(fault, subject, nth, body):
                return fault
        return None

    def note(self, fault: Fault) -> None:
        """Count a fault that was drawn earlier and shows now."""
        self.happened[fault] += 1
