"""The schedulers of a run, one for each provider, as one: each has its own plan, its own breakers, its own end.

What concerns a provider alone (its key, its credit, a model that it does not offer) winds down its scheduler alone, and
the others go on; any other reason winds down all. Knows nothing of what a scheduler does.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from engine.errors import EngineError, first_of
from engine.job.model_name import provider_of
from engine.scheduling.tally import Tally
from engine.scheduling.view import Remainder, View, sum_of, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from engine.config import RunConfig
    from engine.ledger.cancel_book import Place
    from engine.scheduling.scheduler import Scheduler
    from engine.scheduling.stop import Stop

OF_ONE_PROVIDER = frozenset({"unauthorized", "no_credit", "contract", "forbidden"})
"""Kinds of stops that say nothing of the other providers."""
OF_THE_WHOLE = frozenset({"spent_usd", "mean_usd", "reserved_usd"})


class Schedulers:
    """All schedulers of a run.

    Args:
        titles: how each provider is called to people.
        announce: tells the person something worth a line.
    """

    def __init__(self, *, titles: Mapping[str, str], announce: Callable[[str], None]) -> None:
        self._by_provider: dict[str, Scheduler] = {}
        self._ended: set[str] = set()
        self._titles = titles
        self._announce = announce

    @property
    def _all(self) -> list[Scheduler]:
        return list(self._by_provider.values())

    def add(self, provider: str, scheduler: Scheduler) -> None:
        """Take the scheduler of a provider in; the first provider's comes first."""
        self._by_provider[provider] = scheduler

    # --- work -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until every scheduler has come to its end.

        Raises:
            EngineError: the ledger or the disk failed; nothing more can be recorded.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, scheduler in self._by_provider.items():
                    tasks.create_task(self._run(name, scheduler), name=f"scheduler-{name or 'first'}")
        except* EngineError as group:
            raise first_of(group) from None

    async def _run(self, provider: str, scheduler: Scheduler) -> None:
        await scheduler.run()
        self._ended.add(provider)

    def input_grew(self, pending: Mapping[str, int]) -> None:
        """Take note of new jobs in the ledger, by the name of their provider; or, if there are none, of its end."""
        for name, scheduler in self._by_provider.items():
            if not pending or name in pending:
                scheduler.input_grew(pending.get(name, 0))

    def under_way_besides(self, provider: str) -> int:
        """Return how many jobs of the other providers are under way."""
        return sum(scheduler.under_way for name, scheduler in self._by_provider.items() if name != provider)

    # --- steering ---------------------------------------------------------------------------------

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind all down."""
        for scheduler in self._all:
            scheduler.request_stop(stop)

    def decided_to_stop(self, provider: str, stop: Stop) -> None:
        """Carry out what one scheduler found reason for: alone, or for all."""
        if stop.kind not in OF_ONE_PROVIDER or len(self._all) == 1:
            self.request_stop(stop)
            return
        scheduler = self._by_provider[provider]
        if scheduler.stop is None:
            self._announce(f"{self._titles[provider]}: {stop.message}; its other jobs wait, those of the others go on")
        scheduler.request_stop(replace(stop, message=f"{self._titles[provider]}: {stop.message}"))

    def pause(self, reason: str) -> None:
        """Submit nothing new from now on; an empty reason goes on."""
        for scheduler in self._all:
            scheduler.pause(reason)

    def change_limits(self, configs: Mapping[str, RunConfig]) -> None:
        """Keep to the limits and the budget of other configurations, by the name of the provider."""
        for name, scheduler in self._by_provider.items():
            scheduler.change_limits(configs[name])

    async def cancel(self, places: Iterable[Place]) -> None:
        """Cancel jobs that are not at rest, each where its provider's scheduler has it."""
        wanted: dict[str, list[Place]] = {}
        for place in places:
            wanted.setdefault(provider_of(place.model), []).append(place)
        for name, theirs in wanted.items():
            await self._by_provider[name].cancel(theirs)

    def cancel_in_flight(self) -> None:
        """Cancel everything that is in flight and can be."""
        for scheduler in self._all:
            scheduler.cancel_in_flight()

    # --- looking ----------------------------------------------------------------------------------

    @property
    def stop(self) -> Stop | None:
        """Why the run winds down, if it does: the hardest reason of all; None as long as a provider's jobs go on."""
        if any(scheduler.stop is None and name not in self._ended for name, scheduler in self._by_provider.items()):
            return None
        stops = [scheduler.stop for scheduler in self._all if scheduler.stop is not None]
        return max(stops, key=lambda stop: stop.manner, default=None)

    def view(self) -> View:
        """Return how the run stands now."""
        return together([(self._titles[name], scheduler.view()) for name, scheduler in self._by_provider.items()])

    def remainder(self) -> Remainder:
        """Return what is in flight, for whoever would end it."""
        return sum_of([scheduler.remainder() for scheduler in self._all])


def total(tallies: list[Tally]) -> Tally:
    """Return the figures of several schedulers together; the input is complete for all or for none.

    The money is none of a scheduler's: there is one book of it, and whoever has that fills it in.
    """
    first, *others = tallies
    if not others:
        return first
    summed = Tally()
    for field in fields(Tally):
        values = [getattr(tally, field.name) for tally in tallies]
        if field.name == "input_complete":
            summed.input_complete = all(values)
        elif field.name == "recent_failures":
            summed.recent_failures.extend(failure for recent in values for failure in recent)
        elif field.name in {"throttled_in_minute", "causes"}:
            for counts in values:
                getattr(summed, field.name).update(counts)
        elif field.name not in OF_THE_WHOLE:
            setattr(summed, field.name, sum(values))
    return summed
