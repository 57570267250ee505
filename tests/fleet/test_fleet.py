"""A fleet with a bridge that is a process: started again when it dies, ended by its id, never shown a key."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from engine.clock import SystemClock
from engine.fleet import process as bridge_process
from engine.fleet.address import FleetAddress
from engine.fleet.fleet import Fleet, Storage
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from tests.fake_provider import FakeFetcher
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.processes

FAKE = Path(__file__).with_name("fake_bridge.py")


class Bench:
    """A fleet and all that it said and logged."""

    def __init__(self, media: Path, manner: str = "ready", *, deadline_s: float = 20.0) -> None:
        self.said: list[str] = []
        self.logged: list[dict[str, Any]] = []
        self.local = FakeFetcher(SystemClock(), seconds=0.0)
        self.fleet = Fleet(
            FleetAddress("10.0.0.1:6379"),
            Storage(
                media=media,
                path_prefix="media",
                places=2,
                allow_private_hosts=True,
                bytes_max=1_000_000,
                reserve_bytes=0,
            ),
            self.local,
            needs_key=lambda _task: False,
            environment={"PATH": "/usr/bin"},
            clock=SystemClock(),
            rng=random.Random(1),
            log=structlog.wrap_logger(None, processors=[self._keep]),
            announce=self.said.append,
            deadline_s=deadline_s,
            command=(sys.executable, str(FAKE), manner),
        )

    def _keep(self, _logger: Any, _method: str, event: Any) -> Any:
        self.logged.append(dict(event))
        raise structlog.DropEvent

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.logged if event["event"] == name]

    async def ready(self, workers: int = 2) -> None:
        await wait_until(lambda: self.fleet.places == 2 * workers, description=f"{workers} workers are ready")


@asynccontextmanager
async def opened(bench: Bench) -> AsyncIterator[Fleet]:
    async with bench.fleet as fleet:
        yield fleet


def task(word: str, name: str = "a") -> DownloadTask:
    return DownloadTask(f"http://host/{word}", name)


def environments(media: Path) -> list[str]:
    """Return what each bridge saw of the environment."""
    return [path.read_text() for path in media.glob("environment-*")]


def markers(media: Path) -> int:
    return len(list(media.glob("engine-fleet-*.part")))


def is_running(pid: int | None) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_process, "AGAIN_FIRST_S", 0.02)


async def test_a_file_is_fetched_by_the_fleet(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with opened(bench) as fleet:
        await bench.ready()
        assert (await fleet.fetch(task("film"))).path == "media/a.mp4"
        assert bench.local.tasks == []
        assert fleet.sentence == "2 nodes, 4 places, 0 under way"
    assert bench.events("fleet_closed") == [{"event": "fleet_closed", "fetched_there": 1, "fetched_here": 0}]


async def test_before_a_worker_is_ready_files_are_fetched_here(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "silent")
    async with opened(bench) as fleet:
        await fleet.fetch(task("film"))
        assert fleet.places == 2
        assert fleet.sentence == "no node is ready, 1 fetched here instead"


@pytest.mark.parametrize("word", ["death", "nonsense"])
async def test_a_bridge_that_dies_is_started_again_and_its_files_are_fetched_here(tmp_path: Path, word: str) -> None:
    bench = Bench(tmp_path)
    async with opened(bench) as fleet:
        await bench.ready()
        first = fleet.pid
        both = await asyncio.gather(fleet.fetch(task("silence")), fleet.fetch(task(word, "b")))
        assert [file.path for file in both] == ["media/a.mp4", "media/b.mp4"]
        await bench.ready()
        assert fleet.pid != first
        await fleet.fetch(task("film", "c"))
        assert [done.name for done in bench.local.tasks] == ["a", "b"]
    assert len(bench.events("fleet_bridge_ended")) == 1


async def test_a_worker_that_does_not_answer_costs_the_deadline(tmp_path: Path) -> None:
    bench = Bench(tmp_path, deadline_s=0.2)
    async with opened(bench) as fleet:
        await bench.ready()
        await fleet.fetch(task("silence"))
        assert len(bench.local.tasks) == 1
        await wait_until(lambda: "0 under way" in fleet.sentence, description="its place is free again")


async def test_what_a_worker_says_of_a_file_is_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with opened(bench) as fleet:
        await bench.ready()
        with pytest.raises(DownloadError) as raised:
            await fleet.fetch(task("gone"))
        assert (raised.value.kind, raised.value.http_status) == ("url_gone", 410)
        await fleet.fetch(task("unreachable"))
        assert len(bench.local.tasks) == 1


@pytest.mark.parametrize(
    ("word", "words"), [("full", "no room for media"), ("elsewhere", "is not there when looked at from here")]
)
async def test_a_worker_with_another_or_a_full_disk_is_not_used_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, words: str
) -> None:
    monkeypatch.setattr("engine.fleet.fleet.LOOK_S", 0.0)
    bench = Bench(tmp_path)
    async with opened(bench) as fleet:
        await bench.ready()
        await fleet.fetch(task(word))
        assert len(bench.local.tasks) == 1
        await bench.ready(1)
    assert len(bench.said) == 1
    assert words in bench.said[0]


async def test_a_cluster_that_wants_another_token_is_named_once_and_not_asked_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "no-token")
    async with opened(bench) as fleet:
        await wait_until(lambda: bench.events("fleet_bridge_ended"), description="the bridge has ended")
        await fleet.fetch(task("film"))
        assert fleet.pid is None
    assert len(bench.said) == 1
    assert "asks for a token" in bench.said[0]
    assert bench.events("fleet_unusable")[0]["cause"] == "token"
    assert len(environments(tmp_path)) == 1


async def test_a_node_that_is_refused_is_said_and_the_others_work(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "refused")
    async with opened(bench) as fleet:
        await wait_until(lambda: "1 node," in fleet.sentence, description="the other node is ready")
        await fleet.fetch(task("film"))
    assert bench.said == ["the fleet's second (10.0.0.2) is not used: it is another disk; the run goes on without it"]


async def test_the_bridge_sees_the_environment_it_is_given_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "SG_0123456789abcdef")
    bench = Bench(tmp_path)
    async with opened(bench):
        await bench.ready()
    [seen] = environments(tmp_path)
    assert json.loads(seen)["PATH"] == "/usr/bin"
    assert "SG_0123456789abcdef" not in seen


async def test_the_marker_is_gone_and_the_bridge_has_ended_when_the_fleet_is_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with opened(bench) as fleet:
        await bench.ready()
        pid = fleet.pid
        assert markers(tmp_path) == 1
        assert is_running(pid)
    assert markers(tmp_path) == 0
    assert not is_running(pid)
