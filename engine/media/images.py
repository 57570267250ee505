"""Walk still images and animations whose end is marked: png, jpeg, gif.

Lengths come from outside and are only ever compared with the size of the file; nothing is decoded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from engine.media.content import BadMediaError, Structure

if TYPE_CHECKING:
    from engine.media.content import Content

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
GIF_MAGICS = (b"GIF87a", b"GIF89a")

CHUNKS_MAX = 200_000
# A chunk of a png: length, four letters, the content, a checksum.
_PNG_OVERHEAD_BYTES = 12
_PADDING_BYTES_MAX = 1024


def walk_png(content: Content) -> Structure:
    """Follow the chunks from IHDR to an IEND that ends the file."""
    offset, size = len(PNG_MAGIC), content.size
    for number in range(CHUNKS_MAX):
        header = content.read(8, offset)
        if len(header) < 8:  # noqa: PLR2004 (length and letters of a chunk)
            raise BadMediaError("the png ends before IEND", truncated=True)
        length, kind = struct.unpack(">I4s", header)
        offset += length + _PNG_OVERHEAD_BYTES
        if offset > size:
            raise BadMediaError("the png ends inside a chunk", truncated=True)
        if number == 0 and kind != b"IHDR":
            raise BadMediaError("the png does not begin with IHDR")
        if kind == b"IEND":
            if offset != size:
                raise BadMediaError(f"{size - offset} bytes follow the end of the png")
            return Structure("image/png", "png", end_certain=True)
    raise BadMediaError(f"more than {CHUNKS_MAX} chunks in the png")


def walk_jpeg(content: Content) -> Structure:
    """Require the end-of-image marker at the end; some encoders pad behind it."""
    if not _tail(content).endswith(b"\xff\xd9"):
        raise BadMediaError("the jpeg has no end marker", truncated=True)
    return Structure("image/jpeg", "jpeg", end_certain=True)


def walk_gif(content: Content) -> Structure:
    """Require the trailer byte at the end."""
    header_and_trailer_bytes_min = 14
    if content.size < header_and_trailer_bytes_min or not _tail(content).endswith(b";"):
        raise BadMediaError("the gif has no trailer", truncated=True)
    return Structure("image/gif", "gif", end_certain=True)


def _tail(content: Content) -> bytes:
    """Return the last bytes without the padding that some writers add."""
    start = max(0, content.size - _PADDING_BYTES_MAX)
    return content.read(_PADDING_BYTES_MAX, start).rstrip(b"\x00\r\n")
