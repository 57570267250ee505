"""How a run stands, for whoever watches it, and what is left of it, for whoever ends it. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class View:
    """How one scheduler stands, or all of a run together; cheap, because it is looked at twice a second.

    Attributes:
        waits_for: one sentence on what it waits for; empty while nothing is in flight and nothing holds it up.
        is_held_up: whether something keeps submissions from going out, besides the pace and the places in flight.
        submit_pace_per_minute: how many submissions a minute may go out now.
        shortfall: why the batch will not be home by its target; empty if it will, or has none.
    """

    waits_for: str
    is_held_up: bool
    submit_pace_per_minute: float
    shortfall: str


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is in flight when the end is near; walks over all of it, so it is asked for by a signal, not by a clock.

    Attributes:
        harvest_s: how long it may still take, in seconds; None if nobody knows.
        can_cancel: whether anything of it can be cancelled.
    """

    harvest_s: float | None
    can_cancel: bool


def together(views: Sequence[tuple[str, View]]) -> View:
    """Return how all providers stand together; each comes with how it is called to people."""
    if len(views) == 1:
        return views[0][1]
    return View(
        waits_for="; ".join(f"{title}: {view.waits_for}" for title, view in views if view.waits_for),
        is_held_up=any(view.is_held_up for _, view in views),
        submit_pace_per_minute=sum(view.submit_pace_per_minute for _, view in views),
        shortfall=next((view.shortfall for _, view in views if view.shortfall), ""),
    )


def sum_of(remainders: Sequence[Remainder]) -> Remainder:
    """Return what is left at all providers."""
    spans = [remainder.harvest_s for remainder in remainders]
    known = [span for span in spans if span is not None]
    return Remainder(
        harvest_s=max(known) if len(known) == len(spans) else None,
        can_cancel=any(remainder.can_cancel for remainder in remainders),
    )
