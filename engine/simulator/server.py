"""The simulator as one object: two listening sockets, the routes, and the world behind them.

Lives in the event loop that starts it, next to the engine if wanted; prints nothing and logs nothing.
The API and the output host have a port each, so that they are two origins. With a journal the provider
outlives its process: what was accepted is still known at the next start, and went on meanwhile.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from engine.simulator.account_routes import AccountRoutes
from engine.simulator.cancel_routes import CancelRoutes
from engine.simulator.clock import MachineClock
from engine.simulator.content_routes import ContentRoutes
from engine.simulator.dialects import DIALECTS
from engine.simulator.gate import Gate
from engine.simulator.history_routes import HistoryRoutes
from engine.simulator.journal import Journal, JournalError, Line, Start
from engine.simulator.media_server import MediaServer
from engine.simulator.operator_routes import OperatorRoutes
from engine.simulator.poll_routes import PollRoutes
from engine.simulator.submit_routes import SubmitRoutes
from engine.simulator.sync_routes import SyncRoutes
from engine.simulator.timestamps import Notation, write_instant
from engine.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from engine.simulator.bill import Bill
    from engine.simulator.clock import Clock
    from engine.simulator.scenario import Scenario

_BACKLOG = 4096  # with the usual 128, two hundred connects at once wait for a second
_BODY_BYTES_MAX = 64 * 2**20
_GOODBYE_S = 0.05  # for handlers that are still answering when the server stops

_silent = logging.getLogger("engine.simulator.silent")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Simulator:
    """A local provider. Use as an async context manager, or call ``start`` and ``stop``."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        media_port: int = 0,
        clock: Clock | None = None,
        journal: Path | None = None,
    ) -> None:
        self._host = host
        self._ports = (port, media_port)
        self._ports_before = (0, 0)
        self._journal = Journal(journal) if journal is not None else None
        self._world = World(scenario, clock or MachineClock())
        self._runners: list[web.AppRunner] = []
        self._sites: list[web.SockSite] = []
        self._listeners: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Remember, and listen on both ports; the URLs are known from here on.

        Raises:
            JournalError: the journal is damaged, or another simulator holds it.
            OSError: a port is taken, or the journal cannot be opened.
        """
        try:
            if self._journal is not None:
                self._remember(self._journal)
            await self._mount(self._api())
            await self._mount(MediaServer(self._world).app())
            self._bind()
            self._world.base_url, self._world.media_url = (f"http://{self._host}:{port}" for port in self._ports)
            self._world.begin(self._ports)
            await self._answer()
        except (OSError, JournalError):  # leave nothing half open behind
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything; unfinished jobs end here, or go on in the journal."""
        self._world.stop()
        self._sites.clear()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._unbind()
        if self._journal is not None:
            self._journal.close()

    async def refuse_connections(self) -> None:
        """Stop listening and cut what is open; jobs go on, and the ports are kept."""
        for site in self._sites:
            await site.stop()
        self._sites.clear()
        for runner in self._runners:
            assert runner.server is not None
            for connection in list(runner.server.connections):
                connection.force_close()

    async def accept_connections(self) -> None:
        """Listen again on the same ports."""
        self._bind()
        await self._answer()

    @property
    def base_url(self) -> str:
        """The API's origin."""
        return self._started(self._world.base_url)

    @property
    def history_url(self) -> str:
        """What precedes ``/request-history``."""
        return f"{self.base_url}/inference-request"

    @property
    def media_url(self) -> str:
        """The output host's origin."""
        return self._started(self._world.media_url)

    @property
    def scenario(self) -> Scenario:
        """The scenario in force."""
        return self._world.scenario

    def bill(self, *, with_bodies: bool = True) -> Bill:
        """Return what was counted so far."""
        return self._world.bill(with_bodies=with_bodies)

    def change(self, overrides: Mapping[str, object]) -> None:
        """Change knobs while running, by (dotted) key."""
        self._world.change(overrides)

    def add_credits(self, amount_usd: float) -> None:
        """Top the account up."""
        self._world.top_up(amount_usd)

    async def idle(self) -> None:
        """Wait until every accepted job is at its end; a stuck job never is."""
        await self._world.idle()

    def _remember(self, journal: Journal) -> None:
        journal.open()
        self._world = World(self._world.scenario, self._world.clock)  # what it knew is in the journal too
        self._world.remember(self._noting_ports(journal.lines()))
        self._world.write_down = journal.write

    def _noting_ports(self, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if isinstance(line, Start) and self._ports_before == (0, 0):
                self._ports_before = line.ports
            yield line

    async def _mount(self, app: web.Application) -> None:
        app.on_response_prepare.append(self._stamp)
        runner = web.AppRunner(
            app, access_log=None, logger=_silent, handler_cancellation=True, shutdown_timeout=_GOODBYE_S
        )
        await runner.setup()
        self._runners.append(runner)

    def _bind(self) -> None:
        """Take both ports; neither is answered before both are known, because replies name both."""
        self._unbind()
        for port, port_before in zip(self._ports, self._ports_before, strict=True):
            self._listeners.append(self._listener(port, port_before))
        api, media = (listener.getsockname()[1] for listener in self._listeners)
        self._ports = (api, media)

    def _unbind(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _listener(self, port: int, port_before: int) -> socket.socket:
        if not port and port_before:
            # If somebody else has it by now, any other will do: URLs that were given out are dead then, but
            # the jobs are worth more than they are, and can be found by id and in the history. The first
            # line stays as it is, so that a later start brings the oldest URLs back.
            with suppress(OSError):
                return socket.create_server((self._host, port_before), backlog=_BACKLOG)
        return socket.create_server((self._host, port), backlog=_BACKLOG)

    async def _answer(self) -> None:
        for runner, listener in zip(self._runners, self._listeners, strict=True):
            site = web.SockSite(runner, listener, backlog=_BACKLOG)
            await site.start()
            self._sites.append(site)

    def _api(self) -> web.Application:
        world, dialect = self._world, DIALECTS[self._world.scenario.dialect]
        app = web.Application(middlewares=[Gate(world, dialect).middleware], client_max_size=_BODY_BYTES_MAX)
        OperatorRoutes(world).add_to(app)  # first, because the routes of a dialect may match anything
        submits = SubmitRoutes(world, dialect)
        if dialect.name in ("segmind", "segmind-sync"):
            for routes in (HistoryRoutes, AccountRoutes):
                routes(world).add_to(app)
            SyncRoutes(world, submits).add_to(app)
        if dialect.status_path:
            submits.add_to(app)
            PollRoutes(world, dialect).add_to(app)
        if dialect.name == "openai":
            ContentRoutes(world).add_to(app)
        if dialect.cancel is not None:
            CancelRoutes(world, dialect, dialect.cancel).add_to(app)
        return app

    async def _stamp(self, _request: web.Request, response: web.StreamResponse) -> None:
        if self._world.scenario.clock_offset_s:
            response.headers["Date"] = write_instant(self._world.utc(), Notation.HTTP_DATE)

    def _started(self, url: str) -> str:
        if not url:
            raise RuntimeError("the simulator is not started")
        return url
