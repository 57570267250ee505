"""What waits to be downloaded bounds what is submitted, once the line has shown how wide it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.scheduling.backlog import GROWTH_S, LIFE_S_MAX, OUTPUT_LIFE_SHARE, WINDOW_S_MIN, Backlog
from tests.fake_provider import FakeFetcher
from tests.scheduling.test_backpressure import pressure
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scheduling.conftest import World
    from tests.virtual_clock import VirtualClock

LIFE_S = 3_600.0


class Line:
    """Results that wait, and a line that stores them at an even pace."""

    def __init__(self, clock: VirtualClock, *, life_s: float = LIFE_S, places: int = 4) -> None:
        self.clock = clock
        self.waiting = 0
        self.backlog = Backlog(waiting=lambda: self.waiting, places=lambda: places, life_s=life_s, clock=clock)

    async def store(self, *, per_s: float, seconds: float) -> None:
        for _ in range(int(per_s * seconds)):
            await self.clock.sleep(1 / per_s)
            self.backlog.stored()


@on_virtual_clock
async def test_a_line_that_keeps_up_bounds_nothing(clock: VirtualClock) -> None:
    line = Line(clock)
    line.waiting = 8
    await line.store(per_s=0.1, seconds=3_600)
    assert line.backlog.bound is None


@on_virtual_clock
async def test_a_full_line_bounds_to_what_it_stores_in_a_quarter_of_the_outputs_life(clock: VirtualClock) -> None:
    line = Line(clock)
    line.waiting = 500
    await line.store(per_s=0.5, seconds=WINDOW_S_MIN / 2)
    assert line.backlog.bound is None
    await line.store(per_s=0.5, seconds=600)
    assert line.backlog.bound == pytest.approx(0.5 * LIFE_S * OUTPUT_LIFE_SHARE, rel=0.02)


@on_virtual_clock
async def test_outputs_that_live_for_weeks_do_not_pile_up_for_weeks(clock: VirtualClock) -> None:
    line = Line(clock, life_s=30 * 86_400.0)
    line.waiting = 50_000
    await line.store(per_s=1, seconds=600)
    assert line.backlog.bound == pytest.approx(LIFE_S_MAX * OUTPUT_LIFE_SHARE, rel=0.02)


@on_virtual_clock
async def test_a_line_on_which_nothing_arrives_keeps_its_places_busy_and_no_more(clock: VirtualClock) -> None:
    line = Line(clock)
    line.waiting = 500
    assert line.backlog.bound is None
    await clock.sleep(WINDOW_S_MIN + 1)
    assert line.backlog.bound == 8


@on_virtual_clock
async def test_a_line_that_keeps_up_again_is_trusted_more_and_more(clock: VirtualClock) -> None:
    line = Line(clock)
    line.waiting = 500
    await line.store(per_s=0.5, seconds=600)
    before = line.backlog.bound
    assert before is not None
    line.waiting = 0
    assert line.backlog.bound == pytest.approx(before, rel=0.02)
    await clock.sleep(GROWTH_S)
    assert line.backlog.bound == pytest.approx(2 * before, rel=0.02)
    await clock.sleep(20 * GROWTH_S)
    assert line.backlog.bound is None


@on_virtual_clock
async def test_it_is_one_of_the_bounds_and_has_words(clock: VirtualClock) -> None:
    line = Line(clock)
    found, _ = pressure(clock, backlog=line.backlog)
    line.waiting = 400
    await line.store(per_s=0.1, seconds=600)
    assert found.bound == pytest.approx(90, abs=2)
    expected = f"400 results wait to be downloaded; {found.bound} in flight are what the line stores in 15 min"
    assert found.reason(400) == expected


@on_virtual_clock
async def test_a_narrow_line_slows_submissions_down_and_nothing_piles_up(
    build: Callable[..., World], clock: VirtualClock
) -> None:
    """Jobs of two minutes, fifty submissions a minute, and a line that stores twelve files a minute."""
    world = build(expected_s=120.0, max_in_flight=5_000, output_life_s=1_200.0, overrides=["downloads.concurrency=4"])
    world.provider.duration_of = lambda _: 120.0
    world.fetcher = FakeFetcher(clock, seconds=20.0)
    world.life = world.new_life()
    scheduler = await world.with_jobs(400)
    said: set[str] = set()
    waiting: list[int] = []
    note = world._note_decided

    def look() -> None:
        note()
        said.add(scheduler.view().waits_for.partition(";")[0])
        waiting.append(world.tally.downloading)

    scheduler._parts.landing._on_decided = look
    await scheduler.run()
    assert world.tally.succeeded == 400
    assert max(waiting) < 200
    assert any("results wait to be downloaded" in words for words in said)


@on_virtual_clock
async def test_as_many_are_downloaded_at_once_as_there_are_places_now(
    build: Callable[..., World], clock: VirtualClock
) -> None:
    """A fleet joins after 10 s and leaves after 30 s: 2 places, then 20, then 2 again."""
    busy, seen = [0], list[tuple[float, int]]()

    class Counting(FakeFetcher):
        async def fetch(self, task: object) -> object:  # type: ignore[override]
            busy[0] += 1
            seen.append((clock.now() - began_at, busy[0]))
            try:
                return await super().fetch(task)  # type: ignore[arg-type]
            finally:
                busy[0] -= 1

    def places() -> int:
        return 20 if 10 <= clock.now() - began_at < 30 else 2

    world = build(expected_s=1.0, per_minute=60_000.0, polls_per_minute=600_000.0, download_places=places)
    world.provider.duration_of = lambda _: 0.1
    world.fetcher = Counting(clock, seconds=1.0)
    world.life = world.new_life()
    began_at = clock.now()
    scheduler = await world.with_jobs(500)
    await scheduler.run()
    assert world.tally.succeeded == 500
    assert max(count for at_s, count in seen if at_s < 10) == 2
    assert max(count for at_s, count in seen if 12 < at_s < 30) == 20
    assert max(count for at_s, count in seen if at_s > 32) == 2
