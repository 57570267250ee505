"""The simulator's own API, under ``/_simulator/``: look at the bill, turn the knobs.

For tests and for the person at the keyboard; the provider has nothing like it. It needs no key and is
answered during an outage. Knows nothing of the provider's routes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import orjson
from aiohttp import web

from engine.simulator.faults import FAULTS
from engine.simulator.overrides import ScenarioError
from engine.simulator.replies import JSON, error_reply, json_reply

if TYPE_CHECKING:
    from engine.simulator.world import World


class OperatorRoutes:
    """Routes for whoever runs the simulator."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_get("/_simulator/health", self.health)
        app.router.add_get("/_simulator/bill", self.bill)
        app.router.add_get("/_simulator/faults", self.faults)
        app.router.add_get("/_simulator/scenario", self.scenario)
        app.router.add_post("/_simulator/scenario", self.change)
        app.router.add_post("/_simulator/credits", self.top_up)

    async def health(self, _request: web.Request) -> web.Response:
        """Answer that the simulator is there, and how busy."""
        world = self._world
        where = {"base_url": world.base_url, "media_url": world.media_url}
        return json_reply(
            {"status": "ok", "scenario": world.scenario.name, "in_flight": world.books.in_flight, **where}
        )

    async def bill(self, request: web.Request) -> web.Response:
        """Answer the bill; ``?bodies=0`` leaves the bodies out."""
        bill = self._world.bill(with_bodies=request.query.get("bodies") != "0")
        return web.Response(body=msgspec.json.encode(bill), content_type=JSON)

    async def faults(self, _request: web.Request) -> web.Response:
        """Answer every fault with its sentence."""
        return json_reply({str(fault): sentence for fault, sentence in FAULTS.items()})

    async def scenario(self, _request: web.Request) -> web.Response:
        """Answer the scenario in force."""
        return web.Response(body=msgspec.json.encode(self._world.scenario), content_type=JSON)

    async def change(self, request: web.Request) -> web.Response:
        """Change knobs, by nested or dotted key."""
        overrides = _object(await request.read())
        if overrides is None:
            return error_reply(400, "the body must be a JSON object of scenario keys")
        try:
            self._world.change(overrides)
        except ScenarioError as error:
            return error_reply(400, str(error))
        return await self.scenario(request)

    async def top_up(self, request: web.Request) -> web.Response:
        """Add credits."""
        order = _object(await request.read())
        amount = order.get("add") if order is not None else None
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount):
            return error_reply(400, 'the body must be {"add": <US dollars>}')
        self._world.top_up(float(amount))
        money = self._world.credits
        return json_reply({"credits": round(money.balance_usd, 6), "reserved": round(money.reserved_usd, 6)})


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
