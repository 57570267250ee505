"""Carry out what a person asks of a run while it works: pause, resume, drain, other limits, another budget.

Orders come from the control journal. At the start all of them are taken together; then, once a second, what is
new. What was taken is noted in the ledger, so that whoever gave an order can see that it holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from engine.clock import local_words
from engine.config import RunConfig
from engine.errors import ConfigError, ExitCode, UsageError, nearest
from engine.ledger.control_journal import Order, Standing, standing
from engine.provider_configs import configs_by_provider
from engine.scheduling.stop import Manner, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.ledger.control_journal import ControlJournal
    from engine.ledger.ledger import Ledger

LOOK_S = 1.0
CHANGEABLE = ("limits.max_in_flight", "limits.submits_per_minute", "limits.polls_per_minute", "budget.cost_usd_max")
DRAINED = Stop("drained", "it was asked to drain", ExitCode.STOPPED, Manner.HARVEST, "go on with 'engine resume'")


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
        self._offset = 0

    async def open(self) -> RunConfig:
        """Take what was asked of earlier processes; return the configuration that holds with it."""
        await self._take()
        now = self._standing
        if now.settings or now.paused_utc is not None:
            self._announce(f"{standing_words(now)}; 'engine control --reset' takes it back")
        return self._holding()

    async def run(self, steered: Steered) -> None:
        """Carry out what is asked, until cancelled."""
        steered.pause(self._pause_reason)
        while True:
            await self._clock.sleep(LOOK_S)
            for order in await self._take():
                self._log.info("controlled", action=order.action, key=order.key or None, value=order.value)
                self._announce(f"control: {order_words(order)}")
                if order.action == "drain":
                    steered.request_stop(DRAINED)
                steered.pause(self._pause_reason)
                steered.change_limits(configs_by_provider(self._holding()))

    async def _take(self) -> list[Order]:
        new, end = await asyncio.to_thread(self._journal.read, self._offset)
        if end > self._offset:
            self._orders += new
            self._offset = end
            await self._ledger.note(control_bytes=end)
        return new

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


def changed(config: RunConfig, key: str, value: float) -> RunConfig:
    """Return the configuration with one key changed.

    Raises:
        ConfigError: the value is not allowed.
    """
    return RunConfig.from_mapping(config.to_mapping(), [f"{key}={value!r}"])


def check_changeable(key: str) -> None:
    """Refuse a key that cannot be changed while a run works.

    Raises:
        UsageError: with the keys that can.
    """
    if key not in CHANGEABLE:
        raise UsageError(
            f"{key} cannot be changed while a run works{nearest(key, CHANGEABLE)}",
            hint=f"what can: {', '.join(CHANGEABLE)}; for anything else stop the run and start it with --set",
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
        case "reset":
            return "everything is as the run was started with"


def standing_words(now: Standing) -> str:
    """Say for people what holds by the orders given so far."""
    parts = [f"{key} = {value:g}" for key, value in now.settings.items()]
    if now.paused_utc is not None:
        parts.append(f"submissions paused since {local_words(now.paused_utc)}")
    return f"by earlier control: {', '.join(parts)}"
