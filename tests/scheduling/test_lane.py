"""The pace of requests: never above the limit in any minute, never in a burst, the best offer first."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from engine.scheduling.breaker import OUTAGE_MAX_S
from engine.scheduling.lane import Lane, Urgency
from engine.scheduling.pace import Pace, Permit
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from engine.scheduling.lane import Offer
    from tests.virtual_clock import VirtualClock


class Bench:
    """A lane, and what it let out: (when, under which epoch)."""

    def __init__(
        self,
        clock: VirtualClock,
        rng: random.Random,
        *,
        per_minute: float = 60.0,
        concurrency: int = 64,
        adaptive: bool = True,
        takes_s: float = 0.01,
    ) -> None:
        self.clock = clock
        pace = Pace(per_minute, adaptive=adaptive, discover=False, clock=clock)
        self.lane = Lane("test", pace=pace, concurrency=concurrency, clock=clock, rng=rng)
        self.takes_s = takes_s
        self.out: list[float] = []
        self.names: list[str] = []
        self.permits: list[Permit] = []
        self.under_way = 0
        self.under_way_peak = 0

    def offer(self, urgency: Urgency = Urgency.SUBMIT, name: str = "", *, value: float = 0.0) -> Offer:
        return self.lane.offer(urgency, partial(self._request, name), value=value)

    async def _request(self, name: str, permit: Permit) -> None:
        self.out.append(self.clock.now())
        self.names.append(name)
        self.permits.append(permit)
        self.under_way += 1
        self.under_way_peak = max(self.under_way_peak, self.under_way)
        await self.clock.sleep(self.takes_s)
        self.under_way -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(self.lane.run(tasks))
            yield
            loop.cancel()

    def busiest_minute(self) -> int:
        return max(sum(1 for other in self.out if moment <= other < moment + 60) for moment in self.out)

    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.out)]


@pytest.mark.parametrize("per_minute", [5.0, 50.0, 600.0])
def test_no_window_of_a_minute_holds_more_than_the_limit_and_nearly_all_of_it_is_used(
    clock: VirtualClock, rng: random.Random, per_minute: float
) -> None:
    @on_virtual_clock
    async def check() -> None:
        bench = Bench(clock, rng, per_minute=per_minute)
        async with bench.running():
            for _ in range(int(6 * per_minute)):
                bench.offer()
            await clock.sleep(300)
        assert bench.busiest_minute() <= per_minute
        assert len(bench.out) >= 0.95 * 5 * per_minute

    check()


@on_virtual_clock
async def test_an_idle_lane_saves_nothing_up_for_a_burst(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        await clock.sleep(3_600)
        for _ in range(60):
            bench.offer()
        await clock.sleep(70)
    assert min(bench.gaps()) > 0.99


@on_virtual_clock
async def test_random_offers_never_exceed_the_limit(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, per_minute=30)
    async with bench.running():
        for _ in range(400):
            for _ in range(rng.choice((0, 0, 1, 5, 40))):
                bench.offer(rng.choice(list(Urgency)))
            if rng.random() < 0.05:
                bench.lane.throttled(Permit(rng.randrange(3)), rng.uniform(0, 30))
            if rng.random() < 0.5:
                bench.lane.accepted(rng.choice(bench.permits or [Permit()]))
            await clock.sleep(rng.expovariate(0.2))
        for urgency in Urgency:
            bench.lane.close_class(urgency)
    assert bench.busiest_minute() <= 30


@on_virtual_clock
async def test_the_best_offer_goes_first_by_class_then_value_then_age(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        bench.offer(Urgency.DUE, "first of all, while nobody else is there")
        await clock.sleep(0.5)
        bench.offer(Urgency.DUE, "due")
        bench.offer(Urgency.SUBMIT, "submit 1")
        bench.offer(Urgency.SUBMIT, "submit 2")
        bench.offer(Urgency.LIKELY_DONE, "likely .9", value=0.9)
        bench.offer(Urgency.LIKELY_DONE, "likely .99", value=0.99)
        bench.offer(Urgency.FRESH_RESULT, "fresh result")
        bench.offer(Urgency.AGEING, "ageing result")
        await clock.sleep(10)
    assert bench.names[1:] == [
        "ageing result",
        "submit 1",
        "submit 2",
        "fresh result",
        "likely .99",
        "likely .9",
        "due",
    ]


@on_virtual_clock
async def test_an_offer_that_is_raised_while_it_waits_goes_once_and_in_its_new_place(
    clock: VirtualClock, rng: random.Random
) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        bench.offer(Urgency.SUBMIT, "now")
        await clock.sleep(0.5)
        raised = bench.offer(Urgency.DUE, "raised", value=0.1)
        bench.offer(Urgency.SUBMIT, "submit")
        bench.lane.rank(raised, Urgency.AGEING, 0.0)
        await clock.sleep(10)
        bench.lane.rank(raised, Urgency.AGEING, 1.0)  # gone: nothing happens
        await clock.sleep(10)
    assert bench.names == ["now", "raised", "submit"]


@on_virtual_clock
async def test_the_choice_is_made_at_the_last_moment(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, per_minute=6)
    async with bench.running():
        bench.offer(Urgency.SUBMIT, "a")
        bench.offer(Urgency.SUBMIT, "b")
        await clock.sleep(5)
        bench.offer(Urgency.AGEING, "came later, matters more")
        await clock.sleep(30)
    assert bench.names == ["a", "came later, matters more", "b"]


@on_virtual_clock
async def test_requests_are_told_the_pace_they_were_sent_under(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        bench.offer()
        await clock.sleep(2)
        bench.lane.throttled(bench.permits[0], 0.0)
        bench.offer()
        await clock.sleep(5)
    assert [permit.epoch for permit in bench.permits] == [0, 1]


@on_virtual_clock
async def test_only_a_request_that_was_waited_for_presses_the_pace(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        bench.offer()
        await clock.sleep(30)
        for _ in range(3):
            bench.offer()
        await clock.sleep(30)
    assert [permit.pressed for permit in bench.permits] == [False, True, True, True]


@on_virtual_clock
async def test_a_lane_that_does_not_adapt_waits_but_keeps_its_pace(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, adaptive=False)
    bench.lane.throttled(Permit(), 7.0)
    assert (bench.lane.per_minute, bench.lane.open_in_s) == (60.0, 7.0)


@on_virtual_clock
async def test_a_halved_pace_is_kept_and_grows_back_while_it_is_used(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    bench.lane.throttled(Permit(), 0.0)
    async with bench.running():
        for _ in range(10):
            bench.offer()
        await clock.sleep(25)
    assert min(bench.gaps()) > 1.99
    for _ in range(60):
        bench.lane.accepted(bench.lane.pace.permit(pressed=True))
    assert bench.lane.per_minute > 0.97 * 60.0


@on_virtual_clock
async def test_a_change_of_pace_lets_out_no_burst(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        for _ in range(2_000):
            bench.offer()
        for step in range(300):
            if step % 7 == 0:
                bench.lane.throttled(bench.lane.pace.permit(pressed=True), 0.0)
            bench.lane.accepted(bench.lane.pace.permit(pressed=True))
            await clock.sleep(rng.uniform(0, 3))
        bench.lane.close_class(Urgency.SUBMIT)
    assert min(bench.gaps()) > 0.99


@on_virtual_clock
async def test_nothing_goes_out_before_the_servers_word(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        for _ in range(5):
            bench.offer()
        await clock.sleep(1.5)
        before = len(bench.out)
        bench.lane.throttled(Permit(), 40.0)
        bench.lane.hold_until(10.0)  # an earlier word does not shorten a later one
        await clock.sleep(60)
    later = bench.out[before:]
    assert later
    assert min(later) >= 41.5


@on_virtual_clock
async def test_a_request_already_at_the_gate_is_held_too(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, per_minute=6)
    async with bench.running():
        bench.offer()
        bench.offer()
        await clock.sleep(5)  # the second waits for its turn
        bench.lane.hold_until(100.0)
        await clock.sleep(120)
    assert len(bench.out) == 2
    assert bench.out[1] >= 100.0


@on_virtual_clock
async def test_an_outage_is_waited_out_longer_each_time_and_named(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    for _ in range(30):
        bench.lane.unreachable("refused")
        assert 0 <= bench.lane.open_in_s <= OUTAGE_MAX_S
    assert "refused" in bench.lane.outage
    bench.lane.accepted(Permit())
    assert bench.lane.outage == ""


@on_virtual_clock
async def test_while_the_provider_is_away_one_probe_at_a_time_tries_it(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, per_minute=6_000, takes_s=10.0)
    async with bench.running():
        for _ in range(50):
            bench.offer()
        await clock.sleep(0.2)
        bench.lane.unreachable("refused")
        before = len(bench.out)
        await clock.sleep(100)
        probes = [after - sent for sent, after in itertools.pairwise(bench.out[before:])]
        assert probes
        assert min(probes) >= 10.0
        bench.lane.accepted(Permit())
        await clock.sleep(20)
    assert len(bench.out) == 50


@on_virtual_clock
async def test_a_closed_class_is_dropped_and_the_others_go_on(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    async with bench.running():
        bench.offer(Urgency.SUBMIT, "submit")
        bench.offer(Urgency.DUE, "poll")
        bench.lane.close_class(Urgency.SUBMIT)
        bench.offer(Urgency.SUBMIT, "submit too late")
        await clock.sleep(5)
        await clock.sleep(5)
    assert bench.names == ["poll"]


@on_virtual_clock
async def test_no_more_requests_are_under_way_than_allowed(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, per_minute=6_000, concurrency=3, takes_s=10.0)
    async with bench.running():
        for _ in range(12):
            bench.offer()
        await clock.sleep(100)
    assert (len(bench.out), bench.under_way_peak) == (12, 3)


@on_virtual_clock
async def test_a_lane_that_is_cancelled_lets_its_requests_end(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng, takes_s=20.0)
    async with bench.running():
        bench.offer()
        bench.offer()
        await clock.sleep(0.1)
    assert (len(bench.out), bench.under_way) == (1, 0)


@on_virtual_clock
async def test_it_shows_what_an_operator_wants(clock: VirtualClock, rng: random.Random) -> None:
    bench = Bench(clock, rng)
    bench.offer()
    assert repr(bench.lane) == "<Lane test: 1 offered, 0 under way, 60.0/min>"
