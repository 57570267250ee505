"""Local files are looked at before anything is paid for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from engine.input_files.inspection import InputFileError, Inspector
from tests.media.conftest import small_media

if TYPE_CHECKING:
    from pathlib import Path

MEDIA = small_media()
LARGEST_BYTES = 100_000


@pytest.fixture
def inspector() -> Inspector:
    return Inspector(LARGEST_BYTES)


@pytest.mark.parametrize(
    ("content_type", "accepts"),
    [
        ("image/png", ("image",)),
        ("audio/wav", ("audio",)),
        ("audio/mp4", ("audio",)),
        ("audio/ogg", ("audio",)),
        ("video/mp4", ("video",)),
        ("video/mp4", ("audio",)),  # it may hold nothing but sound
        ("image/png", ()),
    ],
)
def test_the_type_is_that_of_the_content(
    tmp_path: Path, inspector: Inspector, content_type: str, accepts: tuple[str, ...]
) -> None:
    (tmp_path / "misnamed.bin").write_bytes(MEDIA[content_type])
    facts = inspector.facts(tmp_path / "misnamed.bin", accepts)
    assert (facts.content_type, facts.bytes) == (content_type, len(MEDIA[content_type]))


@pytest.mark.parametrize(("name", "content_type"), [("a.bmp", "image/bmp"), ("a.tiff", "image/tiff")])
def test_a_kind_without_a_magic_is_what_its_name_says(
    tmp_path: Path, inspector: Inspector, name: str, content_type: str
) -> None:
    (tmp_path / name).write_bytes(b"BM\x00\x01\x02\xff" * 9)
    assert inspector.facts(tmp_path / name, ("image",)).content_type == content_type


def test_a_link_leads_to_the_file(tmp_path: Path, inspector: Inspector) -> None:
    (tmp_path / "face.png").write_bytes(MEDIA["image/png"])
    (tmp_path / "link").symlink_to("face.png")
    assert inspector.facts(tmp_path / "link", ("image",)).content_type == "image/png"


@pytest.mark.parametrize(
    ("content", "accepts", "words"),
    [
        (b"", (), "is empty"),
        (b"x" * (LARGEST_BYTES + 1), (), r"has 0.1 MiB, and the provider takes at most 0.1 MiB"),
        (MEDIA["image/png"], ("audio",), "is image/png, but audio is asked for"),
        (MEDIA["image/png"][:-9], ("image",), "cannot be used"),
        (b"root:x:0:0:root:/root:/bin/sh\n", (), "is text/plain, but image or audio or video is asked for"),
        (b"-----BEGIN PRIVATE KEY-----\n", (), "is text/plain"),
        (b"SQLite format 3\x00\x01\xff", (), "application/octet-stream"),
        (b"<html></html>", (), "cannot be used"),
    ],
)
def test_what_cannot_be_an_input_says_why(
    tmp_path: Path, inspector: Inspector, content: bytes, accepts: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputFileError, match=words):
        inspector.facts(tmp_path / "file", accepts)
    with pytest.raises(InputFileError, match=words):
        inspector.content(tmp_path / "file", accepts)


def test_what_is_no_file_says_what_it_is(tmp_path: Path, inspector: Inspector) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("gone", "does not exist"), (".", "is a directory"), ("pipe", "is no regular file")):
        with pytest.raises(InputFileError, match=words):
            inspector.facts(tmp_path / name)
    with pytest.raises(InputFileError, match="cannot be read"):
        inspector.facts(tmp_path / ("n" * 300))


def test_a_file_that_changed_is_looked_at_again(tmp_path: Path, inspector: Inspector) -> None:
    path = tmp_path / "face"
    path.write_bytes(MEDIA["image/png"])
    before = inspector.sha256(path)
    path.write_bytes(MEDIA["audio/wav"])
    os.utime(path, ns=(1, 1))
    assert inspector.facts(path).content_type == "audio/wav"
    assert inspector.sha256(path) != before
