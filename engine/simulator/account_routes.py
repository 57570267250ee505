"""Credits and uploads: the API's small change.

``GET /v1/get-user-credits`` shows the balance without what running jobs block. ``POST /upload-asset``
keeps the newest uploads and serves them from the output host. Knows nothing of jobs.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson

from engine.simulator.faults import UPLOAD, Fault
from engine.simulator.replies import JSON, edge_page, error_reply, json_reply
from engine.simulator.wire import reset

if TYPE_CHECKING:
    from aiohttp import web

    from engine.simulator.world import World

_ASSETS_KEPT_MAX = 256
_DATA_URL = re.compile(r"data:([a-z0-9.+-]+)/([a-z0-9.+-]+);base64,", re.IGNORECASE)


class AccountRoutes:
    """Routes that create no job."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add_to(self, app: web.Application) -> None:
        """Mount the routes."""
        app.router.add_get("/v1/get-user-credits", self.credits)
        app.router.add_post("/upload-asset", self.upload)

    async def credits(self, _request: web.Request) -> web.StreamResponse:
        """Answer the visible balance."""
        self._world.books.counts["credit_checks"] += 1
        balance_usd = round(self._world.credits.balance_usd, 6)
        return json_reply({"credits": balance_usd, "free-credits": self._world.scenario.credits.free_usd})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Keep files that come as data URLs, and answer where they are."""
        self._world.books.counts["upload_requests"] += 1
        match self._world.draws.first(UPLOAD, "upload", self._world.books.counts["upload_requests"], b""):
            case Fault.UPLOAD_UNAVAILABLE:
                return edge_page(503)
            case Fault.UPLOAD_RATE_LIMITED:
                return error_reply(429, "Too many requests")
            case Fault.UPLOAD_LOST:
                return reset(request)
        if request.content_type != JSON:
            return error_reply(406, "Invalid content type")
        data_urls = _data_urls(await request.read())
        if data_urls is None:
            return error_reply(400, "data_urls must be a list of data URLs")
        try:
            urls = [self._keep(data_url) for data_url in data_urls]
            self._world.books.counts["uploads"] += len(urls)
        except (ValueError, binascii.Error):
            return error_reply(400, "a data URL cannot be read")
        return json_reply({self._world.scenario.upload_reply_key: urls, "message": "File(s) uploaded"})

    def _keep(self, data_url: str) -> str:
        match = _DATA_URL.match(data_url)
        if match is None:
            raise ValueError("not a base64 data URL")
        content = b64decode(data_url[match.end() :], validate=True)
        extension = re.sub(r"[^a-z0-9].*", "", match[2].lower().removeprefix("x-")) or "bin"
        name = f"{sha256(content).hexdigest()[:32]}.{extension}"
        assets = self._world.assets
        assets[name] = (f"{match[1]}/{match[2]}".lower(), content)
        while len(assets) > _ASSETS_KEPT_MAX:
            del assets[next(iter(assets))]
        return f"{self._world.media_url}/assets/{name}"


def _data_urls(raw: bytes) -> list[str] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    urls = value.get("data_urls") if isinstance(value, dict) else None
    return urls if isinstance(urls, list) and all(isinstance(url, str) for url in urls) else None
