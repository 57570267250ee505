"""A file that the provider's API serves itself: the key is shown there, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from engine.media.keyed import Keyed

if TYPE_CHECKING:
    from yarl import URL

pytestmark = pytest.mark.sockets

NAME = "clip-001-3f9c12ab34cd"
KEY = "SG_00112233445566ff"


def keyed_for(host: Any) -> Keyed:
    def covers(url: URL) -> bool:
        return url.port == host.port and url.raw_host == "127.0.0.1"

    return Keyed(covers, {"Authorization": f"Bearer {KEY}"}, KEY)


def shown(host: Any) -> list[bool]:
    return [KEY in asked.text for asked in host.asked]


async def test_the_api_sees_the_key_and_may_be_on_this_machine(kit: Any) -> None:
    body = kit.mp4()
    api = await kit.host(kit.answer(status=307, headers={"Location": "/v2/content"}), kit.answer(body))
    downloader = await kit.downloader(keyed={"": keyed_for(api)}, allow_private_hosts=False)
    stored = await downloader.fetch(DownloadTask(api.url("/content"), NAME))
    assert kit.stored(stored.path) == body
    assert stored.url == api.url("/content")
    assert shown(api) == [True, True]


async def test_what_broke_off_is_resumed_with_the_key(kit: Any) -> None:
    body = kit.mp4(60_000)
    api = await kit.host(kit.ranged(body, cut_at=40_000))
    downloader = await kit.downloader(keyed={"": keyed_for(api)}, allow_private_hosts=False)
    assert kit.stored((await downloader.fetch(DownloadTask(api.url(), NAME))).path) == body
    assert [asked.headers.get("range") for asked in api.asked] == [None, "bytes=40000-"]
    assert shown(api) == [True, True]


async def test_a_redirect_to_another_origin_takes_the_key_off_for_good(kit: Any) -> None:
    body = kit.mp4()
    api = await kit.host()
    cdn = await kit.host(kit.answer(status=302, headers={"Location": api.url("/v1/other")}))
    api.replies += [kit.answer(status=302, headers={"Location": cdn.url("/signed")}), kit.answer(body)]
    downloader = await kit.downloader(keyed={"": keyed_for(api)})
    assert kit.stored((await downloader.fetch(DownloadTask(api.url("/content"), NAME))).path) == body
    assert shown(cdn) == [False]
    assert shown(api) == [True, False]  # back at the API, but on another's word


async def test_an_output_host_never_sees_the_key(kit: Any) -> None:
    api, cdn = await kit.host(kit.answer(kit.mp4())), await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader(keyed={"": keyed_for(api)})
    await downloader.fetch(DownloadTask(cdn.url(), NAME))
    assert (shown(cdn), shown(api)) == ([False], [])


async def test_a_file_of_another_provider_is_asked_for_without_this_ones_key(kit: Any) -> None:
    api = await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader(keyed={"other": keyed_for(api)})
    await downloader.fetch(DownloadTask(api.url(), NAME))
    assert shown(api) == [False]
    await downloader.fetch(DownloadTask(api.url(), f"{NAME}-1", provider="other"))
    assert shown(api) == [False, True]


async def test_a_private_host_is_refused_behind_the_api(kit: Any) -> None:
    cdn = await kit.host(kit.answer(kit.mp4()))
    api = await kit.host(kit.answer(status=302, headers={"Location": cdn.url()}))
    downloader = await kit.downloader(keyed={"": keyed_for(api)}, allow_private_hosts=False)
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(api.url(), NAME))
    assert caught.value.kind == "blocked_address"
    assert cdn.asked == []


async def test_a_refused_key_is_no_failure_of_the_file(kit: Any) -> None:
    api = await kit.host(kit.answer(b'{"error": "bad key"}', status=401))
    with pytest.raises(DownloadError) as caught:
        await (await kit.downloader(keyed={"": keyed_for(api)})).fetch(DownloadTask(api.url(), NAME))
    assert caught.value.kind == "unauthorized"
    assert len(api.asked) == 1


async def test_a_page_that_repeats_the_key_is_quoted_without_it(kit: Any) -> None:
    api = await kit.host(kit.answer(f"<html><body>your key {KEY}</body></html>".encode()))
    downloader = await kit.downloader(keyed={"": keyed_for(api)})
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(api.url(), NAME, content_type="video/mp4"))
    assert caught.value.kind == "bad_media"
    assert "your key [key]" in caught.value.first_bytes
    assert KEY not in repr(keyed_for(api))
