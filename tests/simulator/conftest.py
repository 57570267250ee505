"""A fast simulator on loopback, a session that talks to it, and one way of asking."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import pytest

from engine.simulator import Scenario, Simulator
from engine.simulator.clock import MachineClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

KEY = "SG_0123456789abcdef"
FAST = {"work.duration_median_s": 0.005, "work.duration_sigma": 0.0}


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)


class SkippingClock:
    """The machine's clock, and jumps on top of it; workers go on in real time."""

    def __init__(self) -> None:
        self._machine = MachineClock()
        self._skipped_s = 0.0

    def now(self) -> float:
        return self._machine.now() + self._skipped_s

    def utc(self) -> float:
        return self._machine.utc() + self._skipped_s

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
def skip(clock: SkippingClock) -> Callable[[float], None]:
    """Let this many seconds pass for every simulator of the test."""
    return clock.skip


@pytest.fixture
def model() -> str:
    return "kling-v1-pro-ai-avatar"


@pytest.fixture
def body() -> dict[str, str]:
    return {"image_url": "https://example.com/a.png", "audio_url": "https://example.com/a.mp3", "prompt": "hello"}


@pytest.fixture
async def simulate(
    clock: SkippingClock,
) -> AsyncIterator[Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]]:
    simulators = []
    async with AsyncExitStack() as stack:

        async def opened(overrides: Mapping[str, object] | None = None) -> tuple[Simulator, aiohttp.ClientSession]:
            scenario = Scenario.load("calm", {**FAST, **(overrides or {})})
            simulator = await stack.enter_async_context(Simulator(scenario, clock=clock))
            session = aiohttp.ClientSession(simulator.base_url, headers={"x-api-key": KEY})
            simulators.append(simulator)
            return simulator, await stack.enter_async_context(session)

        yield opened
    for simulator in simulators:
        bill = simulator.bill(with_bodies=False)
        assert not bill.internal_errors, bill.last_internal_error


@pytest.fixture
def ask() -> Callable[..., Awaitable[Reply]]:
    async def asked(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Reply:
        async with session.request(method, url, allow_redirects=False, **options) as response:
            return Reply(response.status, response.headers, await response.read())

    return asked


@pytest.fixture
def finished(
    ask: Callable[..., Awaitable[Reply]], model: str, body: dict[str, str]
) -> Callable[[Simulator, aiohttp.ClientSession], Awaitable[str]]:
    """Submit the body and return its id once nothing is in flight."""

    async def finished_id(simulator: Simulator, session: aiohttp.ClientSession) -> str:
        reply = await ask(session, "POST", f"/v2/{model}", json=body)
        async with asyncio.timeout(5):
            await simulator.idle()
        return str(reply.json["request_id"])

    return finished_id
