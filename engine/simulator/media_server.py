"""The output host: public files on an origin of their own, which must never see the key.

Every request that carries a key is written into the bill, whatever it asked for. How a file is
sent is a ``Download``. Knows nothing of the API's routes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.download import Download
from engine.simulator.faults import Fault
from engine.simulator.gate import outage_reply, routed
from engine.simulator.job import Job, JobState
from engine.simulator.replies import file_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.simulator.world import World

_KEY_LIKE = re.compile(r"SG_[0-9a-fA-F]{16}")
_FILE_NAME = re.compile(r"([0-9a-f]{32})-([0-9]{1,2})\.(?:mp4|png|wav)")


class MediaServer:
    """The routes of the output host."""

    def __init__(self, world: World) -> None:
        self._world = world

    def app(self) -> web.Application:
        """Return the application of the output host's origin."""
        app = web.Application(middlewares=[self._watch])
        app.router.add_get("/generations/{name}", self.file)
        app.router.add_get("/moved/{hops}/{name}", self.moved)
        app.router.add_get("/assets/{name}", self.asset)
        return app

    @web.middleware
    async def _watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if _carries_key(request, self._world.scenario.access.accepted_keys):
            self._world.books.leaked(f"{request.method} {request.path}")
        outage = await outage_reply(request, self._world.scenario)
        if outage is not None:
            return outage
        return await routed(self._world, request, handler)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve an output file."""
        found = self._find(request.match_info["name"])
        if found is None:
            return file_error(404, "NoSuchKey")
        job, index = found
        nth = job.downloads.get(index, 0)
        if request.method == "GET":
            job.downloads[index] = nth + 1
            self._world.books.counts["downloads"] += 1
        download = Download(self._world, request, job, index, nth)
        if download.hits(Fault.DOWNLOAD_REDIRECT):
            return self._redirect(request.match_info["name"], self._world.scenario.downloads.redirect_hops)
        return await download.answer()

    async def moved(self, request: web.Request) -> web.StreamResponse:
        """Serve a file after a redirect, or redirect once more."""
        found, hops = self._find(request.match_info["name"]), request.match_info["hops"]
        if found is None or not hops.isdecimal():
            return file_error(404, "NoSuchKey")
        if int(hops) > 1:
            return self._redirect(request.match_info["name"], int(hops) - 1)
        job, index = found
        return await Download(self._world, request, job, index, job.downloads.get(index, 1) - 1).answer()

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """Serve an uploaded file."""
        stored = self._world.assets.get(request.match_info["name"])
        if stored is None:
            return file_error(404, "NoSuchKey")
        content_type, content = stored
        return web.Response(body=content, content_type=content_type)

    def _redirect(self, name: str, hops_left: int) -> web.Response:
        target = self._world.scenario.downloads.redirect_location
        location = target or f"{self._world.media_url}/moved/{hops_left}/{name}"
        return web.Response(status=302, headers={"Location": location})

    def _find(self, name: str) -> tuple[Job, int] | None:
        match = _FILE_NAME.fullmatch(name)
        job = self._world.jobs.get(match[1]) if match else None
        if match is None or job is None or int(match[2]) >= job.files_count:
            return None
        return (job, int(match[2])) if job.state is JobState.COMPLETED else None


def _carries_key(request: web.Request, accepted_keys: tuple[str, ...]) -> bool:
    if "x-api-key" in request.headers or "Authorization" in request.headers:
        return True
    text = "\n".join((request.raw_path, *request.headers.values()))
    return _KEY_LIKE.search(text) is not None or any(key in text for key in accepted_keys)
