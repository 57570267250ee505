"""What every request to the API meets before its route: outage, key, plan; and how it is counted.

The order is the provider's: an outage answers everybody, a bad key is refused before it takes room in
the window. The operator's own routes pass. A bug in a route becomes a counted 500, never a log line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.replies import edge_page, error_reply, rate_limited_reply, unauthorized_reply
from engine.simulator.wire import is_gone, reset, stall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.simulator.dialects.dialect import Dialect
    from engine.simulator.scenario import Scenario
    from engine.simulator.world import World

OPERATOR = "/_simulator/"
HISTORY = "/inference-request/"
_WELL_FORMED_KEY = re.compile(r"SG_[0-9a-fA-F]{16}")
_METHOD_NOT_ALLOWED = 405


class Gate:
    """The middleware of the API's origin."""

    def __init__(self, world: World, dialect: Dialect) -> None:
        self._world = world
        self._dialect = dialect

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let the request through to its route, or answer it here."""
        if request.path.startswith(OPERATOR):
            return await handler(request)
        response = await self._refusal(request)
        if response is None:
            response = await routed(self._world, request, handler)
        self._world.books.replies["reset" if is_gone(request) else str(response.status)] += 1
        return response

    async def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        world, now_s = self._world, self._world.clock.now()
        submit = request.method == "POST" and request.path.startswith(self._dialect.submits_below)
        if request.path.startswith(HISTORY):
            world.books.history_asked(now_s)
        else:
            world.books.arrived(now_s, world.scenario.rate.window_s, submit=submit)
        outage = await outage_reply(request, world.scenario)
        if outage is not None:
            return outage
        if (complaint := _key_complaint(self._dialect.key_of(request.headers), world.scenario)) is not None:
            return unauthorized_reply(complaint)
        return self._over_the_plan(request, now_s, submit=submit)

    def _over_the_plan(self, request: web.Request, now_s: float, *, submit: bool) -> web.Response | None:
        world, rate = self._world, self._world.scenario.rate
        if request.path.startswith(HISTORY) or not (submit or rate.counts == "all"):
            return None
        wait_s = world.admit(now_s)
        if wait_s is None:
            return None
        world.books.counts["rate_limited"] += 1
        return rate_limited_reply(rate, wait_s=wait_s, utc_s=world.utc())


async def routed(
    world: World, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let the route answer; its bugs are counted, and what the router refuses gets the provider's envelope."""
    try:
        return await handler(request)
    except web.HTTPException as answer:
        if answer.status == _METHOD_NOT_ALLOWED:
            return edge_page(answer.status)
        return error_reply(answer.status, answer.reason)
    except ConnectionError:  # the client left while it was being answered
        return web.Response()
    except Exception as error:  # noqa: BLE001 (a bug of the simulator must show in its bill)
        world.books.counts["internal_errors"] += 1
        world.books.last_internal_error = repr(error)
        return error_reply(500, "the simulator itself failed")


async def outage_reply(request: web.Request, scenario: Scenario) -> web.StreamResponse | None:
    """Answer as a provider that is away, or None if it is not."""
    match scenario.outage:
        case "none":
            return None
        case "drop":
            return reset(request)
        case "error_503":
            return edge_page(503)
        case "stall":
            return await stall(request, scenario.fault_details.reply_stalled_s)


def _key_complaint(key: str | None, scenario: Scenario) -> str | None:
    if key is None:
        return "API key is missing from the x-api-key header"
    accepted = scenario.access.accepted_keys
    known = key in accepted if accepted else _WELL_FORMED_KEY.fullmatch(key) is not None
    return None if known and not scenario.access.keys_revoked else "API key is invalid or has expired"
