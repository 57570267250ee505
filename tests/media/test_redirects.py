"""Redirects are followed by hand, each hop judged before it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError

pytestmark = pytest.mark.sockets

NAME = "clip-001-3f9c12ab34cd"


async def failure(downloader: Any, url: str) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(url, NAME))
    return caught.value


async def test_redirect_at_most_5_are_followed(kit: Any) -> None:
    hops = [kit.answer(status=301 + n % 2, headers={"Location": f"/hop{n}"}) for n in range(5)]
    body = kit.mp4()
    host = await kit.host(*hops, kit.answer(body))
    downloader = await kit.downloader(tries_max=1)
    assert kit.stored((await downloader.fetch(DownloadTask(host.url(), NAME))).path) == body
    assert [asked.target for asked in host.asked][1:] == [f"/hop{n}" for n in range(5)]
    endless = await kit.host(kit.answer(status=307, headers={"Location": "/again"}))
    error = await failure(downloader, endless.url())
    assert error.kind == "unreachable"
    assert len(endless.asked) == 6


@pytest.mark.parametrize("location", ["ftp://host.example/a", "file:///etc/passwd", "javascript:alert(1)"])
async def test_redirect_to_another_scheme_is_refused(kit: Any, location: str) -> None:
    host = await kit.host(kit.answer(status=302, headers={"Location": location}))
    error = await failure(await kit.downloader(), host.url())
    assert error.kind == "blocked_address"
    assert len(host.asked) == 1


@pytest.mark.parametrize("headers", [{}, {"Location": ""}, {"Location": "http://[bad/"}])
async def test_redirect_to_nowhere_is_tried_again(kit: Any, headers: dict[str, str]) -> None:
    body = kit.mp4()
    host = await kit.host(kit.answer(status=302, headers=headers), kit.answer(body))
    assert kit.stored((await (await kit.downloader()).fetch(DownloadTask(host.url(), NAME))).path) == body
