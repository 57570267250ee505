"""The vendors' own clients, unchanged, against the simulator that speaks like each: submit, wait, result, failure.

They run as their users run them, synchronous and in a thread; only the address is another.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import fal_client
import fal_client.client
import httpx
import lumaai
import pytest
import runwayml
from replicate.client import Client

from engine.simulator import Scenario, Simulator
from tests.dialects.vendors import MODELS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.sockets

KEY = "SG_0123456789abcdef"
POLL_S = 0.02
TRIES_MAX = 200


@asynccontextmanager
async def speaking(name: str, **knobs: object) -> AsyncIterator[Simulator]:
    quick = {"dialect": name, "access.models": ["*"], "work.duration_median_s": 0.1, "rate.requests_per_window": 0}
    async with Simulator(Scenario.load("calm", {**quick, **knobs})) as simulator:
        yield simulator


@pytest.fixture(params=["succeeds", "fails"])
def knobs(request: pytest.FixtureRequest) -> dict[str, float]:
    return {"faults.failed_job": float(request.param == "fails")}


def until(look: Callable[[], str], words: set[str]) -> str:
    """Look again and again until one of the words is said."""
    for _ in range(TRIES_MAX):
        if (word := look()) in words:
            return word
        threading.Event().wait(POLL_S)
    raise AssertionError("it never ended")


def is_film(url: str) -> bool:
    return b"ftyp" in httpx.get(url).content[:32]


async def test_fal(knobs: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking("fal", **knobs) as simulator:
        monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{simulator.base_url}/")

        def use() -> None:
            client = fal_client.SyncClient(key=KEY)
            with client._client:
                through(client)

        def through(client: fal_client.SyncClient) -> None:
            handle = client.submit(MODELS["fal"], arguments={"image_url": "https://example.com/a.png"})
            seen = [type(status) for status in handle.iter_events(interval=POLL_S)]
            assert seen[-1] is fal_client.Completed
            if knobs["faults.failed_job"]:
                with pytest.raises(fal_client.client.FalClientHTTPError, match="no face was found"):
                    handle.get()
            else:
                assert is_film(handle.get()["video"]["url"])

        await asyncio.to_thread(use)
        assert simulator.bill().paid == 1 - knobs["faults.failed_job"]


async def test_replicate(knobs: dict[str, float]) -> None:
    async with speaking("replicate", **knobs) as simulator:

        def use() -> None:
            client = Client(api_token=KEY, base_url=simulator.base_url)
            with client._client:
                through(client)

        def through(client: Client) -> None:
            made = client.models.predictions.create(MODELS["replicate"], input={"prompt": "a face"})
            assert made.status == "starting"

            def look() -> str:
                made.reload()
                return made.status

            word = until(look, {"succeeded", "failed"})
            if knobs["faults.failed_job"]:
                assert word == "failed"
                assert "no face was found" in (made.error or "")
            else:
                assert is_film(str(made.output))

        await asyncio.to_thread(use)
        assert simulator.bill().paid == 1 - knobs["faults.failed_job"]


async def test_runway(knobs: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwayml.lib.polling.POLL_TIME", POLL_S)
    monkeypatch.setattr("runwayml.lib.polling.POLL_JITTER", 0.0)
    async with speaking("runway", **knobs) as simulator:

        def use() -> None:
            with runwayml.RunwayML(api_key=KEY, base_url=simulator.base_url, max_retries=0) as client:
                through(client)

        def through(client: runwayml.RunwayML) -> None:
            task = client.image_to_video.create(
                model="gen4_turbo", prompt_image="https://example.com/a.png", prompt_text="she nods", ratio="1280:720"
            )
            if knobs["faults.failed_job"]:
                with pytest.raises(runwayml.TaskFailedError) as caught:
                    task.wait_for_task_output()
                assert "no face was found" in caught.value.task_details.failure  # type: ignore[union-attr]
            else:
                done = task.wait_for_task_output()
                assert done.status == "SUCCEEDED"
                assert is_film(done.output[0])

        await asyncio.to_thread(use)
        assert simulator.bill().paid == 1 - knobs["faults.failed_job"]


async def test_luma(knobs: dict[str, float]) -> None:
    async with speaking("luma", **knobs) as simulator:

        def use() -> None:
            with lumaai.LumaAI(auth_token=KEY, base_url=simulator.base_url, max_retries=0) as client:
                through(client)

        def through(client: lumaai.LumaAI) -> None:
            made = client.generations.create(model="ray-2", prompt="a face that nods")
            assert made.id
            assert made.state == "queued"

            def look() -> str:
                return client.generations.get(made.id or "").state or ""

            word = until(look, {"completed", "failed"})
            done = client.generations.get(made.id)
            if knobs["faults.failed_job"]:
                assert word == "failed"
                assert "no face was found" in (done.failure_reason or "")
            else:
                assert done.assets
                assert is_film(done.assets.video or "")

        await asyncio.to_thread(use)
        assert simulator.bill().paid == 1 - knobs["faults.failed_job"]


# --- cancelling -----------------------------------------------------------------------------------

ENDLESS = {"work.duration_median_s": 600.0}


async def test_fal_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking("fal", **ENDLESS) as simulator:
        monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{simulator.base_url}/")

        def use() -> None:
            client = fal_client.SyncClient(key=KEY)
            with client._client:
                handle = client.submit(MODELS["fal"], arguments={"image_url": "https://example.com/a.png"})
                handle.cancel()
                status = handle.status()
                assert isinstance(status, fal_client.Completed)
                assert status.error_type == "client_cancelled"
                with pytest.raises(fal_client.client.FalClientHTTPError) as caught:
                    handle.cancel()
                assert caught.value.response.json() == {"status": "ALREADY_COMPLETED"}

        await asyncio.to_thread(use)
        assert (simulator.bill().cancelled, simulator.bill().in_flight) == (1, 0)


async def test_replicate_cancels() -> None:
    async with speaking("replicate", **ENDLESS) as simulator:

        def use() -> None:
            client = Client(api_token=KEY, base_url=simulator.base_url)
            with client._client:
                made = client.models.predictions.create(MODELS["replicate"], input={"prompt": "a face"})
                made.cancel()
                assert made.status == "canceled"
                made.reload()
                assert (made.status, made.output) == ("canceled", None)

        await asyncio.to_thread(use)
        assert (simulator.bill().cancelled, simulator.bill().in_flight) == (1, 0)


async def test_runway_cancels_what_waits_free_of_charge_and_forgets_it() -> None:
    async with speaking("runway", **ENDLESS, **{"work.workers": 1}) as simulator:

        def use() -> None:
            with runwayml.RunwayML(api_key=KEY, base_url=simulator.base_url, max_retries=0) as client:
                first, second = (
                    client.image_to_video.create(
                        model="gen4_turbo", prompt_image="https://example.com/a.png", prompt_text=text, ratio="1280:720"
                    )
                    for text in ("she nods", "he nods")
                )
                client.tasks.delete(second.id)
                assert simulator.bill().billed_usd == 0.0
                client.tasks.delete(first.id)
                with pytest.raises(runwayml.NotFoundError):
                    client.tasks.retrieve(first.id)

        await asyncio.to_thread(use)
        found = simulator.bill()
        assert (found.cancelled, found.in_flight, found.paid) == (2, 0, 0)
        assert found.billed_usd > 0.0  # a task that runs is not refunded


async def test_luma_deletes_what_is_done_too() -> None:
    async with speaking("luma") as simulator:

        def use() -> None:
            with lumaai.LumaAI(auth_token=KEY, base_url=simulator.base_url, max_retries=0) as client:
                made = client.generations.create(model="ray-2", prompt="a face that nods")
                assert made.id
                until(lambda: client.generations.get(made.id or "").state or "", {"completed"})
                client.generations.delete(made.id)
                with pytest.raises(lumaai.NotFoundError):
                    client.generations.get(made.id)

        await asyncio.to_thread(use)
        assert (simulator.bill().cancelled, simulator.bill().paid) == (0, 1)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "bfl"])
async def test_a_wrong_key_is_refused(name: str) -> None:
    async with speaking(name, **{"access.accepted_keys": ["SG_fedcba9876543210"]}) as simulator:

        def use() -> int:
            path = {"fal": "/a/b", "replicate": "/v1/models/a/b/predictions", "luma": "/generations/video"}
            headers = {
                "Authorization": f"{'Key' if name == 'fal' else 'Bearer'} {KEY}",
                "X-Runway-Version": "2024-11-06",
            }
            return httpx.post(
                simulator.base_url + path.get(name, "/v1/image_to_video"), json={}, headers=headers
            ).status_code

        assert await asyncio.to_thread(use) == 401
