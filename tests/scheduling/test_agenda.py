"""Many moments, one timer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.scheduling.agenda import Agenda
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    import random

    from tests.virtual_clock import VirtualClock


@on_virtual_clock
async def test_calls_come_in_the_order_of_their_moments_however_they_were_entered(
    clock: VirtualClock, rng: random.Random
) -> None:
    agenda, heard = Agenda(), list[tuple[float, float]]()
    moments = [rng.uniform(0, 10_000) for _ in range(1_000)]
    for moment in moments:
        agenda.at(moment, partial(lambda due: heard.append((due, clock.now())), moment))
    await clock.sleep(10_001)
    assert [due for due, _ in heard] == sorted(moments)
    assert all(0 <= now - due < 1e-3 for due, now in heard)


@on_virtual_clock
async def test_equal_moments_keep_the_order_of_entry(clock: VirtualClock) -> None:
    agenda, heard = Agenda(), list[int]()
    for number in range(10):
        agenda.at(5.0, partial(heard.append, number))
    await clock.sleep(6)
    assert heard == list(range(10))


@on_virtual_clock
async def test_a_moment_that_has_passed_comes_in_the_next_turn(clock: VirtualClock) -> None:
    await clock.sleep(100)
    agenda, heard = Agenda(), list[float]()
    agenda.at(3.0, lambda: heard.append(clock.now()))
    assert not heard
    await clock.sleep(0.001)
    assert len(heard) == 1


@on_virtual_clock
async def test_an_earlier_moment_entered_later_does_not_wait_for_the_first(clock: VirtualClock) -> None:
    agenda, heard = Agenda(), list[str]()
    agenda.at(100.0, lambda: heard.append("late"))
    agenda.at(1.0, lambda: heard.append("soon"))
    await clock.sleep(2)
    assert heard == ["soon"]


@on_virtual_clock
async def test_a_call_may_enter_the_next_one(clock: VirtualClock) -> None:
    agenda, heard = Agenda(), list[float]()

    def again() -> None:
        heard.append(round(clock.now()))
        if len(heard) < 5:
            agenda.at(clock.now() + 10, again)

    agenda.at(10.0, again)
    await clock.sleep(60)
    assert heard == [10, 20, 30, 40, 50]


@on_virtual_clock
async def test_cleared_it_calls_nobody_and_can_be_used_again(clock: VirtualClock) -> None:
    agenda, heard = Agenda(), list[str]()
    agenda.at(1.0, lambda: heard.append("cleared"))
    agenda.clear()
    await clock.sleep(5)
    agenda.at(6.0, lambda: heard.append("new"))
    await clock.sleep(5)
    assert heard == ["new"]


@on_virtual_clock
async def test_a_call_that_breaks_does_not_silence_the_others(clock: VirtualClock) -> None:
    agenda, heard, broken = Agenda(), list[str](), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context["exception"]))

    def breaks() -> None:
        raise ZeroDivisionError

    agenda.at(1.0, breaks)
    agenda.at(1.0, lambda: heard.append("same moment"))
    agenda.at(2.0, lambda: heard.append("later"))
    await clock.sleep(3)
    assert heard == ["same moment", "later"]
    assert [type(error) for error in broken] == [ZeroDivisionError]


@on_virtual_clock
async def test_it_shows_how_many_it_holds(clock: VirtualClock) -> None:
    agenda = Agenda()
    agenda.at(1.0, lambda: None)
    assert repr(agenda) == "<Agenda: 1 entries>"
    agenda.clear()
