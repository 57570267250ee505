"""Which worker gets which file, and what its answer means: without a bridge, on virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from engine.fleet.messages import Broken, Cancel, Dismiss, Failed, Fetch, Joined, Left, Refused, Replace, Stored
from engine.fleet.remote import CANCEL_S, FleetError, RemoteFetcher
from engine.job.records import StoredFile
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from tests.virtual_clock import on_virtual_clock
from tests.waiting import turns

if TYPE_CHECKING:
    from engine.fleet.messages import Order
    from tests.virtual_clock import VirtualClock

FILE = StoredFile(path="media/a.mp4", url="http://host/a", bytes=4, sha256="00", content_type="video/mp4", checks=())
TASK = DownloadTask("http://host/a", "a", bytes_expected=4, content_type="video/mp4")


class Bench:
    """A fetcher, what it sent, and what it said of workers."""

    def __init__(self, *workers: str, places_each: int = 2, visible: bool = True) -> None:
        self.sent: list[Order] = []
        self.unfit: list[tuple[str, str]] = []
        self.visible = visible
        self.remote = RemoteFetcher(
            places_each=places_each,
            send=self.sent.append,
            is_visible=self._is_visible,
            on_unfit=lambda name, reason: self.unfit.append((name, reason)),
        )
        for worker in workers:
            self.remote.take(Joined(worker=worker, name=f"node {worker}"))

    @property
    def fetches(self) -> list[Fetch]:
        return [order for order in self.sent if isinstance(order, Fetch)]

    async def begun(self, count: int = 1) -> list[asyncio.Task[StoredFile]]:
        tasks = [asyncio.create_task(self.remote.fetch(TASK)) for _ in range(count)]
        await turns()
        return tasks

    async def _is_visible(self, _file: StoredFile) -> bool:
        return self.visible


@on_virtual_clock
async def test_nothing_but_the_address_of_a_file_is_sent() -> None:
    bench = Bench("a")
    [task] = await bench.begun()
    expected = Fetch(id=1, worker="a", url="http://host/a", name="a", bytes_expected=4, content_type="video/mp4")
    assert bench.sent == [expected]
    bench.remote.take(Stored(id=1, file=FILE))
    assert await task == FILE


@on_virtual_clock
async def test_files_go_to_whoever_has_least_to_do_and_never_more_than_the_places() -> None:
    bench = Bench("a", "b")
    tasks = await bench.begun(6)
    assert sorted(order.worker for order in bench.fetches) == ["a", "a", "b", "b"]
    assert (bench.remote.places, bench.remote.under_way) == (4, 4)
    bench.remote.take(Stored(id=1, file=FILE))
    await turns()
    assert len(bench.fetches) == 5
    for number in range(2, 7):
        bench.remote.take(Stored(id=number, file=FILE))
        await turns()
    assert await asyncio.gather(*tasks) == [FILE] * 6


@on_virtual_clock
async def test_without_a_worker_nobody_waits() -> None:
    with pytest.raises(FleetError):
        await Bench().remote.fetch(TASK)


@on_virtual_clock
async def test_a_worker_that_leaves_takes_its_places_and_its_files_along() -> None:
    bench = Bench("a", "b", places_each=1)
    first, second, waiting = await bench.begun(3)
    bench.remote.take(Left(worker="a", reason="its node is gone"))
    with pytest.raises(FleetError, match="its node is gone"):
        await first
    assert (bench.remote.workers, bench.remote.places) == (1, 1)
    bench.remote.take(Stored(id=2, file=FILE))
    await turns()
    bench.remote.take(Stored(id=3, file=FILE))
    assert [await second, await waiting] == [FILE, FILE]


@on_virtual_clock
async def test_when_the_last_worker_leaves_those_that_wait_learn_of_it() -> None:
    bench = Bench("a", places_each=1)
    tasks = await bench.begun(2)
    bench.remote.down("the bridge is gone")
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in found] == [FleetError, FleetError]


@on_virtual_clock
async def test_a_worker_that_joins_again_is_given_files_again() -> None:
    bench = Bench("a", places_each=1)
    bench.remote.take(Left(worker="a", reason="it died"))
    bench.remote.take(Joined(worker="a", name="node a"))
    [task] = await bench.begun()
    bench.remote.take(Stored(id=1, file=FILE))
    assert await task == FILE


@on_virtual_clock
async def test_what_is_called_off_keeps_its_place_until_the_worker_lets_go(clock: VirtualClock) -> None:
    bench = Bench("a", places_each=1)
    [task] = await bench.begun()
    task.cancel()
    await turns()
    assert bench.sent[-1] == Cancel(id=1)
    assert bench.remote.under_way == 1
    bench.remote.take(Broken(id=1, reason="it was called off"))
    assert bench.remote.under_way == 0
    await clock.sleep(CANCEL_S * 2)
    assert Replace(worker="a") not in bench.sent


@on_virtual_clock
async def test_a_worker_that_does_not_let_go_is_replaced(clock: VirtualClock) -> None:
    bench = Bench("a")
    [task] = await bench.begun()
    task.cancel()
    await clock.sleep(CANCEL_S * 2)
    assert bench.sent[-1] == Replace(worker="a")


@on_virtual_clock
async def test_a_worker_whose_disk_refuses_is_dismissed_and_said_once() -> None:
    bench = Bench("a", "b")
    tasks = await bench.begun(4)
    for order in bench.fetches:
        if order.worker == "a":
            bench.remote.take(Broken(id=order.id, reason="no room for media", disk=True))
    await turns()
    assert bench.unfit == [("node a", "no room for media")]
    assert bench.sent.count(Dismiss(worker="a")) == 1
    assert bench.remote.workers == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@on_virtual_clock
async def test_a_worker_whose_file_does_not_appear_here_is_dismissed() -> None:
    bench = Bench("a", visible=False)
    [task] = await bench.begun()
    bench.remote.take(Stored(id=1, file=FILE))
    with pytest.raises(FleetError):
        await task
    assert bench.sent[-1] == Dismiss(worker="a")
    assert "media/a.mp4" in bench.unfit[0][1]


@on_virtual_clock
async def test_what_is_wrong_with_a_file_is_told_as_a_local_download_tells_it() -> None:
    bench = Bench("a")
    [task] = await bench.begun()
    bench.remote.take(Failed(id=1, kind="bad_media", message="no film", http_status=200, first_bytes="<html"))
    with pytest.raises(DownloadError) as raised:
        await task
    error = raised.value
    assert (error.kind, error.message, error.http_status, error.first_bytes) == ("bad_media", "no film", 200, "<html")


@on_virtual_clock
async def test_a_node_that_is_refused_is_named_with_the_reason() -> None:
    bench = Bench("a")
    bench.remote.take(Refused(worker="b", name="node b", cause="engine", message="engine 0.0.1 is installed there"))
    assert bench.unfit == [("node b", "engine 0.0.1 is installed there")]
