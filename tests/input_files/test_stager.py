"""Jobs with local files on their way to the provider: one upload for each content, whoever asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from engine.input_files.inspection import Inspector
from engine.input_files.stager import Staged, Stager
from engine.job.flight import Flight
from engine.job.model import Model, Parameter
from engine.provider.verdict import Unavailable, Uploaded, UploadRefused
from tests.media.conftest import small_media
from tests.virtual_clock import VirtualClock
from tests.waiting import turns, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from engine.ledger.ledger import Ledger
    from engine.provider.verdict import UploadVerdict

MEDIA = small_media()
CATALOGUE = {"avatar": Model("avatar", {"image_url": Parameter("image_url", "uri", accepts=("image",))})}
LIFE_S = 3_600.0


class Host:
    """Where files are uploaded to: answers once it is let. An error breaks one upload."""

    def __init__(self) -> None:
        self.uploads: list[str] = []
        self.answer: UploadVerdict | Exception | None = None
        self.lets = asyncio.Event()
        self.lets.set()

    async def upload(self, data_uri: str) -> UploadVerdict:
        self.uploads.append(data_uri)
        await self.lets.wait()
        if isinstance(self.answer, Exception):
            error, self.answer = self.answer, None
            raise error
        return self.answer or Uploaded(f"https://host.example/{len(self.uploads)}")


@pytest.fixture
def face(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    path.write_bytes(MEDIA["image/png"])
    return path


def stager_of(ledger: Ledger, host: Host | None, clock: VirtualClock | None = None) -> Stager:
    return Stager(
        Inspector(1_000_000),
        host,
        ledger,
        catalogue=CATALOGUE,
        provider="segmind",
        life_s=LIFE_S,
        clock=clock or VirtualClock(),
    )


def flight_of(**params: object) -> Flight:
    return Flight(0, "job", "avatar", 0, orjson.dumps(params))


async def image_of(stager: Stager, face: Path) -> str:
    staged = await stager.stage(flight_of(image_url=face.as_uri()))
    assert isinstance(staged, Staged)
    assert staged.remembered
    url: str = orjson.loads(staged.params)["image_url"]
    return url


async def test_one_content_is_uploaded_once_whoever_asks(ledger: Ledger, face: Path, tmp_path: Path) -> None:
    (tmp_path / "same.png").write_bytes(MEDIA["image/png"])
    host = Host()
    host.lets.clear()
    stager = stager_of(ledger, host)
    jobs = [asyncio.create_task(image_of(stager, path)) for path in (face, tmp_path / "same.png", face)]
    await wait_until(lambda: host.uploads, description="something is uploaded")
    host.lets.set()
    assert await asyncio.gather(*jobs) == ["https://host.example/1"] * 3
    assert await image_of(stager_of(ledger, host), face) == "https://host.example/1"  # also in the next process
    assert len(host.uploads) == 1
    assert host.uploads[0].startswith("data:image/png;base64,")


async def test_an_old_upload_is_made_again(ledger: Ledger, face: Path) -> None:
    host, clock = Host(), VirtualClock()
    stager = stager_of(ledger, host, clock)
    assert await image_of(stager, face) == "https://host.example/1"
    clock.jump_s = LIFE_S + 1
    assert await image_of(stager, face) == "https://host.example/2"
    assert await image_of(stager, face) == "https://host.example/2"


async def test_an_upload_that_breaks_leaves_the_others_their_own_try(ledger: Ledger, face: Path) -> None:
    host = Host()
    host.lets.clear()
    host.answer = RuntimeError("a defect")
    stager = stager_of(ledger, host)
    jobs = [asyncio.create_task(image_of(stager, face)) for _ in range(2)]
    await wait_until(lambda: host.uploads, description="something is uploaded")
    await turns()
    host.lets.set()
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    assert [str(outcome) for outcome in sorted(outcomes, key=str)] == ["a defect", "https://host.example/2"]


async def test_a_failure_is_handed_on_and_nothing_is_remembered(ledger: Ledger, face: Path) -> None:
    host = Host()
    stager = stager_of(ledger, host)
    for answer in (Unavailable("502"), UploadRefused("too wide")):
        host.answer = answer
        assert await stager.stage(flight_of(image_url=face.as_uri())) == answer
    host.answer = None
    assert await image_of(stager, face) == "https://host.example/3"


async def test_a_file_that_went_away_fails_its_job_with_its_name(ledger: Ledger, face: Path) -> None:
    gone = face.with_name("gone.png")
    assert await stager_of(ledger, Host()).stage(flight_of(image_url=gone.as_uri())) == UploadRefused(
        f"params.image_url: the file {gone} does not exist"
    )


async def test_a_provider_that_takes_data_uris_is_sent_them(ledger: Ledger, face: Path) -> None:
    staged = await stager_of(ledger, None).stage(flight_of(image_url=face.as_uri(), prompt="x"))
    assert isinstance(staged, Staged)
    assert not staged.remembered  # nothing could look the submission up by it, and it may be megabytes
    assert orjson.loads(staged.params)["image_url"].startswith("data:image/png;base64,")


async def test_a_job_without_files_is_sent_as_it_is(ledger: Ledger) -> None:
    flight = flight_of(image_url="https://example.com/a.png", prompt="x")
    assert await stager_of(ledger, Host()).stage(flight) == Staged(flight.params, remembered=False)


async def test_files_are_uploaded_ahead_of_their_turn(ledger: Ledger, face: Path) -> None:
    host = Host()
    stager = stager_of(ledger, host)
    gone = flight_of(image_url=(face.parent / "gone.png").as_uri())
    for flight in (gone, flight_of(image_url="https://example.com/a.png"), flight_of(image_url=face.as_uri())):
        stager.expect(flight)
    ahead = asyncio.create_task(stager.run())
    await wait_until(lambda: host.uploads, description="something is uploaded")
    assert await image_of(stager, face) == "https://host.example/1"
    assert len(host.uploads) == 1
    ahead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ahead
