"""Whatever happens to a fleet costs time, never a job; what it says of a file is the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from engine.fleet.fallback import OF_THE_FILE, Fallback
from engine.fleet.remote import FleetError
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from tests.fake_provider import FakeFetcher
from tests.virtual_clock import on_virtual_clock

if TYPE_CHECKING:
    from engine.job.records import StoredFile
    from engine.media.failures import FailureKind
    from tests.virtual_clock import VirtualClock

TASK = DownloadTask("https://host/a", "a")
DEADLINE_S = 900.0


@dataclass
class Remote:
    """A fleet that does one thing."""

    does: Exception | float
    tasks: list[DownloadTask] = field(default_factory=list)

    async def fetch(self, task: DownloadTask) -> StoredFile:
        self.tasks.append(task)
        if isinstance(self.does, Exception):
            raise self.does
        await asyncio.sleep(self.does)
        return await FakeFetcher(NoTime()).fetch(task)


class NoTime:
    def now(self) -> float:
        return 0.0

    def utc(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None: ...


def fallback(remote: Remote, local: FakeFetcher, *, places: int = 4) -> Fallback:
    return Fallback(
        remote,
        local,
        deadline_s=DEADLINE_S,
        places=places,
        needs_key=lambda task: task.provider == "keyed",
        log=structlog.wrap_logger(None, processors=[_drop]),
    )


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


@on_virtual_clock
async def test_what_the_fleet_stores_is_not_fetched_again(clock: VirtualClock) -> None:
    local = FakeFetcher(clock)
    found = fallback(Remote(1.0), local)
    assert (await found.fetch(TASK)).path == "media/a.mp4"
    assert (local.tasks, found.fetched_there, found.fetched_here) == ([], 1, 0)


@pytest.mark.parametrize("kind", sorted(OF_THE_FILE))
@on_virtual_clock
async def test_what_it_says_of_the_file_is_the_answer(clock: VirtualClock, kind: FailureKind) -> None:
    local = FakeFetcher(clock)
    with pytest.raises(DownloadError) as raised:
        await fallback(Remote(DownloadError(kind, "no")), local).fetch(TASK)
    assert raised.value.kind == kind
    assert local.tasks == []


@pytest.mark.parametrize("trouble", [FleetError("gone"), DownloadError("unreachable", "no"), 10 * DEADLINE_S])
@on_virtual_clock
async def test_anything_else_is_fetched_here(clock: VirtualClock, trouble: Exception | float) -> None:
    local = FakeFetcher(clock)
    found = fallback(Remote(trouble), local)
    await found.fetch(TASK)
    assert (local.tasks, found.fetched_there, found.fetched_here) == ([TASK], 0, 1)
    assert clock.now() < 2 * DEADLINE_S


@on_virtual_clock
async def test_what_holds_its_content_or_needs_a_key_stays_here(clock: VirtualClock) -> None:
    remote, local = Remote(1.0), FakeFetcher(clock)
    await fallback(remote, local).fetch(DownloadTask("data:video/mp4;base64,AAAA", "a"))
    await fallback(remote, local).fetch(DownloadTask("https://host/a", "a", provider="keyed"))
    assert (len(remote.tasks), len(local.tasks)) == (0, 2)
    await fallback(remote, local).fetch(DownloadTask("https://host/a", "a", provider="other"))
    assert (len(remote.tasks), len(local.tasks)) == (1, 2)


@on_virtual_clock
async def test_a_fleet_that_dies_does_not_make_this_machine_do_everything_at_once(clock: VirtualClock) -> None:
    local = FakeFetcher(clock, seconds=1.0)
    found = fallback(Remote(FleetError("gone")), local, places=4)
    await asyncio.gather(*(found.fetch(DownloadTask("https://host/a", f"a{number}")) for number in range(40)))
    assert 10.0 <= clock.now() < 11.0
