"""Downloads done by the workers of a fleet: which worker gets which file, and what its answer means.

A worker that joins brings places, one that leaves takes them along, and with them whatever it was doing: that ends as
``FleetError``, which says nothing of the file. A worker whose storage refuses, or whose file does not appear here, is
dismissed. Knows nothing of Ray or of processes: it sends orders and is shown events.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from engine.fleet.messages import (
    Alive,
    Broken,
    Cancel,
    Dismiss,
    Failed,
    Fetch,
    Joined,
    Left,
    Measured,
    Opened,
    Refused,
    Replace,
    Stored,
    Unusable,
)
from engine.media.failures import DownloadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from engine.fleet.messages import Event, Order, Outcome
    from engine.job.records import StoredFile
    from engine.media.downloader import DownloadTask

CANCEL_S = 10.0
"""A worker that does not let go of a file within this time hangs, and is replaced."""


class FleetError(Exception):
    """The fleet could not do it; whether the file can be had is not known."""


@dataclass(slots=True)
class _Member:
    """A worker that is ready, and the files that it has in its hands."""

    name: str
    under_way: set[int] = field(default_factory=set)


class RemoteFetcher:
    """Fetches with whatever workers there are.

    Args:
        places_each: how many files one worker downloads at the same time.
        send: hands an order to the bridge.
        is_visible: says whether a file that a worker stored is there, as it says, when looked at from here.
        on_unfit: called with a worker's name and the reason when it is not used any more.
    """

    def __init__(
        self,
        *,
        places_each: int,
        send: Callable[[Order], None],
        is_visible: Callable[[StoredFile], Awaitable[bool]],
        on_unfit: Callable[[str, str], None],
    ) -> None:
        self._places_each = places_each
        self._send = send
        self._is_visible = is_visible
        self._on_unfit = on_unfit
        self._members: dict[str, _Member] = {}
        self._worker_of: dict[int, str] = {}
        self._answers: dict[int, asyncio.Future[Outcome]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<RemoteFetcher: {self.workers} workers, {self.under_way} of {self.places} places taken>"

    @property
    def workers(self) -> int:
        """How many workers are ready."""
        return len(self._members)

    @property
    def places(self) -> int:
        """How many files all workers together download at the same time."""
        return self._places_each * len(self._members)

    @property
    def under_way(self) -> int:
        """How many files they have in their hands."""
        return sum(len(member.under_way) for member in self._members.values())

    async def fetch(self, task: DownloadTask) -> StoredFile:
        """Return the record of the stored and verified file.

        Raises:
            DownloadError: a worker found that the file cannot be had.
            FleetError: no worker could do it.
        """
        worker = await self._free_worker()
        number = next(self._numbers)
        self._members[worker].under_way.add(number)
        self._worker_of[number] = worker
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        self._send(
            Fetch(
                id=number,
                worker=worker,
                url=task.url,
                name=task.name,
                bytes_expected=task.bytes_expected,
                content_type=task.content_type,
            )
        )
        try:
            outcome = await answer
        except asyncio.CancelledError:
            # Its place stays taken until the worker lets go: else it would be given more than it can do.
            self._send(Cancel(id=number))
            asyncio.get_running_loop().call_later(CANCEL_S, self._replace_if_hanging, number)
            raise
        return await self._judge(worker, outcome)

    async def _judge(self, worker: str, outcome: Outcome) -> StoredFile:
        match outcome:
            case Stored(file=file):
                if await self._is_visible(file):
                    return file
                self._dismiss(worker, f"a file that it stored ({file.path}) is not there when looked at from here")
                raise FleetError("the worker stores on another disk")
            case Failed():
                raise DownloadError(
                    outcome.kind, outcome.message, http_status=outcome.http_status, first_bytes=outcome.first_bytes
                )
            case Broken(reason=reason, disk=disk):
                if disk:
                    self._dismiss(worker, reason)
                raise FleetError(reason)
            case _:
                assert_never(outcome)

    # --- what the bridge says ---------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Joined(worker=worker, name=name):
                self._leave(worker, "another worker took its place")
                self._members[worker] = _Member(name)
                self._wake()
            case Left(worker=worker, reason=reason):
                self._leave(worker, reason)
            case Refused(worker=worker, name=name, message=message):
                self._leave(worker, message)
                self._on_unfit(name, message)
            case Stored() | Failed() | Broken():
                self._settle(event)
            case Opened() | Measured() | Unusable() | Alive():
                pass
            case _:
                assert_never(event)

    def down(self, reason: str) -> None:
        """Take note that the bridge is gone, and with it all workers."""
        for worker in list(self._members):
            self._leave(worker, reason)
        for number in list(self._answers):
            self._settle(Broken(id=number, reason=reason))

    def _leave(self, worker: str, reason: str) -> None:
        member = self._members.pop(worker, None)
        for number in list(member.under_way) if member else ():
            self._settle(Broken(id=number, reason=reason))
        if not self._members:
            self._wake()  # nobody is to wait for

    def _settle(self, outcome: Outcome) -> None:
        answer = self._answers.pop(outcome.id, None)
        worker = self._worker_of.pop(outcome.id, "")
        if worker in self._members:
            self._members[worker].under_way.discard(outcome.id)
        if answer is not None and not answer.done():
            answer.set_result(outcome)
        self._wake()

    # --- places -----------------------------------------------------------------------------------

    async def _free_worker(self) -> str:
        """Return the worker with the least to do, once one has a free place."""
        while True:
            if not self._members:
                raise FleetError("no worker is there")
            worker = min(self._members, key=lambda name: len(self._members[name].under_way))
            if len(self._members[worker].under_way) < self._places_each:
                return worker
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn  # one that is cancelled meanwhile is passed over

    def _wake(self) -> None:
        """Let everybody who waits look again."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _replace_if_hanging(self, number: int) -> None:
        if number in self._answers:
            self._send(Replace(worker=self._worker_of[number]))

    def _dismiss(self, worker: str, reason: str) -> None:
        """Use a worker no more, and say so once."""
        member = self._members.get(worker)
        if member is None:
            return
        self._send(Dismiss(worker=worker))
        self._leave(worker, reason)
        self._on_unfit(member.name, reason)
