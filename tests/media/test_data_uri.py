"""Outputs that come inside the result."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media import data_uri
from engine.media.content import BadMediaError
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError

NAME = "clip-001-3f9c12ab34cd"


def packed(body: bytes, header: str = "data:video/mp4;base64,") -> str:
    return header + base64.b64encode(body).decode()


async def test_a_data_uri_is_stored_with_the_same_discipline(kit: Any) -> None:
    body = kit.mp4(2_000_000)
    stored = await (await kit.downloader()).fetch(DownloadTask(packed(body), NAME, content_type="video/mp4"))
    assert kit.stored(stored.path) == body
    assert stored.url == "data:video/mp4;base64,"
    assert stored.checks == ("length", "mp4")
    assert kit.names() == [f"{NAME}.mp4"]


async def test_a_data_uri_over_the_cap_is_too_large(kit: Any) -> None:
    downloader = await kit.downloader(bytes_max=1_000)
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(DownloadTask(packed(kit.mp4(2_000)), NAME))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("url", ["data:video/mp4;base64,!!!", "data:video/mp4", "data:video/mp4;base64,AAAA"])
async def test_a_broken_data_uri_is_bad_media_at_once(kit: Any, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        await (await kit.downloader()).fetch(DownloadTask(url, NAME, content_type="video/mp4"))
    assert caught.value.kind == "bad_media"
    assert kit.clock.pauses_s == []
    assert kit.names() == []


@pytest.mark.parametrize("url", ["data:,", "data:video/mp4;base64,"])
async def test_a_data_uri_whose_content_was_given_up_is_gone(kit: Any, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        await (await kit.downloader()).fetch(DownloadTask(url, NAME, content_type="video/mp4"))
    assert caught.value.kind == "url_gone"
    assert kit.names() == []


def test_only_the_files_of_a_result_lose_their_content() -> None:
    film, other = packed(b"film"), packed(b"another")
    body = {"output": [film, {"url": film}], "asked": other, "seconds": 2}
    head = data_uri.header(film)
    assert data_uri.without_contents(body, {film}) == {"output": [head, {"url": head}], "asked": other, "seconds": 2}
    assert data_uri.is_spent(head)
    assert not data_uri.is_spent(film)


@given(st.binary(), st.sampled_from(["data:image/png;base64,", "DATA:;base64,", "data:a/b;x=y;base64,"]))
def test_any_content_survives_and_fits_its_bound(body: bytes, header: str) -> None:
    url = packed(body, header)
    assert data_uri.decode(url)[1] == body
    assert data_uri.bytes_upper_bound(url) >= len(body)


def test_a_data_uri_without_base64_is_percent_decoded() -> None:
    assert data_uri.decode("data:text/plain,a%20b") == ("text/plain", b"a b")


@given(st.text())
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        data_uri.decode("data:" + text)
    except BadMediaError as error:
        assert error.reason  # noqa: PT017
