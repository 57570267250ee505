"""The report's page, fed live from the ledger, with buttons that steer the run; on the loopback address only.

Its address holds a token, so that nobody else on the machine, and no page of another origin, can read or steer the
run. It gives its orders by the control journal, as ``engine control`` does: it works beside the process that works, in
it, or when nobody does.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

import msgspec
import orjson
from aiohttp import web

from engine.console.report.formats import as_html, document, gallery
from engine.console.report.job_rows import job_page
from engine.console.report_command import figures, snapshot
from engine.errors import UsageError
from engine.ledger.schema import facts_in
from engine.run.control_journal import ControlJournal, Order, standing_in
from engine.store_url import is_store_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from engine.clock import Clock
    from engine.disk.run_dir import RunDir

HOST = "127.0.0.1"
BUTTONS = frozenset({"pause", "resume", "drain"})
ORDER_BYTES_MAX = 1_000
LINE_DIGITS_MAX = 18


class Dashboard:
    """Serves one run; an async context manager.

    Args:
        port: on the loopback address; 0 takes a free one.

    Attributes:
        url: where the page is, once it is open; holds the token.
    """

    def __init__(self, directory: RunDir, *, port: int, clock: Clock) -> None:
        self._directory = directory
        self._port = port
        self._clock = clock
        self._token = secrets.token_urlsafe(16)
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        """Begin to serve.

        Raises:
            UsageError: the port is taken.
        """
        application = web.Application(client_max_size=ORDER_BYTES_MAX, middlewares=[_private])
        application.router.add_get(f"/{self._token}/", self._page)
        application.router.add_get(f"/{self._token}/data.json", self._data)
        application.router.add_post(f"/{self._token}/control", self._control)
        application.router.add_get(f"/{self._token}/" + "{path:.+}", self._file)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, HOST, self._port).start()
        except OSError as error:
            await self._stack.aclose()
            raise UsageError(
                f"the port {self._port} of the dashboard cannot be used ({error.strerror})",
                hint="choose another, or 0 for any that is free",
            ) from error
        self.url = f"http://{HOST}:{runner.addresses[0][1]}/{self._token}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _page(self, request: web.Request) -> web.Response:
        def page(from_line: int) -> str:
            root = self._directory.root
            with snapshot(self._directory) as db:
                found = figures(db, self._directory)
                return as_html(found, job_page(db, from_line=from_line), root=root, beside=root, live=True)

        return web.Response(text=await asyncio.to_thread(page, _from_line(request)), content_type="text/html")

    async def _data(self, request: web.Request) -> web.Response:
        """Give the document; without its jobs unless they are asked for, because they are nearly all of it."""

        def data(from_line: int, *, jobs: bool) -> bytes:
            root = self._directory.root
            with snapshot(self._directory) as db:
                whole = document(figures(db, self._directory), root=root)
                if jobs:
                    whole |= gallery(job_page(db, from_line=from_line), root=root, beside=root)
                asked = standing_in(ControlJournal(self._directory.control), facts_in(db))
            return orjson.dumps({**whole, "paused": asked.paused_utc is not None})

        body = await asyncio.to_thread(data, _from_line(request), jobs="jobs" in request.query)
        return web.Response(body=body, content_type="application/json")

    async def _control(self, request: web.Request) -> web.Response:
        with suppress(msgspec.ValidationError, msgspec.DecodeError):
            action = msgspec.json.decode(await request.read(), type=dict[str, str]).get("action", "")
            if action in BUTTONS:
                order = msgspec.convert({"utc": self._clock.utc(), "action": action}, Order)
                await asyncio.to_thread(ControlJournal(self._directory.control).give, [order])
                return web.json_response({"asked": action})
        raise web.HTTPBadRequest(text=f"the action must be one of {', '.join(sorted(BUTTONS))}")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Serve a file that the ledger names, and no other."""
        path = request.match_info["path"]
        if is_store_url(path):
            raise web.HTTPNotFound  # it is not here
        known = await asyncio.to_thread(self._names, path)
        if not known:
            raise web.HTTPNotFound
        return web.FileResponse(self._directory.root / path, headers={"Content-Type": known})

    def _names(self, path: str) -> str:
        """Return the media type of a file that the ledger names; empty if it names none of this path."""
        from engine.ledger.schema import open_for_reading  # noqa: PLC0415

        db = open_for_reading(self._directory.ledger)
        try:
            row = db.execute("SELECT content_type FROM file WHERE path = ?", (path,)).fetchone()
        finally:
            db.close()
        return str(row[0]) if row else ""


def _from_line(request: web.Request) -> int:
    """Return the line of the input that the gallery begins with."""
    asked = request.query.get("from_line", "1")
    if not asked.isascii() or not asked.isdigit() or len(asked) > LINE_DIGITS_MAX:
        raise web.HTTPBadRequest(text="from_line must be the number of a line")
    return int(asked)


@web.middleware
async def _private(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let nobody keep what is served, frame it, or learn its address."""
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    return response
