"""A man in the middle: forwards what the engine asks of the simulated provider, or answers in its stead, as told."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.runs.conftest import jobs, provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from engine.simulator import Simulator

    Answer = Callable[[web.Request], web.StreamResponse | None]

__all__ = ["jobs"]

KEPT_HEADERS = ("x-api-key", "Content-Type")


class Middle:
    """Between the engine and the provider; has the addresses of a provider.

    Attributes:
        answer: answers a request in the provider's stead, or returns None to let it through.
        asked: how often each kind of request came: ``submit``, ``poll``, ``fetch`` or ``other``.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.answer: Answer = lambda _request: None
        self.asked: Counter[str] = Counter()
        self.base_url = ""
        self.history_url = simulator.history_url

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer, or pass on."""
        self.asked[kind_of(request)] += 1
        answered = self.answer(request)
        if answered is not None:
            return answered
        headers = {name: request.headers[name] for name in KEPT_HEADERS if name in request.headers}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, self._simulator.base_url + request.path_qs, headers=headers, data=await request.read()
            ) as reply,
        ):
            return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)


def kind_of(request: web.Request) -> str:
    """Say what a request is about."""
    if request.method == "POST" and request.path.startswith("/v2/"):
        return "submit"
    if request.path.startswith("/v2/requests/"):
        return "poll" if request.path.endswith("/status") else "fetch"
    return "other"


@asynccontextmanager
async def middle(**knobs: Any) -> AsyncIterator[Any]:
    """Run a simulated provider with a man in the middle, a ``Middle`` that stands in for the simulator."""
    async with provider(**knobs) as simulator:
        between = Middle(simulator)
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", between.handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            between.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield between
        finally:
            await runner.cleanup()


def once(kind: str, response: Callable[[], web.StreamResponse], *, times: int = 1) -> Answer:
    """Answer the first ``times`` requests of a kind with a response."""
    left = times

    def answer(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if kind_of(request) != kind or left == 0:
            return None
        left -= 1
        return response()

    return answer


def always(kind: str, response: Callable[[], web.StreamResponse]) -> Answer:
    """Answer every request of a kind with a response."""
    return lambda request: response() if kind_of(request) == kind else None


def lanes_of(opened: Any) -> Any:
    """Return the lanes of a run that has one provider."""
    (scheduler,) = opened._scheduler._by_provider.values()
    return scheduler._given.lanes
