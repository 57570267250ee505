"""Each row of the table "Download" in the reliability document, against a host that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import TYPE_CHECKING, Any

import pytest

from engine.backoff import backoff_s
from engine.media.downloader import DownloadTask
from engine.media.failures import DownloadError
from engine.media.transfer import patience_after

if TYPE_CHECKING:
    from engine.media.downloader import Downloader

pytestmark = pytest.mark.sockets

NAME = "clip-001-3f9c12ab34cd"


def task(url: str, **changes: Any) -> DownloadTask:
    return DownloadTask(**{"url": url, "name": NAME, "content_type": "video/mp4", **changes})


async def failure(downloader: Downloader, wanted: DownloadTask) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        await downloader.fetch(wanted)
    return caught.value


async def test_a_file_is_stored_complete_and_verified(kit: Any) -> None:
    body = kit.mp4(3_000_000)
    host = await kit.host(kit.answer(body))
    stored = await (await kit.downloader()).fetch(task(host.url(), bytes_expected=len(body)))
    assert stored.path == f"media/{NAME}.mp4"
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert (stored.bytes, stored.content_type, stored.checks) == (len(body), "video/mp4", ("length", "mp4"))
    assert kit.stored(stored.path) == body
    assert (kit.media_dir / f"{NAME}.mp4").stat().st_mode & 0o777 == 0o600
    assert kit.names() == [f"{NAME}.mp4"]


async def test_requests_carry_no_key_no_cookie_and_ask_for_the_plain_file(kit: Any) -> None:
    first = kit.answer(status=302, headers={"Location": "/b", "Set-Cookie": "a=b"})
    host = await kit.host(first, kit.answer(kit.mp4(), headers={"Set-Cookie": "c=d"}))
    downloader = await kit.downloader()
    await downloader.fetch(task(host.url()))
    await downloader.fetch(task(host.url()))
    for asked in host.asked:
        assert not {"cookie", "x-api-key", "authorization"} & asked.headers.keys()
        assert asked.headers["accept-encoding"] == "identity"


async def test_a_url_is_asked_as_it_was_written(kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    target = "/a%2Fb%7e%20c.mp4?X-Sig=%2b%2F+=&expires=5"
    await (await kit.downloader()).fetch(task(host.url(target + "#fragment")))
    assert host.asked[0].target == target


async def test_short_body_keeps_the_part_and_resumes_with_range_and_if_range(kit: Any) -> None:
    body = kit.mp4(100_000)
    host = await kit.host(kit.ranged(body, cut_at=30_000))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert [asked.headers.get("range") for asked in host.asked[:2]] == [None, "bytes=30000-"]
    assert host.asked[1].headers["if-range"] == '"v1"'


@pytest.mark.parametrize("headers", [{"ETag": 'W/"weak"'}, {}, {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}])
async def test_short_body_without_a_strong_validator_starts_from_0(kit: Any, headers: dict[str, str]) -> None:
    body = kit.mp4(9_000)
    host = await kit.host(kit.answer(body[:5_000], length=len(body), headers=headers), kit.answer(body))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert "range" not in host.asked[1].headers


async def test_short_body_with_an_old_modification_time_is_resumed(kit: Any) -> None:
    body, modified = kit.mp4(9_000), "Sun, 06 Nov 1994 08:00:00 GMT"
    headers = {"Last-Modified": modified, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    rest = {"Content-Range": f"bytes 5000-{len(body) - 1}/{len(body)}", **headers}
    host = await kit.host(
        kit.answer(body[:5_000], length=len(body), headers=headers), kit.answer(body[5_000:], status=206, headers=rest)
    )
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert host.asked[1].headers["if-range"] == modified


def _second_answers(kit: Any, body: bytes) -> dict[str, Any]:
    size, rest = len(body), body[5_000:]
    good = {"ETag": '"v1"', "Content-Range": f"bytes 5000-{size - 1}/{size}"}
    return {
        "longer body": kit.answer(rest + b"more", status=206, headers=good, chunked=True),
        "changed length": kit.answer(
            rest, status=206, headers={**good, "Content-Range": f"bytes 5000-{size - 1}/{size + 1}"}
        ),
        "changed etag": kit.answer(rest, status=206, headers={**good, "ETag": '"v2"'}),
        "wrong content-range": kit.answer(
            rest, status=206, headers={**good, "Content-Range": f"bytes 4999-{size - 2}/{size}"}
        ),
        "no content-range": kit.answer(rest, status=206, headers={"ETag": '"v1"'}),
        "416": kit.answer(status=416, headers={"Content-Range": f"bytes */{size}"}),
    }


@pytest.mark.parametrize(
    "event", ["longer body", "changed length", "changed etag", "wrong content-range", "no content-range", "416"]
)
async def test_longer_body_changed_length_changed_etag_wrong_content_range_restart_from_0(kit: Any, event: str) -> None:
    body = kit.mp4(9_000)
    first = kit.answer(body[:5_000], length=len(body), headers={"ETag": '"v1"'})
    host = await kit.host(first, _second_answers(kit, body)[event], kit.answer(body))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert [("range" in asked.headers) for asked in host.asked] == [False, True, False]


async def test_200_to_a_range_restarts_from_0_in_the_same_answer(kit: Any) -> None:
    old, new = kit.mp4(9_000), kit.mp4(8_000)
    first = kit.answer(old[:5_000], length=len(old), headers={"ETag": '"v1"'})
    host = await kit.host(first, kit.answer(new, headers={"ETag": '"v2"'}))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == new
    assert len(host.asked) == 2


async def test_416_is_never_complete_by_itself(kit: Any) -> None:
    body = kit.mp4(9_000)
    whole_but_cut = kit.answer(body, length=len(body) + 1, headers={"ETag": '"v1"'})
    host = await kit.host(whole_but_cut, kit.answer(status=416, headers={"Content-Range": f"bytes */{len(body)}"}))
    error = await failure(await kit.downloader(tries_max=4), task(host.url()))
    assert error.kind == "unreachable"
    assert kit.names() == []


@pytest.mark.parametrize("how", [{"length": None, "reset": True}, {"chunked": True, "reset": True}, {"length": None}])
async def test_no_content_length_reset_mid_body_structure_decides(kit: Any, how: dict[str, Any]) -> None:
    body = kit.mp4(90_000)
    host = await kit.host(kit.answer(body[:50_000], **how), kit.answer(body[:70_000], **how), kit.answer(body, **how))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert "mp4" in stored.checks
    assert len(host.asked) == 3


async def test_no_content_length_and_a_kind_without_an_end_must_come_twice(kit: Any, media: dict[str, bytes]) -> None:
    body = media["audio/mpeg"] * 10
    replies = [kit.answer(body[:2085], length=None, reset=True), kit.answer(body, length=None)]
    host = await kit.host(*replies)
    stored = await (await kit.downloader()).fetch(task(host.url(), content_type="audio/mpeg"))
    assert kit.stored(stored.path) == body
    assert stored.checks == ("repeat", "mp3")
    assert len(host.asked) == 3


async def test_stall_is_given_up_and_resumed(kit: Any) -> None:
    body = kit.mp4(50_000)
    stalled = kit.answer(body[:20_000], length=len(body), headers={"ETag": '"v1"'}, hang=True)
    host = await kit.host(stalled, kit.ranged(body))
    stored = await (await kit.downloader(stall_s=0.2)).fetch(task(host.url()))
    assert kit.stored(stored.path) == body
    assert host.asked[1].headers["range"] == "bytes=20000-"


async def test_one_byte_now_and_then_is_a_stall(kit: Any) -> None:
    async def drip(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(200):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    host = await kit.host(drip)
    error = await failure(await kit.downloader(stall_s=0.3, tries_max=1), task(host.url()))
    assert error.kind == "unreachable"
    assert "too slow" in error.message


def test_a_throughput_below_the_floor_uses_patience_up_and_a_good_one_restores_it() -> None:
    def after(seconds: int, rate: float) -> float:
        patience_s = 60.0
        for _ in range(seconds):
            patience_s = patience_after(patience_s, waited_s=1, received=int(rate), floor_bytes_per_s=1024, max_s=60)
        return patience_s

    assert after(60, 0) == 0
    assert after(120, 512) == 0
    assert after(100_000, 1024) == 60
    assert patience_after(5, waited_s=1, received=10**9, floor_bytes_per_s=1024, max_s=60) == 60


async def test_after_8_tries_the_host_is_unreachable_and_pauses_are_jittered(kit: Any) -> None:
    host = await kit.host(kit.answer(b"busy", status=503))
    error = await failure(await kit.downloader(), task(host.url()))
    assert (error.kind, error.http_status) == ("unreachable", 503)
    assert len(host.asked) == 8
    assert len(kit.clock.pauses_s) == 7
    assert len(set(kit.clock.pauses_s)) == 7
    assert kit.names() == []


def test_the_pause_has_full_jitter_and_a_cap() -> None:
    rng = random.Random(3)
    for tries, limit_s in ((1, 1), (4, 8), (50, 60)):
        drawn = [backoff_s(tries, first_s=1, max_s=60, rng=rng) for _ in range(300)]
        assert min(drawn) < limit_s * 0.1
        assert limit_s * 0.9 < max(drawn) <= limit_s


async def test_a_try_that_moves_the_file_on_does_not_count(kit: Any) -> None:
    body = kit.mp4(30_000)
    host = await kit.host(kit.ranged(body, cut_at=2_000))
    stored = await (await kit.downloader(tries_max=2, progress_bytes=1_000)).fetch(task(host.url()))
    assert kit.stored(stored.path) == body


async def test_a_refused_connection_is_unreachable(kit: Any) -> None:
    error = await failure(await kit.downloader(tries_max=2), task("http://127.0.0.1:9/clip.mp4?sig=secret"))
    assert error.kind == "unreachable"
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>Gateway \x1b[31mTimeout</body></html>",
        b'<?xml version="1.0"?><Error/>',
        b'{"error":"expired"}',
        b"",
        bytes(range(256)),
        b"\x00\x00\x00\x0cftypisom\x00\x00\xff\xffmoov cut",
    ],
    ids=["html", "xml", "json", "0 bytes", "wrong magic", "truncated mp4"],
)
async def test_html_xml_error_page_with_200_0_bytes_wrong_magic_truncated_mp4_bad_media_after_5(
    kit: Any, page: bytes
) -> None:
    host = await kit.host(kit.answer(page))
    error = await failure(await kit.downloader(), task(host.url()))
    assert error.kind == "bad_media"
    assert len(host.asked) == 5
    assert error.first_bytes.isascii()
    assert error.first_bytes.isprintable()
    assert page[:5].decode("latin-1") in error.first_bytes or not page[:5].isascii() or page[:1] < b" "
    assert kit.names() == []


async def test_an_error_page_that_goes_away_costs_only_a_try(kit: Any) -> None:
    body = kit.mp4()
    host = await kit.host(kit.answer(b"<html>wait</html>"), kit.answer(b""), kit.answer(body))
    assert kit.stored((await (await kit.downloader()).fetch(task(host.url()))).path) == body


async def test_a_length_other_than_the_providers_is_bad_media(kit: Any) -> None:
    body = kit.mp4()
    host = await kit.host(kit.answer(body))
    error = await failure(await kit.downloader(), task(host.url(), bytes_expected=len(body) + 7))
    assert error.kind == "bad_media"


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_403_404_410_on_the_url_are_told_at_once(kit: Any, status: int) -> None:
    host = await kit.host(kit.answer(b"gone", status=status))
    error = await failure(await kit.downloader(), task(host.url()))
    assert (error.kind, error.http_status) == ("url_gone", status)
    assert len(host.asked) == 1


async def test_larger_than_the_cap_is_told_before_the_body(kit: Any) -> None:
    host = await kit.host(kit.answer(b"x", length=5_001, hang=True))
    error = await failure(await kit.downloader(bytes_max=5_000), task(host.url()))
    assert error.kind == "too_large"


async def test_endless_stops_at_the_cap(kit: Any) -> None:
    sent = 0

    async def endless(asked: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    host = await kit.host(endless)
    error = await failure(await kit.downloader(bytes_max=1_000_000), task(host.url()))
    assert error.kind == "too_large"
    assert sent < 20_000_000
    assert kit.names() == []


async def test_target_exists_with_the_same_bytes_is_adopted(kit: Any) -> None:
    host = await kit.host(kit.answer(kit.mp4()))
    downloader = await kit.downloader()
    first = await downloader.fetch(task(host.url()))
    assert await downloader.fetch(task(host.url())) == first
    assert kit.names() == [f"{NAME}.mp4"]


@pytest.mark.parametrize("what", ["other bytes", "symlink", "directory"])
async def test_target_exists_is_a_symlink_or_a_directory_never_overwritten(kit: Any, what: str) -> None:
    body = kit.mp4()
    kit.media_dir.mkdir()
    target, other = kit.media_dir / f"{NAME}.mp4", kit.media_dir.parent / "precious"
    other.write_bytes(body)
    if what == "directory":
        target.mkdir()
    elif what == "symlink":
        target.symlink_to(other)
    else:
        target.write_bytes(b"precious")
    before = target.lstat()
    host = await kit.host(kit.answer(body))
    stored = await (await kit.downloader()).fetch(task(host.url()))
    assert stored.path == f"media/{NAME}-2.mp4"
    assert target.lstat() == before
    assert other.read_bytes() == body


async def test_the_body_may_be_compressed_only_by_name(kit: Any) -> None:
    body = kit.mp4()
    host = await kit.host(kit.answer(body, headers={"Content-Encoding": "gzip"}))
    assert kit.stored((await (await kit.downloader()).fetch(task(host.url()))).path) == body


async def test_a_malformed_answer_is_unreachable_whatever_its_error_says(kit: Any) -> None:
    async def nonsense(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01 nonsense\r\n\r\n")
        await writer.drain()

    host = await kit.host(nonsense)
    error = await failure(await kit.downloader(tries_max=2), task(host.url()))
    assert (error.kind, error.http_status) == ("unreachable", None)


async def test_no_answer_at_all_is_unreachable(kit: Any) -> None:
    async def silent(asked: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    host = await kit.host(silent)
    error = await failure(await kit.downloader(tries_max=2, answer_s_max=0.1), task(host.url()))
    assert error.kind == "unreachable"
    assert len(host.asked) == 2


async def test_all_tries_together_have_a_limit(kit: Any) -> None:
    host = await kit.host(kit.answer(b"x", length=99, hang=True))
    error = await failure(await kit.downloader(fetch_s_max=0.2), task(host.url()))
    assert error.kind == "unreachable"
    assert kit.names() == []


async def test_an_unsafe_name_is_a_programming_error(kit: Any) -> None:
    with pytest.raises(ValueError, match="safe"):
        await (await kit.downloader()).fetch(task("http://127.0.0.1:9/", name="../x"))
