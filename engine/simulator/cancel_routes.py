"""How a job is cancelled, where the vendor offers that.

Whoever deletes a job that has ended deletes its record too, where the vendor says so. Has no faults of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.replies import error_reply, json_reply

if TYPE_CHECKING:
    from engine.simulator.dialects.dialect import CancelRoute, Dialect
    from engine.simulator.world import World


class CancelRoutes:
    """The route by which a job is cancelled."""

    def __init__(self, world: World, dialect: Dialect, route: CancelRoute) -> None:
        self._world = world
        self._dialect = dialect
        self._route = route

    def add_to(self, app: web.Application) -> None:
        """Mount the route."""
        app.router.add_route(self._route.method, self._route.path, self.cancel)

    async def cancel(self, request: web.Request) -> web.Response:
        """End the job, and answer as the vendor does."""
        self._world.books.counts["cancels"] += 1
        job = self._world.find(request.match_info["request_id"])
        if job is None:
            return error_reply(404, f"Request {request.match_info['request_id']} not found")
        before = job.state
        self._world.cancel(job, charged_when=self._route.charged_when, deletes=self._route.deletes)
        worded = self._dialect.cancelled(self._world, job, before)
        return web.Response(status=204) if worded is None else json_reply(worded.body, worded.http_status)
