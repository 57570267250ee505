from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import wave
import zlib
from typing import TYPE_CHECKING

import pytest

from engine.simulator.clips import Clip, Clips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIPS = Clips()
NAMES = [f"{number:032x}-0" for number in range(24)]


def boxes(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Walk the top level of an mp4 file; an assertion fails if the boxes do not fill it exactly."""
    position = 0
    while position < len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, position + 8)
        assert size >= 8
        yield kind, size
        position += size
    assert position == len(content)


def whole(clip: Clip) -> bytes:
    return b"".join(clip.pieces(0, clip.size_bytes))


@pytest.mark.parametrize("size_bytes", [0, 100_000, 300_001])
@pytest.mark.parametrize("name", NAMES[:6])
def test_a_clip_is_a_whole_number_of_boxes_with_the_index_in_front(name: str, size_bytes: int) -> None:
    clip = CLIPS.make(name, "mp4", size_bytes=size_bytes)
    content = whole(clip)
    kinds = [kind for kind, _ in boxes(content)]
    assert kinds[0] == b"ftyp"
    assert kinds.index(b"moov") < kinds.index(b"mdat")
    assert len(content) == clip.size_bytes
    assert size_bytes in {0, clip.size_bytes}


def test_no_two_clips_are_alike_and_the_same_name_gives_the_same_bytes() -> None:
    assert len({whole(CLIPS.make(name, "mp4")) for name in NAMES}) == len(NAMES)
    assert CLIPS.make(NAMES[0], "mp4") == Clips().make(NAMES[0], "mp4")


def test_the_jobs_of_a_batch_do_not_all_look_the_same() -> None:
    assert len({whole(CLIPS.make(name, "mp4"))[:5000] for name in NAMES}) == 3


def test_clips_are_small() -> None:
    assert all(1_000 < CLIPS.make(name, "mp4").size_bytes < 64_000 for name in NAMES)


def test_padding_beyond_four_gigabytes_is_described_and_not_held() -> None:
    clip = CLIPS.make(NAMES[0], "mp4", size_bytes=5 * 2**30)
    assert clip.size_bytes == 5 * 2**30
    assert len(clip.content) < 64_000
    assert clip.content[-16:] == struct.pack(">I4sQ", 1, b"free", clip.padding_bytes + 16)


def test_pieces_of_any_part_agree_with_the_whole() -> None:
    clip = CLIPS.make(NAMES[0], "mp4", size_bytes=200_000)
    content = whole(clip)
    for begin, end in ((0, 1), (5, 70_000), (150_000, 200_000), (9, 9)):
        assert b"".join(clip.pieces(begin, end)) == content[begin:end]


def test_a_still_keeps_valid_checksums() -> None:
    content = whole(CLIPS.make(NAMES[0], "png"))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    position = 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        chunk = content[position + 4 : position + 8 + length]
        assert struct.unpack_from(">I", content, position + 8 + length) == (zlib.crc32(chunk),)
        position += length + 12
    assert position == len(content)


def test_a_tone_is_a_wave_file_of_the_length_it_states() -> None:
    content = whole(CLIPS.make(NAMES[0], "wav"))
    assert struct.unpack_from("<I", content, 4) == (len(content) - 8,)
    with wave.open(io.BytesIO(content)) as tone:
        assert tone.getnframes() == 2000


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize("name", NAMES[:3])
def test_ffprobe_finds_two_seconds_of_picture_and_sound(name: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(whole(CLIPS.make(name, "mp4", size_bytes=80_000)))
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "json", str(path)]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=20)
    found = json.loads(ran.stdout)
    assert ran.stderr == b""
    assert [stream["codec_name"] for stream in found["streams"]] == ["h264", "aac"]
    assert abs(float(found["format"]["duration"]) - 2.0) < 0.1
