"""The output host: public files on an origin of their own, which must never see the key.

Every request that carries a key is written into the bill, whatever it asked for. Downloads misbehave as
the scenario says. Knows nothing of the API's routes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.faults import Fault
from engine.simulator.gate import outage_reply, routed
from engine.simulator.job import Job, JobState
from engine.simulator.ranges import Span, asked_span
from engine.simulator.replies import file_error, ok_page
from engine.simulator.wire import send_pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.simulator.clips import Clip
    from engine.simulator.world import World

_KEY_LIKE = re.compile(r"SG_[0-9a-fA-F]{16}")
_FILE_NAME = re.compile(r"([0-9a-f]{32})-([0-9]{1,2})\.(?:mp4|png|wav)")
_AT_ONCE_BYTES_MAX = 262_144
_BREAK_SHARE_MIN, _BREAK_SHARE_MAX = 0.2, 0.8


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
        subject = f"{job.key}/{index}"
        if self._world.draws.hits(Fault.DOWNLOAD_REDIRECT, subject, nth, job.body):
            return self._redirect(request.match_info["name"], self._world.scenario.downloads.redirect_hops)
        return await self._serve(request, job, subject, nth)

    async def moved(self, request: web.Request) -> web.StreamResponse:
        """Serve a file after a redirect, or redirect once more."""
        found, hops = self._find(request.match_info["name"]), request.match_info["hops"]
        if found is None or not hops.isdecimal():
            return file_error(404, "NoSuchKey")
        if int(hops) > 1:
            return self._redirect(request.match_info["name"], int(hops) - 1)
        job, index = found
        return await self._serve(request, job, f"{job.key}/{index}", job.downloads.get(index, 1) - 1)

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

    async def _serve(self, request: web.Request, job: Job, subject: str, nth: int) -> web.StreamResponse:
        world = self._world

        def hits(fault: Fault) -> bool:
            return world.draws.hits(fault, subject, nth, job.body)

        retention = world.scenario.retention
        gone = world.clock.now() - (job.ended_s or 0.0) >= retention.file_life_s
        if gone or hits(Fault.DOWNLOAD_EXPIRED):
            return file_error(retention.expired_http_status, "AccessDenied")
        if hits(Fault.DOWNLOAD_ERROR_503):
            return file_error(503, "SlowDown")
        if hits(Fault.DOWNLOAD_HTML):
            return ok_page()
        changed = hits(Fault.DOWNLOAD_CHANGED)
        clip = world.clip(request.match_info["name"], f"-changed-{nth}" if changed else "")
        if hits(Fault.DOWNLOAD_EMPTY):
            return web.Response(body=b"", content_type=clip.content_type)
        size_bytes = clip.size_bytes
        if hits(Fault.DOWNLOAD_TRUNCATED):
            size_bytes = self._break_point(subject, nth, size_bytes)
        return await self._send(request, clip, size_bytes=size_bytes, subject=subject, nth=nth, hits=hits)

    async def _send(
        self,
        request: web.Request,
        clip: Clip,
        *,
        size_bytes: int,
        subject: str,
        nth: int,
        hits: Callable[[Fault], bool],
    ) -> web.StreamResponse:
        downloads, details = self._world.scenario.downloads, self._world.scenario.fault_details
        headers = {"Content-Type": clip.content_type}
        strong_etag = f'"{clip.tag}"' if downloads.etag == "strong" else None
        if downloads.etag != "none":
            headers["ETag"] = strong_etag or f'W/"{clip.tag}"'
        span: Span | None = Span(0, size_bytes, partial=False)
        if downloads.ranges:
            headers["Accept-Ranges"] = "bytes"
            if "Range" not in request.headers or not hits(Fault.DOWNLOAD_RANGE_IGNORED):
                span = asked_span(request.headers, size_bytes=size_bytes, strong_etag=strong_etag)
        if span is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size_bytes}"})
        if span.partial:
            headers["Content-Range"] = f"bytes {span.begin}-{span.end - 1}/{size_bytes}"
        stalled = hits(Fault.DOWNLOAD_STALLED)
        breaks = stalled or hits(Fault.DOWNLOAD_DROPPED)
        length_bytes = span.end - span.begin
        bytes_per_s = details.download_slow_bytes_per_s if hits(Fault.DOWNLOAD_SLOW) else downloads.bytes_per_s
        no_length = hits(Fault.DOWNLOAD_NO_LENGTH)
        status = 206 if span.partial else 200
        if request.method == "HEAD":
            return web.Response(status=status, headers={**headers, "Content-Length": str(length_bytes)})
        pieces = clip.pieces(span.begin, span.end)
        if not (breaks or bytes_per_s or no_length) and length_bytes <= _AT_ONCE_BYTES_MAX:
            return web.Response(status=status, headers=headers, body=b"".join(pieces))
        return await send_pieces(
            request,
            pieces,
            status=status,
            headers=headers,
            length_bytes=None if no_length else length_bytes,
            bytes_per_s=bytes_per_s,
            reset_after_bytes=self._break_point(subject, nth, length_bytes) if breaks else None,
            stall_s=details.download_stalled_s if stalled else 0.0,
        )

    def _break_point(self, subject: str, nth: int, size_bytes: int) -> int:
        share = self._world.dice.share("break", subject, nth)
        return int(size_bytes * (_BREAK_SHARE_MIN + (_BREAK_SHARE_MAX - _BREAK_SHARE_MIN) * share))


def _carries_key(request: web.Request, accepted_keys: tuple[str, ...]) -> bool:
    if "x-api-key" in request.headers or "Authorization" in request.headers:
        return True
    text = "\n".join((request.raw_path, *request.headers.values()))
    return _KEY_LIKE.search(text) is not None or any(key in text for key in accepted_keys)
