"""How one request for an output file is answered: whole, in part, slowly, wrongly or not at all.

Draws each fault once per request, then either refuses or sends. Knows nothing of routes, or of how the
file came to be.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.faults import Fault
from engine.simulator.ranges import Span, asked_span
from engine.simulator.replies import file_error, ok_page
from engine.simulator.wire import send_pieces

if TYPE_CHECKING:
    from engine.simulator.clips import Clip
    from engine.simulator.job import Job
    from engine.simulator.world import World

_AT_ONCE_BYTES_MAX = 262_144
_ENDLESS_PIECE = bytes(65_536)
_BREAK_SHARE_MIN, _BREAK_SHARE_MAX = 0.2, 0.8


class Download:
    """One request for one file of one job."""

    def __init__(self, world: World, request: web.Request, job: Job, index: int, nth: int) -> None:
        self._world = world
        self._request = request
        self._job = job
        self._subject = f"{job.key}/{index}"
        self._nth = nth
        self._name = world.file_urls(job)[index].rpartition("/")[2]

    def hits(self, fault: Fault) -> bool:
        """Say whether this fault happens to this request."""
        return self._world.draws.hits(fault, self._subject, self._nth, self._job.body)

    async def answer(self) -> web.StreamResponse:
        """Refuse or send."""
        return self._refusal() or await self._send()

    def _refusal(self) -> web.Response | None:
        retention = self._world.scenario.retention
        gone = self._world.clock.now() - (self._job.ended_s or 0.0) >= retention.file_life_s
        if gone or self.hits(Fault.DOWNLOAD_EXPIRED):
            return file_error(retention.expired_http_status, "AccessDenied")
        if self.hits(Fault.DOWNLOAD_ERROR_503):
            return file_error(503, "SlowDown")
        if self.hits(Fault.DOWNLOAD_HTML):
            return ok_page()
        if self.hits(Fault.DOWNLOAD_EMPTY):
            return web.Response(body=b"", content_type="video/mp4")
        return None

    async def _send(self) -> web.StreamResponse:
        clip = self._world.clip(self._name, f"-changed-{self._nth}" if self.hits(Fault.DOWNLOAD_CHANGED) else "")
        size_bytes = clip.size_bytes
        if self.hits(Fault.DOWNLOAD_TRUNCATED):
            size_bytes = self._break_point(size_bytes)
        headers = self._headers(clip)
        span = self._span(clip, size_bytes)
        if span is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size_bytes}"})
        if span.partial:
            headers["Content-Range"] = f"bytes {span.begin}-{span.end - 1}/{size_bytes}"
        if self._request.method == "HEAD":
            headers["Content-Length"] = str(span.end - span.begin)
            return web.Response(status=206 if span.partial else 200, headers=headers)
        return await self._body(clip, span, headers)

    async def _body(self, clip: Clip, span: Span, headers: dict[str, str]) -> web.StreamResponse:
        details = self._world.scenario.fault_details
        status, length_bytes = (206 if span.partial else 200), span.end - span.begin
        pieces = clip.pieces(span.begin, span.end)
        pace = self._world.scenario.downloads.bytes_per_s
        bytes_per_s = details.download_slow_bytes_per_s if self.hits(Fault.DOWNLOAD_SLOW) else pace
        stalls, endless = self.hits(Fault.DOWNLOAD_STALLED), self.hits(Fault.DOWNLOAD_ENDLESS)
        breaks = stalls or self.hits(Fault.DOWNLOAD_DROPPED)
        no_length = self.hits(Fault.DOWNLOAD_NO_LENGTH) or endless
        if not (breaks or bytes_per_s or no_length) and length_bytes <= _AT_ONCE_BYTES_MAX:
            return web.Response(status=status, headers=headers, body=b"".join(pieces))
        return await send_pieces(
            self._request,
            repeat(_ENDLESS_PIECE) if endless else pieces,
            status=status,
            headers=headers,
            length_bytes=None if no_length else length_bytes,
            bytes_per_s=bytes_per_s,
            reset_after_bytes=self._break_point(length_bytes) if breaks else None,
            stall_s=details.download_stalled_s if stalls else 0.0,
        )

    def _span(self, clip: Clip, size_bytes: int) -> Span | None:
        asked = "Range" in self._request.headers
        if not self._world.scenario.downloads.ranges or (asked and self.hits(Fault.DOWNLOAD_RANGE_IGNORED)):
            return Span(0, size_bytes, partial=False)
        strong = self._world.scenario.downloads.etag == "strong"
        etag = _etag(clip) if strong else None
        return asked_span(self._request.headers, size_bytes=size_bytes, strong_etag=etag)

    def _headers(self, clip: Clip) -> dict[str, str]:
        downloads = self._world.scenario.downloads
        headers = {"Content-Type": clip.content_type}
        if downloads.ranges:
            headers["Accept-Ranges"] = "bytes"
        if downloads.etag != "none":
            headers["ETag"] = _etag(clip) if downloads.etag == "strong" else f"W/{_etag(clip)}"
        return headers

    def _break_point(self, size_bytes: int) -> int:
        share = self._world.dice.share("break", self._subject, self._nth)
        return int(size_bytes * (_BREAK_SHARE_MIN + (_BREAK_SHARE_MAX - _BREAK_SHARE_MIN) * share))


def _etag(clip: Clip) -> str:
    return f'"{clip.tag}"'
