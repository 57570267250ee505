"""Many downloads at once, and downloads that are cancelled at any moment."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from aiohttp import web

from engine.media.downloader import DownloadTask

pytestmark = pytest.mark.sockets

NAME = "clip-001-3f9c12ab34cd"


async def test_many_at_once_are_all_stored(kit: Any) -> None:
    bodies = {f"clip-{n}-{n:012x}": kit.mp4(1_000 + n) for n in range(60)}

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=bodies[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    kit.stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    port = runner.addresses[0][1]
    downloader = await kit.downloader()
    wanted = [DownloadTask(f"http://127.0.0.1:{port}/{name}", name) for name in bodies]
    for stored in await asyncio.gather(*(downloader.fetch(one) for one in wanted)):
        assert kit.stored(stored.path) == bodies[stored.path.removeprefix("media/").removesuffix(".mp4")]


async def test_the_same_name_at_once_is_stored_once(kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader()
    stored = await asyncio.gather(*(downloader.fetch(DownloadTask(host.url(), NAME)) for _ in range(5)))
    assert {one.path for one in stored} == {f"media/{NAME}.mp4"}
    assert kit.names() == [f"{NAME}.mp4"]


async def test_cancelled_at_any_moment_it_leaves_only_what_is_whole(kit: Any) -> None:
    body = kit.mp4(300_000)
    host = await kit.host(kit.ranged(body, cut_at=200_000))
    downloader = await kit.downloader(block_bytes=16_384)
    rng = random.Random(11)
    for round_number in range(60):
        work = asyncio.create_task(downloader.fetch(DownloadTask(host.url(), f"c-{round_number}")))
        await asyncio.sleep(rng.random() * 0.05)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    for name in kit.names():
        assert (kit.media_dir / name).read_bytes() == body
