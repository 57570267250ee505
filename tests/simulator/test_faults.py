"""Each fault of the table really happens, does what its sentence says, and is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from engine.simulator import Fault, Simulator
from engine.simulator.faults import FAULTS

Skip = Callable[[float], None]
Simulate = Callable[..., Awaitable[tuple[Simulator, aiohttp.ClientSession]]]

FAST_DETAILS = {
    "fault_details.young_404_s": 60,
    "fault_details.result_not_ready_s": 60,
    "fault_details.result_not_ready_as": "processing",
    "fault_details.reply_delayed_s": 0.1,
    "fault_details.reply_slow_byte_s": 0.001,
    "fault_details.reply_stalled_s": 0.1,
    "fault_details.huge_bytes": 2_000_000,
    "fault_details.download_stalled_s": 0.1,
    "fault_details.download_slow_bytes_per_s": 200_000,
}


@dataclass(slots=True)
class Scene:
    """A simulator in which one fault always happens, and what a test does with it."""

    simulator: Simulator
    session: aiohttp.ClientSession
    model: str
    body: dict[str, str]
    skip: Skip | None = None

    async def post(self) -> tuple[int, Any]:
        reply = self.session.post(f"/v2/{self.model}", json=self.body, allow_redirects=False)
        return await _read(reply)

    async def get(self, url: str, **headers: str) -> tuple[int, Any]:
        return await _read(self.session.get(url, allow_redirects=False, headers=headers))

    async def job(self) -> str:
        """Submit, wait for the end, return the path of the record."""
        await self.post()
        async with asyncio.timeout(5):
            await self.simulator.idle()
        return f"/v2/requests/{self.simulator.bill().bodies[0].request_ids[0]}"

    async def file_url(self) -> str:
        _, result = await self.get(await self.job())
        return str(result["output"])

    @property
    def accepted(self) -> int:
        return self.simulator.bill(with_bodies=False).accepted


async def _read(reply: Any) -> tuple[int, Any]:
    async with reply as response:
        content = await response.read()
        if response.content_type == "application/json":
            try:
                return response.status, await response.json()
            except ValueError:
                return response.status, content
        return response.status, content


async def error_500(scene: Scene) -> None:
    status, answer = await scene.post()
    assert (status, set(answer), scene.accepted) == (500, {"error"}, 0)


async def unavailable_before(scene: Scene) -> None:
    assert (*await scene.post(), scene.accepted) == (503, b"", 0)


async def bad_gateway_before(scene: Scene) -> None:
    status, page = await scene.post()
    assert (status, page[:6], scene.accepted) == (502, b"<html>", 0)


async def bad_gateway_after(scene: Scene) -> None:
    status, page = await scene.post()
    assert (status, page[:6], scene.accepted) == (502, b"<html>", 1)


async def gateway_timeout_before(scene: Scene) -> None:
    assert ((await scene.post())[0], scene.accepted) == (504, 0)


async def gateway_timeout_after(scene: Scene) -> None:
    assert ((await scene.post())[0], scene.accepted) == (504, 1)


async def reply_lost_before(scene: Scene) -> None:
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await scene.post()
    assert scene.accepted == 0


async def reply_lost_after(scene: Scene) -> None:
    with pytest.raises(aiohttp.ClientOSError, match="reset"):
        await scene.post()
    assert scene.accepted == 1


async def reply_truncated(scene: Scene) -> None:
    status, content = await scene.post()
    assert (status, content[:2], scene.accepted) == (200, b'{"', 1)
    assert not content.endswith(b"}")


async def reply_cut(scene: Scene) -> None:
    with pytest.raises(aiohttp.ClientError):
        await scene.post()
    assert scene.accepted == 1


async def reply_html(scene: Scene) -> None:
    status, page = await scene.post()
    assert (status, page[:9], scene.accepted) == (200, b"<!DOCTYPE", 1)


async def reply_without_id(scene: Scene) -> None:
    assert (*await scene.post(), scene.accepted) == (200, {"status": "QUEUED"}, 1)


async def reply_with_old_id(scene: Scene) -> None:
    scene.simulator.change({"faults.reply_with_old_id": 0})
    _, first = await scene.post()
    scene.simulator.change({"faults.reply_with_old_id": 1})
    assert await scene.post() == (200, first)
    assert scene.accepted == 2


async def reply_delayed(scene: Scene) -> None:
    begin = asyncio.get_running_loop().time()
    assert (await scene.post())[0] == 200
    assert asyncio.get_running_loop().time() - begin >= 0.1


async def reply_slow(scene: Scene) -> None:
    begin = asyncio.get_running_loop().time()
    status, answer = await scene.post()
    assert (status, answer["status"]) == (200, "QUEUED")
    assert asyncio.get_running_loop().time() - begin >= 0.1


async def reply_stalled(scene: Scene) -> None:
    begin = asyncio.get_running_loop().time()
    with pytest.raises(aiohttp.ClientOSError):
        await scene.post()
    assert asyncio.get_running_loop().time() - begin >= 0.1
    assert scene.accepted == 1


async def submit_rate_limited(scene: Scene) -> None:
    assert ((await scene.post())[0], scene.accepted) == (429, 0)


async def submit_redirect(scene: Scene) -> None:
    async with scene.session.post(f"/v2/{scene.model}", json=scene.body, allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers["Location"].startswith(scene.simulator.media_url)
    assert scene.accepted == 0


async def foreign_urls(scene: Scene) -> None:
    status, answer = await scene.post()
    assert (status, answer["status_url"].startswith(scene.simulator.media_url)) == (200, True)


async def stuck_job(scene: Scene) -> None:
    _, answer = await scene.post()
    await asyncio.sleep(0.05)
    assert (await scene.get(answer["status_url"]))[1]["status"] == "PROCESSING"
    assert scene.simulator.bill().paid == 0


async def failed_job(scene: Scene) -> None:
    record = await scene.job()
    for url in (record, f"{record}/status"):
        status, answer = await scene.get(url)
        assert (status, answer["status"], answer["error"][:5]) == (422, "FAILED", "Model")
    assert scene.simulator.bill().billed_usd == 0


async def young_404(scene: Scene) -> None:
    _, answer = await scene.post()
    assert (await scene.get(answer["status_url"]))[0] == 404
    assert scene.skip is not None
    scene.skip(61)
    assert (await scene.get(answer["status_url"]))[0] == 200


async def result_not_ready(scene: Scene) -> None:
    record = await scene.job()
    assert (await scene.get(f"{record}/status"))[1]["status"] == "COMPLETED"
    assert (await scene.get(record))[1]["status"] == "PROCESSING"
    assert scene.skip is not None
    scene.skip(61)
    assert (await scene.get(record))[1]["status"] == "COMPLETED"


async def unknown_status_word(scene: Scene) -> None:
    scene.simulator.change({"work.duration_median_s": 60})
    _, answer = await scene.post()
    status, body = await scene.get(answer["status_url"])
    assert (status, body["status"]) == (200, "WARMING_UP")


async def poll_error_500(scene: Scene) -> None:
    assert (await scene.get(await scene.job()))[0] == 500


async def poll_bad_gateway(scene: Scene) -> None:
    status, page = await scene.get(f"{await scene.job()}/status")
    assert (status, page[:6]) == (502, b"<html>")


async def poll_rate_limited(scene: Scene) -> None:
    assert (await scene.get(await scene.job()))[0] == 429


async def poll_html(scene: Scene) -> None:
    status, page = await scene.get(f"{await scene.job()}/status")
    assert (status, page[:9]) == (200, b"<!DOCTYPE")


async def poll_garbage(scene: Scene) -> None:
    assert await scene.get(f"{await scene.job()}/status") == (200, b'{"status":"COMPLETE')


async def poll_huge(scene: Scene) -> None:
    status, body = await scene.get(await scene.job())
    assert (status, body) == (200, {"status": "COMPLETED"})
    async with scene.session.get(await scene.job()) as response:
        assert response.headers["Content-Length"] == "2000000"


async def poll_gzip_bomb(scene: Scene) -> None:
    async with scene.session.get(await scene.job()) as response:
        assert int(response.headers["Content-Length"]) < 5000
        assert len(await response.read()) == 2_000_000


async def poll_deep(scene: Scene) -> None:
    async with scene.session.get(await scene.job()) as response:
        assert (await response.read()).count(b"[") == 100_000


async def poll_without_status(scene: Scene) -> None:
    record = await scene.job()
    assert [(await scene.get(f"{record}/status"))[1]["status"] for _ in range(2)] == [7, None]


async def poll_lost(scene: Scene) -> None:
    record = await scene.job()
    # A GET on a connection that was used before is tried again by the client itself; POST is not.
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await scene.get(record)


async def poll_stalled(scene: Scene) -> None:
    record = await scene.job()
    begin = asyncio.get_running_loop().time()
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await scene.get(record)
    assert asyncio.get_running_loop().time() - begin >= 0.1


async def poll_redirect(scene: Scene) -> None:
    record = await scene.job()
    async with scene.session.get(record) as response:  # a careless client: it follows
        assert response.status == 404
    assert scene.simulator.bill().key_leak_requests == [f"GET {record}"]


async def history_error(scene: Scene) -> None:
    assert (await scene.get(f"{scene.simulator.history_url}/request-history"))[0] == 503


async def history_lost(scene: Scene) -> None:
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await scene.get(f"{scene.simulator.history_url}/request-history")


async def upload(scene: Scene) -> tuple[int, Any]:
    body = {"data_urls": ["data:image/png;base64,AAAA"]}
    return await _read(scene.session.post(f"{scene.simulator.base_url}/upload-asset", json=body))


async def upload_unavailable(scene: Scene) -> None:
    status, page = await upload(scene)
    assert (status, page[:6]) == (503, b"<html>")


async def upload_rate_limited(scene: Scene) -> None:
    assert (await upload(scene))[0] == 429


async def upload_lost(scene: Scene) -> None:
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await upload(scene)


async def download_truncated(scene: Scene) -> None:
    url = await scene.file_url()
    _, cut = await scene.get(url)
    scene.simulator.change({"faults.download_truncated": 0})
    _, whole = await scene.get(url)
    assert whole.startswith(cut)
    assert len(cut) < len(whole)


async def download_dropped(scene: Scene) -> None:
    url = await scene.file_url()
    with pytest.raises(aiohttp.ClientError):
        await scene.get(url)


async def download_slow(scene: Scene) -> None:
    url = await scene.file_url()
    begin = asyncio.get_running_loop().time()
    _, content = await scene.get(url)
    assert asyncio.get_running_loop().time() - begin >= len(content) / 200_000 * 0.9


async def download_stalled(scene: Scene) -> None:
    url = await scene.file_url()
    begin = asyncio.get_running_loop().time()
    with pytest.raises(aiohttp.ClientError):
        await scene.get(url)
    assert asyncio.get_running_loop().time() - begin >= 0.1


async def download_html(scene: Scene) -> None:
    status, page = await scene.get(await scene.file_url())
    assert (status, page[:9]) == (200, b"<!DOCTYPE")


async def download_empty(scene: Scene) -> None:
    assert await scene.get(await scene.file_url()) == (200, b"")


async def download_error_503(scene: Scene) -> None:
    status, answer = await scene.get(await scene.file_url())
    assert (status, b"SlowDown" in answer) == (503, True)


async def download_expired(scene: Scene) -> None:
    status, answer = await scene.get(await scene.file_url())
    assert (status, b"AccessDenied" in answer) == (403, True)


async def download_redirect(scene: Scene) -> None:
    scene.simulator.change({"downloads.redirect_hops": 3})
    async with scene.session.get(await scene.file_url()) as response:
        assert (response.status, len(response.history)) == (200, 3)
        assert (await response.read())[4:8] == b"ftyp"


async def download_no_length(scene: Scene) -> None:
    async with scene.session.get(await scene.file_url()) as response:
        assert "Content-Length" not in response.headers
        assert "Transfer-Encoding" not in response.headers
        assert (await response.read())[4:8] == b"ftyp"


async def download_endless(scene: Scene) -> None:
    async with scene.session.get(await scene.file_url()) as response:
        for _ in range(20):
            assert await response.content.readexactly(65_536) == bytes(65_536)


async def download_range_ignored(scene: Scene) -> None:
    status, content = await scene.get(await scene.file_url(), Range="bytes=10-")
    assert (status, content[4:8]) == (200, b"ftyp")


async def download_changed(scene: Scene) -> None:
    url = await scene.file_url()
    async with scene.session.get(url) as response:
        changed = (response.headers["ETag"], await response.read())
    scene.simulator.change({"faults.download_changed": 0})
    async with scene.session.get(url) as response:
        original = (response.headers["ETag"], await response.read())
    assert changed[0] != original[0]
    assert len(changed[1]) != len(original[1])


@pytest.mark.sockets
@pytest.mark.parametrize("fault", list(Fault))
async def test_each_fault_happens_as_its_sentence_says(
    fault: Fault, simulate: Simulate, model: str, body: dict[str, str], skip: Skip
) -> None:
    simulator, session = await simulate({f"faults.{fault}": 1.0, **FAST_DETAILS})
    await globals()[fault](Scene(simulator, session, model, body, skip))
    assert simulator.bill().faults[fault] >= 1


def test_every_fault_has_a_sentence_and_no_sentence_lacks_a_fault() -> None:
    assert set(FAULTS) == set(Fault)


@pytest.mark.sockets
async def test_a_fault_that_is_not_switched_on_never_happens(
    simulate: Simulate, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate()
    scene = Scene(simulator, session, model, body)
    await scene.get(await scene.file_url())
    assert simulator.bill().faults == {}


@pytest.mark.sockets
async def test_repeats_max_lets_the_second_try_of_the_same_body_through(
    simulate: Simulate, model: str, body: dict[str, str]
) -> None:
    simulator, session = await simulate({"faults.error_500": 1.0, "fault_details.repeats_max": 1})
    scene = Scene(simulator, session, model, body)
    assert [(await scene.post())[0] for _ in range(3)] == [500, 200, 200]


@pytest.mark.sockets
async def test_only_bodies_with_the_text_meet_a_fault(simulate: Simulate, model: str, body: dict[str, str]) -> None:
    simulator, session = await simulate({"faults.error_500": 1.0, "fault_details.only_bodies_with": "unlucky"})
    assert (await Scene(simulator, session, model, body).post())[0] == 200
    assert (await Scene(simulator, session, model, {**body, "prompt": "unlucky"}).post())[0] == 500


@pytest.mark.sockets
async def test_the_order_of_arrival_changes_no_fate(simulate: Simulate, model: str, body: dict[str, str]) -> None:
    async def fates(order: list[int]) -> dict[int, int]:
        simulator, session = await simulate({"faults.error_500": 0.5, "seed": 7})
        found = {}
        for number in order:
            found[number], _ = await Scene(simulator, session, model, {**body, "prompt": str(number)}).post()
        return found

    forward = await fates(list(range(20)))
    assert forward == await fates(list(reversed(range(20))))
    assert set(forward.values()) == {200, 500}
