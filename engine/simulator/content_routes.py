"""The bytes of a result at an address of the API itself, which asks for the key like any other.

A file is sent as on the output host, with the same faults; a redirect leads to that host, which must not see the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.download import Download
from engine.simulator.faults import Fault
from engine.simulator.job import JobState
from engine.simulator.replies import error_reply

if TYPE_CHECKING:
    from engine.simulator.world import World


class ContentRoutes:
    """The route of a video's content."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_get("/v1/videos/{request_id}/content", self.content)

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Serve the file of a completed job."""
        world = self._world
        job = world.find(request.match_info["request_id"])
        if job is None or job.state is not JobState.COMPLETED:
            return error_reply(404, "Video is not ready or does not exist")
        nth = job.downloads.get(0, 0)
        if request.method == "GET":
            job.downloads[0] = nth + 1
            world.books.counts["downloads"] += 1
        download = Download(world, request, job, 0, nth)
        if download.hits(Fault.DOWNLOAD_REDIRECT):
            name = world.file_urls(job)[0].rpartition("/")[2]
            location = world.scenario.downloads.redirect_location or f"{world.media_url}/moved/1/{name}"
            return web.Response(status=302, headers={"Location": location})
        return await download.answer()
