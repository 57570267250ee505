"""The 429s of a night, minute by minute, over all its processes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from engine.run.chronicle import LOOK_S, Chronicle
from engine.scheduling.tally import Tally

if TYPE_CHECKING:
    from engine.ledger.ledger import Ledger
    from tests.virtual_clock import VirtualClock


async def _of_a_process(ledger: Ledger, clock: VirtualClock, *throttled_utc: float) -> None:
    tally = Tally()
    chronicle = Chronicle(ledger, lambda: tally, clock, waits_for=str)
    await chronicle.open()
    for utc in throttled_utc:
        tally.note_throttle(utc)
    await chronicle.close()
    assert tally.throttles == len(throttled_utc)


async def test_processes_add_up_minute_by_minute(ledger: Ledger, clock: VirtualClock) -> None:
    await _of_a_process(ledger, clock, 60.0, 119.9, 120.0)
    await _of_a_process(ledger, clock, 61.0)
    assert json.loads((await ledger.facts())["throttles"]) == {"1": 3, "2": 1}


async def test_a_night_without_429s_records_nothing(ledger: Ledger, clock: VirtualClock) -> None:
    await _of_a_process(ledger, clock)
    assert "throttles" not in await ledger.facts()


async def test_what_cannot_be_read_is_as_good_as_nothing(ledger: Ledger, clock: VirtualClock) -> None:
    await ledger.note(throttles="[")
    await _of_a_process(ledger, clock, 60.0)
    assert json.loads((await ledger.facts())["throttles"]) == {"1": 1}


async def test_what_the_run_waits_for_is_said_and_taken_back(ledger: Ledger, clock: VirtualClock) -> None:
    said = iter(["", "the provider", "the provider", "nothing"])
    chronicle = Chronicle(ledger, Tally, clock, waits_for=lambda: next(said))
    await chronicle.open()
    for expected in (None, "the provider", "the provider", "nothing"):
        await chronicle._say(chronicle._waits_for(), "")
        assert (await ledger.facts()).get("waits_for") == expected
    await chronicle.close()
    assert (await ledger.facts())["waits_for"] == ""


async def test_how_the_fleet_does_is_said_and_taken_back(ledger: Ledger, clock: VirtualClock) -> None:
    chronicle = Chronicle(ledger, Tally, clock, waits_for=str, fleet=lambda: "2 nodes, 16 places, 3 under way")
    await chronicle.open()
    async with asyncio.TaskGroup() as tasks:
        saying = tasks.create_task(chronicle.run())
        await clock.sleep(LOOK_S + 0.1)
        saying.cancel()
    assert (await ledger.facts())["fleet"] == "2 nodes, 16 places, 3 under way"
    await chronicle.close()
    assert (await ledger.facts())["fleet"] == ""
