"""Carry out what a person asks of a run while it works: pause, resume, drain, cancel, other limits, another budget.

Orders come from the control journal. At the start all of them are taken together; then, once a second, what is
new. What was taken is noted in the ledger, so that whoever gave an order can see that it holds. Settings are what all
orders together come to, until the run is started with another value of the key; a wish to cancel is taken once, and is
the ledger's from then on, so that a job that is tried again later is not cancelled by an order of before. What ends the
process at work cannot be taken back once it was carried out; the ledger has it, for whoever wants to.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import orjson

from engine.clock import local_words
from engine.config import RunConfig
from engine.errors import ConfigError, ExitCode, UsageError, nearest
from engine.job.model_name import FIRST_PROVIDER
from engine.ledger.cancel_book import CancelBook
from engine.provider_configs import PREFIX, configs_by_provider, provider_and_key
from engine.run.control_journal import Order, Standing, over_in, standing
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.ledger.cancel_book import Place
    from engine.ledger.ledger import Ledger
    from engine.run.control_journal import ControlJournal

LOOK_S = 1.0
LIMITS = ("limits.max_in_flight", "limits.submits_per_minute", "limits.polls_per_minute")
"""What every provider of a run has of its own."""
CHANGEABLE = (*LIMITS, "budget.cost_usd_max")
DONE_ONCE = frozenset({"drain", "cancel", "cancel_all"})
"""Actions that are carried out when they are taken, and then are over."""
ENDS_ALL_THE_SAME = (
    "the run ends all the same, once everything in flight is home: that was ordered before and is being carried out;"
    " go on with 'engine resume' then"
)
DRAINED = Stop("drained", "it was asked to drain", ExitCode.STOPPED, Manner.HARVEST, "go on with 'engine resume'")
CANCELLED_ALL = Stop(
    "cancelled",
    "everything in flight was to be cancelled",
    ExitCode.STOPPED,
    Manner.HARVEST,
    "go on with 'engine resume'",
)


class Steered(Protocol):
    """What can be steered while it works."""

    def pause(self, reason: str) -> None:
        """Submit nothing new until ``resume``; an empty reason resumes."""
        ...

    def change_limits(self, configs: Mapping[str, RunConfig]) -> None:
        """Keep to other limits and another budget from now on, by the name of the provider."""
        ...

    def request_stop(self, stop: Stop) -> None:
        """Begin to wind down."""
        ...

    async def cancel(self, places: Iterable[Place]) -> None:
        """Cancel jobs that are not at rest."""
        ...

    def cancel_in_flight(self) -> None:
        """Cancel everything that is in flight."""
        ...


class Controls:
    """Takes orders.

    Args:
        config: the configuration that the run was started with.
        announce: tells the person something worth a line.
    """

    def __init__(
        self,
        journal: ControlJournal,
        ledger: Ledger,
        *,
        config: RunConfig,
        clock: Clock,
        log: FilteringBoundLogger,
        announce: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._config = config
        self._clock = clock
        self._log = log
        self._announce = announce
        self._orders: list[Order] = []
        self._book = CancelBook(ledger)
        self._offset = 0
        self._over: dict[str, int] = {}
        self._cancels_all = False
        self._ends = False

    @property
    def over(self) -> str | None:
        """The keys whose orders are over, to be noted together with the configuration that ended them."""
        return orjson.dumps(self._over).decode() if self._over else None

    async def open(self) -> RunConfig:
        """Take what was asked of earlier processes; return the configuration that holds with it."""
        facts = await self._ledger.facts()
        taken_up_to, self._over = int(facts.get("control_bytes") or 0), over_in(facts)
        self._orders, self._offset = await asyncio.to_thread(self._journal.read, 0, until=taken_up_to, over=self._over)
        new, _ = await self._take()
        self._end_overruled(facts.get("config"))
        for order in new:
            if order.action in {"cancel", "cancel_all"}:
                self._announce(f"control: {order_words(order)}")
        self._cancels_all = any(order.action == "cancel_all" for order in new)
        now = self._standing
        if now.settings or now.paused_utc is not None:
            self._announce(f"by earlier control: {standing_words(now)}; 'engine control --reset' takes it back")
        return self._holding()

    def _end_overruled(self, recorded: str | None) -> None:
        """End what was ordered of keys that have another value now than the configuration of the process before.

        The same command again keeps what was ordered meanwhile; whoever changes a key means what is said last.
        """
        before, now = _recorded(recorded), configs_by_provider(self._config)
        for key, ordered in self._standing.settings.items():
            name, own = provider_and_key(key)
            if name not in before or key not in changeable(before) or key not in changeable(now):
                continue  # another version took it, or its provider comes or goes
            value = now[name].value_of(own)
            if value != before[name].value_of(own):
                self._over[key] = self._offset
                self._orders = [order for order in self._orders if (order.action, order.key) != ("set", key)]
                words = "has no value" if value is None else f"= {value:g}"
                self._announce(
                    f"{key} {words}, as the run is started now; what 'engine control' set, {ordered:g}, is over"
                )

    async def run(self, steered: Steered) -> None:
        """Carry out what is asked, until cancelled."""
        steered.pause(self._pause_reason)
        if self._cancels_all:
            await self._cancel_all(steered)
        while True:
            await self._clock.sleep(LOOK_S)
            orders, places = await self._take()
            for order in orders:
                self._log.info("controlled", action=order.action, key=order.key or order.id or None, value=order.value)
                self._announce(f"control: {order_words(order)}")
                if order.action == "drain":
                    await self._end(steered, DRAINED)
                elif order.action == "cancel_all":
                    await self._cancel_all(steered)
                elif order.action == "reset" and self._ends:
                    self._announce(f"control: {ENDS_ALL_THE_SAME}")
                steered.pause(self._pause_reason)
                steered.change_limits(configs_by_provider(self._holding()))
            if places:
                await steered.cancel(places)

    async def _take(self) -> tuple[list[Order], list[Place]]:
        """Take what is new; return it, with where the jobs are that are to be cancelled and are not at rest."""
        read, end = await asyncio.to_thread(self._journal.read, self._offset)
        if end == self._offset:
            return [], []
        new = due(read)
        ids = [order.id for order in new if order.action == "cancel"]
        everything = any(order.action == "cancel_all" for order in new)
        places = await self._book.ask(ids, everything=everything, utc=self._clock.utc(), control_bytes=end)
        self._orders += new
        self._offset = end
        for place in places:
            if place.job is None:
                self._announce(f"no job has the id {place.id!r}: nothing is cancelled")
            elif place.at_rest:
                self._announce(f"{place.id} is at rest already: nothing is cancelled")
        return new, [place for place in places if place.job is not None and not place.at_rest]

    async def _cancel_all(self, steered: Steered) -> None:
        """Let nothing new out first, so that nothing is submitted behind what is cancelled."""
        await self._end(steered, CANCELLED_ALL)
        steered.cancel_in_flight()

    async def _end(self, steered: Steered, stop: Stop) -> None:
        """Have the run wind down; whoever wants that back afterwards can see that it is too late."""
        self._ends = True
        await self._ledger.note(control_ends=stop.kind)
        steered.request_stop(stop)

    @property
    def _standing(self) -> Standing:
        return standing(self._orders)

    @property
    def _pause_reason(self) -> str:
        since_utc = self._standing.paused_utc
        return "" if since_utc is None else f"paused since {local_words(since_utc)}; 'engine control --resume' goes on"

    def _holding(self) -> RunConfig:
        """Return the configuration with what was set; a setting that this version does not take is passed over."""
        config = self._config
        for key, value in self._standing.settings.items():
            try:
                config = changed(config, key, value)
            except ConfigError as error:
                self._announce(f"control: {error}")
        return config


def due(orders: list[Order]) -> list[Order]:
    """Return what is to be done of orders that come together: a reset takes back what it finds not yet carried out."""
    reset = max((place for place, order in enumerate(orders) if order.action == "reset"), default=0)
    return [order for place, order in enumerate(orders) if place >= reset or order.action not in DONE_ONCE]


def _recorded(config: str | None) -> dict[str, RunConfig]:
    """Return what a process recorded, by the name of the provider; empty if none has, or another version of it."""
    try:
        return configs_by_provider(RunConfig.from_mapping(orjson.loads(config))) if config else {}
    except ConfigError:
        return {}


def changed(config: RunConfig, key: str, value: float) -> RunConfig:
    """Return the configuration with one key changed.

    Raises:
        ConfigError: the value is not allowed, or the key is of a provider that the run does not have.
    """
    found = RunConfig.from_mapping(config.to_mapping(), [f"{key}={value!r}"])
    configs_by_provider(found)
    return found


def changeable(providers: Collection[str]) -> list[str]:
    """Return the keys that can be changed while a run with these providers works."""
    further = [f"{PREFIX}{name}.{key}" for name in providers if name != FIRST_PROVIDER for key in LIMITS]
    return [*CHANGEABLE, *further]


def check_changeable(key: str, providers: Collection[str]) -> None:
    """Refuse a key that cannot be changed while a run with these providers works.

    Raises:
        UsageError: with the keys that can.
    """
    keys = changeable(providers)
    if key not in keys:
        raise UsageError(
            f"{key} cannot be changed while a run works{nearest(key, keys)}",
            hint=f"what can: {', '.join(keys)}; for anything else stop the run and start it with --set",
        )


def order_words(order: Order) -> str:
    """Say for people what an order asks."""
    match order.action:
        case "set":
            return f"{order.key} = {order.value:g}"
        case "pause":
            return "submissions pause; what is in flight is harvested"
        case "resume":
            return "submissions go on"
        case "drain":
            return "nothing new is submitted; the run ends once everything in flight is home"
        case "cancel":
            return f"{order.id} is to be cancelled"
        case "cancel_all":
            return "everything in flight is to be cancelled, and nothing new is submitted"
        case "reset":
            return "pause, limits and budget are as the run was started with"


def standing_words(now: Standing) -> str:
    """Say for people what holds by the orders given so far."""
    parts = [f"{key} = {value:g}" for key, value in now.settings.items()]
    if now.paused_utc is not None:
        parts.append(f"submissions paused since {local_words(now.paused_utc)}")
    return ", ".join(parts)
