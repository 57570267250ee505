"""Whole files are recognised by their content; anything cut, empty, foreign or hostile is refused."""

from __future__ import annotations

import itertools
import os
import struct
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.media import boxes
from engine.media.verify import BadMediaError, BytesContent, Promise, inspect, inspect_content

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = Promise(provider_type="video/mp4")
# Kinds whose structure marks the end, by the media type.
CERTAIN = [
    "video/mp4",
    "video/quicktime",
    "audio/mp4",
    "image/avif",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "audio/wav",
    "video/x-msvideo",
    "audio/ogg",
    "video/webm",
    "video/x-matroska",
    "model/gltf-binary",
    "image/svg+xml",
    "application/json",
]


def looked(content: bytes, promise: Promise | None = None) -> Any:
    return inspect_content(BytesContent(content), promise)


def test_every_kind_is_recognised_by_its_content(media: dict[str, bytes]) -> None:
    assert {kind: looked(content).content_type for kind, content in media.items()} == {kind: kind for kind in media}


@pytest.mark.parametrize("kind", CERTAIN)
def test_a_truncated_file_of_any_kind_with_an_end_is_refused_or_proves_no_end(
    kind: str, media: dict[str, bytes]
) -> None:
    whole = media[kind]
    assert looked(whole).end_certain
    word = Promise(provider_type=kind)
    for length in range(1, len(whole)):
        try:
            facts = looked(whole[:length], word)
        except BadMediaError:
            continue
        assert not facts.end_certain


def test_a_file_whose_kind_marks_no_end_says_so(media: dict[str, bytes], make: Any) -> None:
    assert not looked(media["audio/mpeg"]).end_certain
    assert not looked(media["video/mp4"] + make.box(b"moof", b"x") + make.box(b"mdat", b"x")).end_certain
    open_ended = make.box(b"ftyp", b"isom") + make.box(b"moov", b"") + b"\x00\x00\x00\x00mdat" + b"abc"
    assert not looked(open_ended).end_certain
    assert not looked(b"RIFF\xff\xff\xff\xffWAVEfmt \x02\x00\x00\x00xxdata\xff\xff\xff\xffabc").end_certain
    assert not looked(b"\x1aE\xdf\xa3\x87\x42\x82\x84webm\x18S\x80g\x01" + b"\xff" * 7 + b"abc").end_certain


def test_0_bytes_are_refused() -> None:
    with pytest.raises(BadMediaError, match="0 bytes"):
        looked(b"")


@pytest.mark.parametrize("missing", ["moov", "mdat"])
def test_an_mp4_without_moov_or_mdat_is_refused(missing: str, make: Any) -> None:
    present = {"moov": make.box(b"moov", b"x"), "mdat": make.box(b"mdat", b"x")}
    del present[missing]
    with pytest.raises(BadMediaError, match=missing):
        looked(make.box(b"ftyp", b"isom") + b"".join(present.values()))


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        (b"\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x00", "shorter than its header"),  # would loop
        (b"\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x00\x0f", "shorter than its header"),
        (b"\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff", "ends inside box 'mdat'"),
        (b"\x00\x00\x00\x01mdat\x80\x00\x00\x00\x00\x00\x00\x00", "ends inside box 'mdat'"),
        (b"\x00\x00\x00\x01mdat\x80", "inside the header"),
        (b"\x00\x00\x00\x07mdat", "shorter than its header"),
        (b"\x00\x00\x00\x02mdat", "shorter than its header"),
        (b"\xff\xff\xff\xffmdat", "ends inside box 'mdat'"),
        (b"\x00\x00\x00\x08\x00\x01\x02\x03", "no box at byte"),
        (b"tail", "4 bytes after the last box"),
    ],
)
def test_an_impossible_box_length_is_refused(hostile: bytes, reason: str, media: dict[str, bytes]) -> None:
    with pytest.raises(BadMediaError, match=reason):
        looked(media["video/mp4"] + hostile)


def test_a_64_bit_length_is_followed(make: Any) -> None:
    long_box = b"\x00\x00\x00\x01mdat" + struct.pack(">Q", 16 + 5) + b"hello"
    assert looked(make.box(b"ftyp", b"isom") + make.box(b"moov", b"x") + long_box).checks == ("mp4",)


def test_the_number_of_boxes_has_a_cap(make: Any) -> None:
    content = BytesContent(make.box(b"free", b"") * 1000)
    with pytest.raises(BadMediaError, match="more than 999 boxes"):
        list(boxes.iter_boxes(content, boxes_max=999))
    assert len(list(boxes.iter_boxes(content, boxes_max=1000))) == 1000


@given(st.binary(max_size=200))
def test_fuzz_the_mp4_walk_ends_and_its_boxes_fill_the_file(tail: bytes) -> None:
    raw = struct.pack(">I4s", 12, b"ftyp") + b"isom" + tail
    try:
        found = list(boxes.iter_boxes(BytesContent(raw)))
    except BadMediaError:
        return
    assert found[-1].end == len(raw)
    assert all(one.end == other.start for one, other in itertools.pairwise(found))


@given(
    st.sampled_from(
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x10\x00\x00\x00WAVE", b"ID3", b"OggS", b"glTF"]
    )
    | st.sampled_from([b"\x1aE\xdf\xa3", b"fLaC", b"\xff\xfb\x90\x00", b"{", b"<", b"\x00\x00\x00\x18ftyp", b""]),
    st.binary(max_size=120),
)
def test_fuzz_any_bytes_are_judged_or_refused(magic: bytes, tail: bytes) -> None:
    try:
        facts = looked(magic + tail)
    except BadMediaError as error:
        assert error.reason  # noqa: PT017
    else:
        assert facts.extension.startswith(".")


@given(st.data())
def test_fuzz_no_single_changed_length_makes_the_mp4_walk_fail_otherwise(data: st.DataObject) -> None:
    raw = bytearray(struct.pack(">I4s4s", 12, b"ftyp", b"isom") + struct.pack(">I4s", 8, b"moov") * 3)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    with pytest.raises(BadMediaError):  # there is no mdat, so every variant must be refused and nothing else raised
        looked(bytes(raw), VIDEO)


PAGES = {
    "html": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "html without doctype": b"\n\n  <html><h1>Not found</h1></html>",
    "xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "json": b'{"error": "not found"}',
    "text": b"upstream connect error",
    "wrong magic": bytes(range(256)),
    "zeros": bytes(5000),
    "a picture": b"\xff\xd8\xff\xe0" + bytes(60) + b"\xff\xd9",
}


@pytest.mark.parametrize("page", PAGES)
def test_an_error_page_or_wrong_magic_is_refused_where_a_video_was_promised(page: str) -> None:
    with pytest.raises(BadMediaError):
        looked(PAGES[page], VIDEO)


@pytest.mark.parametrize("page", ["html", "html without doctype", "xml", "json", "zeros"])
def test_an_error_page_is_refused_even_where_nothing_was_promised(page: str) -> None:
    with pytest.raises(BadMediaError):
        looked(PAGES[page], Promise(server_type="text/html"))


def test_an_error_page_is_refused_when_the_url_promised_media() -> None:
    with pytest.raises(BadMediaError):
        looked(PAGES["text"], Promise(url_suffix="mp4", server_type="text/plain"))


@pytest.mark.parametrize(
    ("content", "word", "found"),
    [
        (b'{"error": "it is the answer"}', "application/json", "application/json"),
        (b"<html><body>hi</body></html>", "text/html; charset=utf-8", "text/html"),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello", "text/vtt", "text/plain"),
    ],
)
def test_text_is_accepted_as_such_where_the_provider_promised_it(content: bytes, word: str, found: str) -> None:
    assert looked(content, Promise(provider_type=word)).content_type == found


def test_unknown_bytes_keep_the_promised_type_unless_a_known_one_was_promised() -> None:
    raw = b"\x00\x01\x02ply" * 20
    assert looked(raw, Promise(provider_type="model/ply")).content_type == "model/ply"
    assert looked(raw, Promise(provider_type="video/mp2t", url_suffix="ts")).content_type == "video/mp2t"
    assert looked(raw).content_type == "application/octet-stream"
    with pytest.raises(BadMediaError, match="audio/wav"):
        looked(raw, Promise(server_type="audio/wav"))
    with pytest.raises(BadMediaError, match=r"\.mp4"):
        looked(raw, Promise(url_suffix="mp4"))
    with pytest.raises(BadMediaError, match="compressed"):
        looked(raw, Promise(encoded=True))


def test_what_is_found_wins_over_what_was_said(media: dict[str, bytes]) -> None:
    said = Promise(provider_type="image/png", server_type="video/mp4", url_suffix="gif")
    assert looked(media["image/webp"], said).content_type == "image/webp"


def test_a_link_or_a_directory_is_not_inspected(tmp_path: Path, media: dict[str, bytes]) -> None:
    (tmp_path / "a.mp4").write_bytes(media["video/mp4"])
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    assert inspect(tmp_path / "a.mp4").content_type == "video/mp4"
    with pytest.raises(OSError, match=r"b\.mp4"):
        inspect(tmp_path / "b.mp4")
    with pytest.raises(BadMediaError):
        inspect(tmp_path)
    os.mkfifo(tmp_path / "c")
    with pytest.raises(BadMediaError):
        inspect(tmp_path / "c")


def test_a_file_of_many_gigabytes_is_walked_at_once(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "big.mp4"
    size = 1 << 36
    with path.open("wb") as file:
        file.write(make.box(b"ftyp", b"isom") + make.box(b"moov", b"x"))
        file.write(b"\x00\x00\x00\x01mdat" + struct.pack(">Q", size))
        file.truncate(file.tell() - 16 + size)
    begun_s = time.perf_counter()
    assert inspect(path).end_certain
    assert time.perf_counter() - begun_s < 1
