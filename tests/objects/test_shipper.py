"""The way from this disk to a store, cut where a process may be killed: the next one finds each file."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.clock import SystemClock
from engine.job.records import StoredFile
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError, StoreAwayError, StoreRefusedError
from engine.media.objects import shipper as shipper_module
from engine.media.objects.shipper import Shipper
from tests.objects.conftest import opened

if TYPE_CHECKING:
    from engine.media.objects.store import ObjectStore
    from tests.store_server import StoreServer

pytestmark = pytest.mark.sockets

PICTURE = (Path(__file__).parents[2] / "engine/simulator/clips/still.png").read_bytes()
NAME = "job-1-0123456789ab"
TASK = DownloadTask(url="https://example.com/still.png", name=NAME)


class Hands(SystemClock):
    """A clock whose hands are moved."""

    at = 100.0

    def now(self) -> float:
        return self.at


class Downloads:
    """Puts one picture into the scratch directory, and counts how often it was asked to."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.asked = 0

    async def fetch(self, task: DownloadTask) -> StoredFile:
        self.asked += 1
        (self.scratch / f"{task.name}.png").write_bytes(PICTURE)
        return StoredFile(
            path=f"media/{task.name}.png",
            url=task.url,
            bytes=len(PICTURE),
            sha256=hashlib.sha256(PICTURE).hexdigest(),
            content_type="image/png",
            checks=("length", "png"),
        )


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path)


def shipper(downloads: Downloads, store: ObjectStore, said: list[str] | None = None) -> Shipper:
    said = [] if said is None else said
    return Shipper(downloads, store, scratch=downloads.scratch, clock=SystemClock(), announce=said.append)


def here(downloads: Downloads) -> list[str]:
    return [path.name for path in downloads.scratch.iterdir()]


async def test_a_file_is_removed_here_once_it_is_there(
    downloads: Downloads, store: ObjectStore, server: StoreServer, bucket: str
) -> None:
    record = await shipper(downloads, store).fetch(TASK)
    assert record.path == f"s3://{bucket}/nights/one/{NAME}.png"
    assert server.objects(bucket) == {f"nights/one/{NAME}.png": PICTURE}
    assert here(downloads) == []


async def test_killed_before_the_upload_the_next_process_sends_what_waits_here(
    downloads: Downloads, store: ObjectStore, server: StoreServer, bucket: str
) -> None:
    await downloads.fetch(TASK)
    record = await shipper(downloads, store).fetch(TASK)
    assert downloads.asked == 1
    assert (record.bytes, record.content_type) == (len(PICTURE), "image/png")
    assert record.checks == ("png",)
    assert server.objects(bucket) == {f"nights/one/{NAME}.png": PICTURE}
    assert here(downloads) == []


async def test_killed_after_the_upload_the_next_process_adopts_the_object(
    downloads: Downloads, store: ObjectStore, server: StoreServer, bucket: str
) -> None:
    await shipper(downloads, store).fetch(TASK)
    await downloads.fetch(TASK)
    record = await shipper(downloads, store).fetch(TASK)
    assert record.path == f"s3://{bucket}/nights/one/{NAME}.png"
    assert len(server.objects(bucket)) == 1
    assert here(downloads) == []


async def test_killed_before_the_ledger_knew_the_next_process_downloads_and_adopts(
    downloads: Downloads, store: ObjectStore, server: StoreServer, bucket: str
) -> None:
    first = await shipper(downloads, store).fetch(TASK)
    assert await shipper(downloads, store).fetch(TASK) == first
    assert downloads.asked == 2
    assert len(server.objects(bucket)) == 1


async def test_cancelled_in_the_upload_the_file_stays_here(
    downloads: Downloads, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object, **__: object) -> bool:
        begun.set()
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(store, "put_new", for_ever)
    task = asyncio.create_task(shipper(downloads, store).fetch(TASK))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert here(downloads) == [f"{NAME}.png"]


async def test_while_the_store_is_away_a_file_is_downloaded_once_and_the_store_asked_now_and_then(
    downloads: Downloads, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said, away = 0, list[str](), True
    put_new = store.put_new

    async def now_and_then(*words: object, **more: object) -> bool:
        nonlocal asked
        asked += 1
        if away:
            raise StoreAwayError(f"{store.url} does not answer (the connection was refused)")
        return await put_new(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put_new", now_and_then)
    clock = Hands()
    ship = Shipper(downloads, store, scratch=downloads.scratch, clock=clock, announce=said.append)
    for _ in range(3):
        with pytest.raises(DownloadError, match="does not answer") as waits:
            await ship.fetch(TASK)
        assert waits.value.kind == "unreachable"
    assert (asked, downloads.asked, len(said)) == (1, 1, 1)
    away = False
    clock.at += shipper_module.PAUSE_S
    await ship.fetch(TASK)
    assert (asked, downloads.asked) == (2, 1)
    assert said[1:] == [f"{store.url} answers again"]


async def test_of_several_files_what_has_gone_is_not_downloaded_again(
    downloads: Downloads, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship = shipper(downloads, store)
    first = await ship.fetch(TASK)
    assert await ship.fetch(TASK) == first
    assert downloads.asked == 1
    monkeypatch.setattr(shipper_module, "SHIPPED_MAX", 1)
    await ship.fetch(DownloadTask(url=TASK.url, name="job-2-0123456789ab"))
    assert await ship.fetch(TASK) == first
    assert downloads.asked == 3


async def test_a_store_that_refuses_ends_the_run_and_keeps_the_file(downloads: Downloads, server: StoreServer) -> None:
    with pytest.raises(StoreRefusedError, match="has no such bucket"):
        await shipper(downloads, opened(server, "s3://no-such-bucket")).fetch(TASK)
    assert here(downloads) == [f"{NAME}.png"]


async def test_links_directories_and_unfinished_files_wait_for_nothing(
    downloads: Downloads, store: ObjectStore
) -> None:
    (downloads.scratch / f"{NAME}.png.part").write_bytes(PICTURE[:10])
    (downloads.scratch / f"{NAME}.d").mkdir()
    (downloads.scratch / f"{NAME}.gif").symlink_to(downloads.scratch / "elsewhere")
    await shipper(downloads, store).fetch(TASK)
    assert downloads.asked == 1
