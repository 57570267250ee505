"""A fleet for one run: the bridge, its workers, and this machine beside them, as one fetcher.

Opening it waits for nobody: downloads run here until the first worker is ready, and again whenever none is. What a
person has to know is said once. Knows nothing of jobs or money, and never has the key.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from engine import __version__
from engine.fleet.fallback import Fallback
from engine.fleet.marker import marked
from engine.fleet.messages import Joined, Left, Open, Opened, Unusable
from engine.fleet.process import COMMAND, BridgeProcess
from engine.fleet.remote import RemoteFetcher

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger

    from engine.clock import Clock
    from engine.fleet.address import FleetAddress
    from engine.fleet.messages import Event
    from engine.job.records import StoredFile
    from engine.media.downloader import DownloadTask
    from engine.media.fetcher import Fetcher

DEADLINE_S = 900.0
"""Time for the largest video over a slow line; whatever is dead or gone is noticed long before."""
LOOKS, LOOK_S = 10, 0.3
"""A shared disk may show another machine's file a moment late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where files go, and what is asked of the downloads, here and on every worker.

    Attributes:
        media: the directory.
        path_prefix: what stands before a file's name in its record.
        places: files that one machine downloads at the same time.
    """

    media: Path
    path_prefix: str
    places: int
    allow_private_hosts: bool
    bytes_max: int
    reserve_bytes: int


def opening(address: FleetAddress, storage: Storage, marker: tuple[str, str]) -> Open:
    """Return what a bridge is told first; ``marker`` is the name of the file in the storage, and what it holds."""
    return Open(
        address=address.text,
        workers=address.workers,
        places=storage.places,
        engine=__version__,
        media_dir=str(storage.media.absolute()),
        path_prefix=storage.path_prefix,
        marker=marker[0],
        marker_text=marker[1],
        allow_private_hosts=storage.allow_private_hosts,
        bytes_max=storage.bytes_max,
        reserve_bytes=storage.reserve_bytes,
    )


class Fleet:
    """A fleet that is opened for one run; an async context manager.

    Args:
        local: the downloader of this machine.
        needs_key: whether a file is served to whoever shows a key; such a file is fetched here.
        environment: what the bridge and private workers may see; no key.
        announce: tells the person something worth a line.
        command: what to start as the bridge.
    """

    def __init__(
        self,
        address: FleetAddress,
        storage: Storage,
        local: Fetcher,
        *,
        needs_key: Callable[[DownloadTask], bool],
        environment: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
        log: FilteringBoundLogger,
        announce: Callable[[str], None],
        deadline_s: float = DEADLINE_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._address = address
        self._storage = storage
        self._clock = clock
        self._log = log
        self._announce = announce
        self._said: set[str] = set()
        self._stack = ExitStack()
        self._bridge = BridgeProcess(
            environment=environment,
            clock=clock,
            rng=rng,
            log=log,
            on_event=self._take,
            on_down=self._down,
            command=command,
        )
        self._remote = RemoteFetcher(
            places_each=storage.places, send=self._bridge.send, is_visible=self._is_visible, on_unfit=self._unfit
        )
        self._fallback = Fallback(
            self._remote, local, deadline_s=deadline_s, places=storage.places, needs_key=needs_key, log=log
        )
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        marker = self._stack.enter_context(marked(self._storage.media))
        order = opening(self._address, self._storage, marker)
        self._keeping = asyncio.create_task(self._bridge.run(order), name="fleet-bridge")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        fallback = self._fallback
        self._log.info("fleet_closed", fetched_there=fallback.fetched_there, fetched_here=fallback.fetched_here)
        self._stack.close()

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Fetch with the fleet, or here; see ``Fallback``."""
        return await self._fallback.fetch(task)

    @property
    def places(self) -> int:
        """How many files are downloaded at the same time."""
        return max(self._storage.places, self._remote.places)

    @property
    def pid(self) -> int | None:
        """The process id of the bridge; None while there is none."""
        return self._bridge.pid

    @property
    def sentence(self) -> str:
        """How the fleet does, for people."""
        remote, here = self._remote, self._fallback.fetched_here
        instead = f", {here} fetched here instead" if here else ""
        if not remote.workers:
            return f"no {self._address.members[:-1]} is ready{instead}"
        members = self._address.members if remote.workers > 1 else self._address.members[:-1]
        return f"{remote.workers} {members}, {remote.places} places, {remote.under_way} under way{instead}"

    # --- what is heard of it ----------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case Opened():
                self._log.info(
                    "fleet_opened",
                    address=self._address.text,
                    ray=event.ray,
                    python=event.python,
                    workers=event.workers,
                )
                if not event.secured:
                    self._say("the fleet asks nobody for a token: whoever reaches it can run programs on its nodes")
            case Joined():
                self._log.info("fleet_joined", worker=event.worker, name=event.name)
            case Left():
                self._log.warning("fleet_left", worker=event.worker, reason=event.reason)
            case Unusable():
                self._log.warning("fleet_unusable", cause=event.cause, reason=event.message)
                self._say(f"no fleet at {self._address.text}: {event.message}; downloads run here")
        self._remote.take(event)

    def _down(self, reason: str) -> None:
        self._remote.down(f"the bridge to the fleet is gone: {reason}")

    def _unfit(self, name: str, reason: str) -> None:
        self._log.warning("fleet_unfit", name=name, reason=reason)
        self._say(f"the fleet's {name} is not used: {reason}; the run goes on without it")

    def _say(self, text: str) -> None:
        """Tell the person, each thing once."""
        if text not in self._said:
            self._said.add(text)
            self._announce(text)

    async def _is_visible(self, file: StoredFile) -> bool:
        """Look for a file that a worker stored."""
        path = self._storage.media / file.path.rpartition("/")[2]
        for look in range(LOOKS):
            if look:
                await self._clock.sleep(LOOK_S)
            with suppress(OSError):
                if (await asyncio.to_thread(path.stat)).st_size == file.bytes:
                    return True
        return False
