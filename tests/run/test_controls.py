"""What was asked of a run, from process to process, and what becomes of it when the run is started otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
import structlog

from engine.clock import SystemClock
from engine.config import RunConfig
from engine.config.sections import Limits
from engine.job.model_name import FIRST_PROVIDER
from engine.provider_configs import configs_by_provider
from engine.run.control_journal import ControlJournal, Order, Standing, standing_in
from engine.run.controls import ENDS_ALL_THE_SAME, Controls
from tests.jobs import open_inline
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from engine.scheduling.stop import Stop

BUDGET = "budget.cost_usd_max"
PLACES = "limits.max_in_flight"
FAL = "providers.fal.preset=fal"


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


class Site:
    """A run directory, as one process after the other opens it."""

    def __init__(self, directory: Path) -> None:
        self.journal = ControlJournal(directory / "control.jsonl")
        self.ledger = open_inline(directory / "run.db")
        self.said: list[str] = []

    def order(self, **settings: float) -> None:
        """Set keys, a double underscore for the dot, as ``engine control`` does."""
        orders = [Order(utc=1.0, action="set", key=k.replace("__", "."), value=v) for k, v in settings.items()]
        self.journal.give(orders)

    async def opened(self, *settings: str, fails: bool = False) -> RunConfig:
        """Open the run with settings; return what holds. One that ``fails`` does so before it has noted anything."""
        config = RunConfig.load(None, settings)
        self.said = []
        controls = self.controls = Controls(
            self.journal,
            self.ledger,
            config=config,
            clock=SystemClock(),
            log=structlog.wrap_logger(None, processors=[_drop]),
            announce=self.said.append,
        )
        holding = await controls.open()
        if not fails:
            await self.ledger.note(config=orjson.dumps(config.to_mapping()).decode(), control_over=controls.over)
        return holding

    async def shown(self) -> Standing:
        """Return what ``status`` and the dashboard show."""
        return standing_in(self.journal, await self.ledger.facts())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    site.ledger.close()


async def test_the_same_command_again_keeps_what_was_ordered_meanwhile(site: Site) -> None:
    await site.opened("budget.cost_usd_max=50")
    site.order(budget__cost_usd_max=100)
    for _ in range(2):
        assert (await site.opened("budget.cost_usd_max=50")).budget.cost_usd_max == 100
        assert (await site.shown()).settings == {BUDGET: 100}


async def test_a_key_that_is_changed_at_the_start_ends_its_order_for_good(site: Site) -> None:
    await site.opened()
    site.order(budget__cost_usd_max=100, limits__max_in_flight=7)
    for _ in range(2):
        holding = await site.opened("budget.cost_usd_max=500")
        assert (holding.budget.cost_usd_max, holding.limits.max_in_flight) == (500, 7)
        assert (await site.shown()).settings == {PLACES: 7}
    assert not any(BUDGET in words for words in site.said)


async def test_one_sentence_says_whose_wish_holds(site: Site) -> None:
    await site.opened()
    site.order(budget__cost_usd_max=100)
    await site.opened("budget.cost_usd_max=500")
    (words,) = site.said
    assert words == f"{BUDGET} = 500, as the run is started now; what 'engine control' set, 100, is over"


async def test_a_key_that_is_left_out_now_was_changed_too(site: Site) -> None:
    await site.opened("budget.cost_usd_max=50")
    site.order(budget__cost_usd_max=100)
    assert (await site.opened()).budget.cost_usd_max is None
    assert f"{BUDGET} has no value" in site.said[0]


async def test_an_order_after_the_start_that_ended_another_holds(site: Site) -> None:
    await site.opened()
    site.order(budget__cost_usd_max=100)
    await site.opened("budget.cost_usd_max=500")
    site.order(budget__cost_usd_max=200)
    assert (await site.opened("budget.cost_usd_max=500")).budget.cost_usd_max == 200
    assert (await site.shown()).settings == {BUDGET: 200}


async def test_a_start_that_fails_ends_no_order(site: Site) -> None:
    await site.opened()
    site.order(budget__cost_usd_max=100)
    await site.opened("budget.cost_usd_max=500", fails=True)
    assert (await site.shown()).settings == {BUDGET: 100}
    assert (await site.opened()).budget.cost_usd_max == 100


@pytest.mark.parametrize("recorded", [None, '{"budget":{"of_another_version":1}}'])
async def test_an_order_holds_if_nothing_tells_what_the_process_before_was_given(site: Site, recorded: Any) -> None:
    await site.ledger.note(config=recorded)
    site.order(budget__cost_usd_max=100)
    assert (await site.opened("budget.cost_usd_max=500")).budget.cost_usd_max == 100


async def test_a_key_of_a_further_provider_is_its_own(site: Site) -> None:
    await site.opened(FAL)
    site.order(providers__fal__limits__max_in_flight=7)
    for settings, places in (((FAL,), 7), ((FAL, "providers.fal.limits.max_in_flight=9"), 9)):
        configs = configs_by_provider(await site.opened(*settings))
        assert (configs[FIRST_PROVIDER].limits, configs["fal"].limits.max_in_flight) == (Limits(), places)
    assert (await site.shown()).settings == {}


async def test_an_order_for_a_provider_that_is_not_there_waits_for_it(site: Site) -> None:
    await site.opened(FAL)
    site.order(providers__fal__limits__max_in_flight=7)
    assert await site.opened() == RunConfig()
    assert "providers.fal.preset is missing" in site.said[-1]
    assert configs_by_provider(await site.opened(FAL))["fal"].limits.max_in_flight == 7


class Wheel:
    """What is steered: remembers what was asked of it."""

    def __init__(self) -> None:
        self.stops: list[str] = []

    def request_stop(self, stop: Stop) -> None:
        self.stops.append(stop.kind)

    def pause(self, reason: str) -> None:
        assert not reason

    def change_limits(self, configs: object) -> None:
        assert configs

    def cancel_in_flight(self) -> None:
        self.stops.append("all")

    async def cancel(self, places: object) -> None:
        raise AssertionError(places)


async def test_a_reset_takes_back_what_is_not_yet_carried_out_and_says_so_of_the_rest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken(*actions: str) -> tuple[list[str], int]:
        """Give orders, the last of them a reset, and return what was stopped, and how often that was said to stay."""
        site.said.clear()
        site.journal.give([msgspec.convert({"utc": 1.0, "action": action}, Order) for action in actions])
        await wait_until(lambda: any("as the run was started" in said for said in site.said), description="it is taken")
        return wheel.stops, site.said.count(f"control: {ENDS_ALL_THE_SAME}")

    monkeypatch.setattr("engine.run.controls.LOOK_S", 0.005)
    wheel = Wheel()
    await site.opened()
    site.journal.give([Order(utc=1.0, action="cancel_all"), Order(utc=1.0, action="reset")])
    await site.opened()
    working = asyncio.create_task(site.controls.run(wheel))
    assert await taken("drain", "reset") == ([], 0)
    site.journal.give([Order(utc=1.0, action="drain")])
    await wait_until(lambda: wheel.stops, description="it drains")
    assert (await site.ledger.facts())["control_ends"] == "drained"
    assert await taken("reset") == (["drained"], 1)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_key_that_only_another_version_could_change_is_passed_over(site: Site) -> None:
    await site.opened()
    site.order(limits__of_another_version=7)
    assert await site.opened("budget.cost_usd_max=500") == RunConfig.load(None, ["budget.cost_usd_max=500"])
