"""Real small files, one per job and no two alike, made without holding them in memory.

A video is one of the shipped clips plus ``free`` boxes behind it: a player skips them, and they hold the
job's name and any padding. A still gets a text chunk, a tone a list chunk. Knows nothing of HTTP.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOME = Path(__file__).parent / "clips"
_PIECE_BYTES = 65_536
_BOX_HEADER_BYTES = 8
_LARGE_BOX_HEADER_BYTES = 16
_SIZE_32_MAX = 2**32 - 1
_PNG_END_BYTES = 12  # length, IEND, checksum
_RIFF_HEADER_BYTES = 12  # RIFF, size, WAVE

_EXTENSIONS = {"images": "png", "image": "png", "audio": "wav"}
_CONTENT_TYPES = {"mp4": "video/mp4", "png": "image/png", "wav": "audio/wav"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A file as its beginning and a number of zero bytes after it."""

    content: bytes
    padding_bytes: int
    content_type: str

    @property
    def size_bytes(self) -> int:
        """The length of the whole file."""
        return len(self.content) + self.padding_bytes

    @property
    def tag(self) -> str:
        """Equal for equal files only."""
        return sha256(self.content + b"%d" % self.padding_bytes).hexdigest()[:32]

    def pieces(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from ``begin`` up to ``end`` in pieces of bounded size."""
        while begin < end:
            stop = min(end, begin + _PIECE_BYTES)
            piece = self.content[begin:stop]
            yield piece + bytes(stop - begin - len(piece))
            begin = stop


class Clips:
    """The shipped files, read once, and the variants made of them."""

    def __init__(self) -> None:
        self._videos = [path.read_bytes() for path in sorted(_HOME.glob("*.mp4"))]
        self._still = (_HOME / "still.png").read_bytes()
        self._tone = (_HOME / "tone.wav").read_bytes()

    def extension(self, output_shape: str) -> str:
        """Return the file extension of the outputs of this shape."""
        return _EXTENSIONS.get(output_shape, "mp4")

    def make(self, name: str, extension: str, *, size_bytes: int = 0) -> Clip:
        """Return the file of this name; the same name gives the same bytes."""
        content_type = _CONTENT_TYPES[extension]
        match extension:
            case "png":
                return Clip(_tagged_png(self._still, name), 0, content_type)
            case "wav":
                return Clip(_tagged_wav(self._tone, name), 0, content_type)
            case _:
                choice = sha256(name.encode()).digest()[0] % len(self._videos)
                return _tagged_mp4(self._videos[choice], name, size_bytes, content_type)


def _tagged_mp4(video: bytes, name: str, size_bytes: int, content_type: str) -> Clip:
    content = video + _box_header(len(name) + _BOX_HEADER_BYTES) + name.encode()
    missing = size_bytes - len(content)
    if missing < _LARGE_BOX_HEADER_BYTES:
        return Clip(content, 0, content_type)
    header = _box_header(missing)
    return Clip(content + header, missing - len(header), content_type)


def _box_header(size_bytes: int) -> bytes:
    if size_bytes > _SIZE_32_MAX:
        return struct.pack(">I4sQ", 1, b"free", size_bytes)
    return struct.pack(">I4s", size_bytes, b"free")


def _tagged_png(still: bytes, name: str) -> bytes:
    chunk = b"tEXt" + b"job\0" + name.encode()
    tagged = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return still[:-_PNG_END_BYTES] + tagged + still[-_PNG_END_BYTES:]


def _tagged_wav(tone: bytes, name: str) -> bytes:
    text = name.encode() + b"\0" * (2 - len(name) % 2)
    chunk = b"INFO" + b"ICMT" + struct.pack("<I", len(text)) + text
    body = tone[_RIFF_HEADER_BYTES:] + b"LIST" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body
